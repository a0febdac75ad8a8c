//! Requests, checked: each field with its limits, refused by the name under which clients send it.
//!
//! Postgres refuses the NUL character in texts, so it is refused here, where the field has a name. What depends on
//! the clock is not decided here: the database's clock decides.

use chassis::{
    field::{line, moment, prose},
    grpc::caller,
    status::Refusal,
};
use domain::{EmailAddress, Role, SessionStatus};
use proto::{
    booking::v1::{CreateBookingRequest, GuestContact, RescheduleBookingRequest},
    types::v1::Caller,
};
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::{
    config::Policy,
    error::Error,
    store::{Booking, DeliveryState},
};

/// Open bookings of one creator.
pub const MOST_OPEN: i64 = 50;
/// Bookings of one pair within an hour.
pub const MOST_PER_PAIR: i64 = 10;
/// A start may lie this long in the past, for "now" takes a while to be sent …
pub const STARTS_AGO: Duration = Duration::minutes(5);
/// … and this far ahead.
pub const STARTS_AHEAD: Duration = Duration::days(365);

/// Whether a booking may start then, by the database's clock.
pub fn may_start(start: OffsetDateTime, now: OffsetDateTime) -> bool {
    (now - STARTS_AGO..=now + STARTS_AHEAD).contains(&start)
}

/// A booking as its creator wants it.
#[derive(Clone, Debug)]
pub struct NewBooking {
    pub creator: Caller,
    pub host_id: String,
    pub guest_id: String,
    pub title: String,
    pub description: String,
    pub scheduled_at: OffsetDateTime,
    pub duration_minutes: i32,
    pub guest_name: Option<String>,
    pub guest_email: Option<String>,
    pub idempotency_key: Option<String>,
}

/// What a reschedule wants changed.
#[derive(Clone, Debug, Default)]
pub struct Change {
    pub scheduled_at: Option<OffsetDateTime>,
    pub duration_minutes: Option<i32>,
    pub title: Option<String>,
    pub description: Option<String>,
}

impl NewBooking {
    pub fn check(request: CreateBookingRequest, policy: Policy) -> Result<Self, Error> {
        let creator = caller(request.caller)?;
        let host_id = if request.host_id.is_empty() { creator.user_id.clone() } else { request.host_id };
        let host_id = id("hostId", host_id)?;
        let guest_id = id("guestId", request.guest_id)?;
        if host_id == guest_id {
            return Err(Refusal::invalid("guestId", "must be somebody else than the host").into());
        }
        may_book(&creator, &host_id, &guest_id, policy)?;
        let (guest_name, guest_email) = contact(request.guest.unwrap_or_default())?;
        Ok(Self {
            host_id,
            guest_id,
            title: title(&request.title)?,
            description: prose("description", request.description, 5_000)?,
            scheduled_at: moment("scheduledAt", request.scheduled_at.as_ref())?
                .ok_or_else(|| Refusal::invalid("scheduledAt", "is missing"))?,
            duration_minutes: duration(request.duration_minutes)?,
            guest_name,
            guest_email,
            idempotency_key: Some(prose("Idempotency-Key", request.idempotency_key, 200)?)
                .filter(|key| !key.is_empty()),
            creator,
        })
    }

    /// The limits on bookings are for people.
    pub fn is_limited(&self) -> bool {
        !is_privileged(&self.creator)
    }

    /// What makes two requests the same: every field that a booking is made of, each with its length.
    pub fn hash(&self) -> Vec<u8> {
        let start = self.scheduled_at.unix_timestamp_nanos().to_string();
        let duration = self.duration_minutes.to_string();
        let mut hash = Sha256::new();
        for field in [
            Some(&self.host_id),
            Some(&self.guest_id),
            Some(&self.title),
            Some(&self.description),
            Some(&start),
            Some(&duration),
            self.guest_name.as_ref(),
            self.guest_email.as_ref(),
        ] {
            let length = field.map_or(-1, |text| i128::try_from(text.len()).unwrap_or(i128::MAX));
            hash.update(length.to_be_bytes());
            hash.update(field.map_or(&b""[..], |text| text.as_bytes()));
        }
        hash.finalize().to_vec()
    }
}

impl Change {
    pub fn check(request: RescheduleBookingRequest) -> Result<Self, Refusal> {
        Ok(Self {
            scheduled_at: moment("scheduledAt", request.scheduled_at.as_ref())?,
            duration_minutes: request.duration_minutes.map(duration).transpose()?,
            title: request.title.as_deref().map(title).transpose()?,
            description: request.description.map(|text| prose("description", text, 5_000)).transpose()?,
        })
    }
}

fn may_book(creator: &Caller, host_id: &str, guest_id: &str, policy: Policy) -> Result<(), Error> {
    if is_privileged(creator) {
        return Ok(());
    }
    let (is_host, is_guest) = (creator.user_id == host_id, creator.user_id == guest_id);
    match policy {
        Policy::Either if is_host || is_guest => Ok(()),
        Policy::Guest if is_guest => Ok(()),
        Policy::Either | Policy::Guest => Err(Error::NotParticipant),
        Policy::Service => Err(Error::NotAdmin),
    }
}

/// Admins and our own services act on every booking.
pub fn is_privileged(caller: &Caller) -> bool {
    caller.system || caller.is_admin
}

/// The caller, if he acts as the guest of this booking: a kick forbids him to change it, and nobody else.
pub fn as_guest<'a>(caller: &'a Caller, booking: &Booking) -> Option<&'a str> {
    let is_guest = booking.role_of(&caller.user_id) == Some(Role::Guest);
    (is_guest && !is_privileged(caller)).then_some(caller.user_id.as_str())
}

fn id(field: &str, value: String) -> Result<String, Refusal> {
    if (1..=200).contains(&value.len()) && !value.contains('\0') {
        Ok(value)
    } else {
        Err(Refusal::invalid(field, "must be the id of a person, 1 to 200 bytes"))
    }
}

pub fn title(value: &str) -> Result<String, Refusal> {
    line("title", value, 200)
}

fn duration(minutes: i32) -> Result<i32, Refusal> {
    if (5..=720).contains(&minutes) {
        Ok(minutes)
    } else {
        Err(Refusal::invalid("durationMinutes", "must be 5 to 720"))
    }
}

fn contact(guest: GuestContact) -> Result<(Option<String>, Option<String>), Refusal> {
    let name = Some(guest.name).filter(|name| !name.is_empty());
    let name = name.map(|name| line("guest", &name, 200)).transpose()?;
    Ok((name, email("guest.email", &guest.email)?))
}

/// None: empty or blank.
fn email(field: &str, text: &str) -> Result<Option<String>, Refusal> {
    if text.trim().is_empty() {
        return Ok(None);
    }
    let email: Result<EmailAddress, _> = text.parse();
    email.map(|email| Some(email.to_string())).map_err(|invalid| Refusal::invalid(field, invalid.to_string()))
}

pub fn role(value: &str) -> Result<Option<Role>, Refusal> {
    match value {
        "" => Ok(None),
        "host" => Ok(Some(Role::Host)),
        "guest" => Ok(Some(Role::Guest)),
        _ => Err(Refusal::invalid("role", "must be host or guest")),
    }
}

pub fn status(value: &str) -> Result<Option<SessionStatus>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let known = SessionStatus::ALL.into_iter().find(|status| status.as_str() == value);
    known.map(Some).ok_or_else(|| {
        let message = "must be scheduled, in_progress, completed, cancelled or no_show";
        Refusal::invalid("status", message)
    })
}

/// Which deliveries an admin lists; those that were given up, if the request does not say.
pub fn delivery_state(state: &str) -> Result<DeliveryState, Refusal> {
    if state.is_empty() {
        return Ok(DeliveryState::Dead);
    }
    let known = DeliveryState::ALL.into_iter().find(|known| known.as_str() == state);
    known.ok_or_else(|| Refusal::invalid("state", "must be dead, pending or waiting"))
}
