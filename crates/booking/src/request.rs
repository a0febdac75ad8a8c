//! Checks requests: each field has its limits, and a refusal has the field's name in the API.
//!
//! All fields are checked before a request is refused. What depends on the time is decided by the database's clock, not
//! here.

use chassis::{
    grpc::{caller, moment, timestamp, uuid},
    status::{Fields, Refusal},
};
use domain::{
    DeliveryState, EmailAddress, Parties, SessionId,
    field::{FieldError, id, idempotency_key, line, maybe_line, maybe_one_of, non_empty, prose},
    idempotency::request_hash,
    locale,
    page::{self, Cursor},
};
use proto::{
    booking::v1::{
        CancelBookingRequest, CreateBookingRequest, GuestContact, ListBookingsRequest, ListDeliveriesRequest,
        RescheduleBookingRequest, UpdateUserRequest,
    },
    types::v1::Caller,
};
use time::OffsetDateTime;

use crate::{
    error::Error,
    policy::Policy,
    store::{Filter, NewBooking},
};

/// The requested changes of a booking.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub scheduled_at: Option<OffsetDateTime>,
    pub duration_minutes: Option<i32>,
    pub title: Option<String>,
    pub description: Option<String>,
    /// Empty: the booking has none any more.
    pub time_zone: Option<String>,
}

impl Change {
    pub fn check(fields: &mut Fields, request: &RescheduleBookingRequest) -> Self {
        let time_zone = request.time_zone.as_deref().map(time_zone);
        Self {
            scheduled_at: fields.check(moment("scheduledAt", request.scheduled_at.as_ref())),
            duration_minutes: fields.check(request.duration_minutes.map(duration).transpose()),
            title: fields.check(request.title.as_deref().map(title).transpose()),
            description: fields.check(request.description.as_deref().map(description).transpose()),
            time_zone: fields.check(time_zone.transpose()).map(Option::unwrap_or_default),
        }
    }
}

/// Checks the request for a new booking.
pub fn new_booking(request: CreateBookingRequest, policy: Policy) -> Result<NewBooking, Error> {
    let creator = caller(request.caller)?;
    let mut fields = Fields::default();
    let host_id = request.host_id.and_then(non_empty).unwrap_or_else(|| creator.user_id.clone());
    let host_id = fields.check(id("hostId", host_id));
    let guest_id = fields.check(id("guestId", request.guest_id));
    if host_id == guest_id && !host_id.is_empty() {
        fields.refuse(Refusal::invalid("guestId", "must be another person than the host"));
    }
    let title = fields.check(title(&request.title));
    let description = fields.check(description(&request.description.unwrap_or_default()));
    let scheduled_at = fields.check(moment("scheduledAt", request.scheduled_at.as_ref()));
    if request.scheduled_at.is_none() {
        fields.refuse(Refusal::invalid("scheduledAt", "is missing"));
    }
    let duration_minutes = fields.check(duration(request.duration_minutes));
    let time_zone = fields.check(time_zone(request.time_zone.as_deref().unwrap_or_default()));
    let (guest_name, guest_email) = contact(&mut fields, &request.guest.unwrap_or_default());
    let idempotency_key = fields.check(idempotency_key(request.idempotency_key));
    fields.finish()?;
    may_book(&creator, Parties { host: &host_id, guest: &guest_id }, policy)?;
    let start = scheduled_at.unwrap_or(OffsetDateTime::UNIX_EPOCH); // a missing one was refused
    // Hashed from the checked values: blanks around a text do not make another request.
    let request_hash = request_hash(&CreateBookingRequest {
        caller: None,
        idempotency_key: None,
        host_id: Some(host_id.clone()),
        guest_id: guest_id.clone(),
        title: title.clone(),
        description: Some(description.clone()),
        scheduled_at: Some(timestamp(start)),
        duration_minutes,
        time_zone: time_zone.clone(),
        guest: Some(GuestContact {
            name: guest_name.clone().unwrap_or_default(),
            email: guest_email.clone().unwrap_or_default(),
        }),
    });
    Ok(NewBooking {
        host_id,
        guest_id,
        title,
        description,
        scheduled_at: start,
        duration_minutes,
        time_zone,
        guest_name,
        guest_email,
        idempotency_key,
        request_hash,
        creator,
    })
}

/// Checks the page and the filter of a list.
pub fn page(request: &ListBookingsRequest) -> Result<(usize, Filter), Refusal> {
    let mut fields = Fields::default();
    let limit = fields.check(page::limit(request.limit));
    let filter = Filter {
        role: fields.check(maybe_one_of("role", request.role)),
        status: fields.check(maybe_one_of("status", request.status)),
        from: fields.check(moment("from", request.from.as_ref())),
        to: fields.check(moment("to", request.to.as_ref())),
        after: fields.check(Cursor::parse(request.cursor.as_deref())),
    };
    fields.finish()?;
    Ok((limit, filter))
}

/// Checks a page of deliveries: its size, its cursor and the state of its deliveries; by default, those given up.
pub fn deliveries(
    request: &ListDeliveriesRequest,
) -> Result<(usize, Option<Cursor>, DeliveryState), Refusal> {
    let mut fields = Fields::default();
    let limit = fields.check(page::limit(request.limit));
    let after = fields.check(Cursor::parse(request.cursor.as_deref()));
    let state = fields.check(maybe_one_of("state", request.state));
    fields.finish()?;
    Ok((limit, after, state.unwrap_or_default()))
}

/// Checks a cancellation: the booking's id and the reason.
pub fn cancellation(request: &CancelBookingRequest) -> Result<(SessionId, String), Refusal> {
    let mut fields = Fields::default();
    let id = fields.check(uuid("booking_id", &request.booking_id));
    let reason = fields.check(prose("reason", request.reason.as_deref().unwrap_or_default(), 1_000));
    fields.finish()?;
    Ok((id, reason))
}

fn may_book(creator: &Caller, parties: Parties<'_>, policy: Policy) -> Result<(), Error> {
    if creator.is_privileged() || policy.admits(parties.role_of(&creator.user_id)) {
        return Ok(());
    }
    match policy {
        Policy::Either | Policy::Guest => Err(Error::NotParticipant),
        Policy::Service => Err(Error::NotAdmin),
    }
}

fn title(value: &str) -> Result<String, FieldError> {
    line("title", value, 200)
}

fn description(value: &str) -> Result<String, FieldError> {
    prose("description", value, 5_000)
}

fn duration(minutes: i32) -> Result<i32, Refusal> {
    if (5..=720).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(Refusal::invalid("durationMinutes", "must be 5 to 720"))
    }
}

/// Checks the time zone of a booking. None: the text is empty or blank.
pub fn time_zone(name: &str) -> Result<Option<String>, FieldError> {
    optional(name, |name| locale::chosen_time_zone("timeZone", name))
}

/// Checks the choices of a user: their locale and their time zone. None keeps one, and the empty text removes it.
pub fn preferences(request: &UpdateUserRequest) -> Result<(Option<String>, Option<String>), Refusal> {
    let mut fields = Fields::default();
    let locale = |text: &str| optional(text, |text| locale::chosen_locale("locale", text));
    let locale = fields.check(request.locale.as_deref().map(locale).transpose());
    let zone = fields.check(request.time_zone.as_deref().map(time_zone).transpose());
    fields.finish()?;
    Ok((locale.map(Option::unwrap_or_default), zone.map(Option::unwrap_or_default)))
}

/// Checks a text that may be absent. None: it is empty or blank.
fn optional(
    text: &str,
    check: impl FnOnce(&str) -> Result<String, FieldError>,
) -> Result<Option<String>, FieldError> {
    if text.trim().is_empty() { Ok(None) } else { check(text).map(Some) }
}

fn contact(fields: &mut Fields, guest: &GuestContact) -> (Option<String>, Option<String>) {
    let name = fields.check(maybe_line("guest.name", &guest.name, 200));
    (Some(name).filter(|name| !name.is_empty()), fields.check(email("guest.email", &guest.email)))
}

/// Parses an e-mail address. None: the text is empty or blank.
fn email(field: &str, text: &str) -> Result<Option<String>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let email: Result<EmailAddress, _> = text.parse();
    email.map(|email| Some(email.to_string())).map_err(|invalid| Refusal::invalid(field, invalid.to_string()))
}
