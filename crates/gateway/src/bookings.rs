//! `/api/bookings`: creates, reads, moves and cancels bookings. Each answer has the current state of the booking.

use axum::{Json, extract::State, response::IntoResponse};
use chassis::grpc::timestamp;
use chassis::status::Reason::{
    IdempotencyKeyReused, InvalidRequest, InvalidSessionId, Kicked, MeetingEnded, MeetingStarted, NotAdmin,
    NotParticipant, SessionCancelled, SessionNotFound, SlotTaken, TooLarge,
};
use domain::{CalendarLink, Parties, Role, RoomStatus, SessionId, SessionStatus};
use http::{StatusCode, header};
use proto::booking::v1 as pb;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::SignedIn,
    clients::Clients,
    error::Rejection,
    extract::{Id, JsonBody, KeyedBody, Query},
    links::Links,
    wire::{self, Envelope, Person},
};

/// A scheduled session between a host and a guest.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the shape that clients read")]
pub(crate) struct Booking {
    #[schema(value_type = SessionId)]
    id: String,
    title: String,
    description: String,
    status: SessionStatus,
    /// Whether the meeting is under way.
    is_live: bool,
    #[serde(with = "time::serde::rfc3339")]
    scheduled_at: OffsetDateTime,
    duration_minutes: i32,
    /// The IANA name of the zone that the times are meant in. Null: not given.
    time_zone: Option<String>,
    /// The meeting can be joined from here to `closesAt`.
    #[serde(with = "time::serde::rfc3339")]
    opens_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    closes_at: OffsetDateTime,
    meeting_url: String,
    /// The booking for calendar programs. The link is personal. Null for readers who are not a party.
    calendar_url: Option<String>,
    host_id: String,
    guest_id: String,
    host: Person,
    guest: Person,
    /// The caller.
    current_user_id: String,
    is_host: bool,
    is_provider: bool,
    can_record: bool,
    room: Option<BookingRoom>,
    #[serde(with = "time::serde::rfc3339::option")]
    cancelled_at: Option<OffsetDateTime>,
    cancel_reason: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    updated_at: OffsetDateTime,
}

/// The recorded LiveKit room of a booking.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct BookingRoom {
    status: RoomStatus,
    room_name: String,
    /// Null until LiveKit has answered.
    room_sid: Option<String>,
}

impl Booking {
    fn read(links: &Links, booking: Option<pb::Booking>, reader: String) -> Result<Self, Rejection> {
        let booking = booking.ok_or(Rejection::Incomplete("booking"))?;
        let host = booking.host.ok_or(Rejection::Incomplete("booking.host"))?;
        let guest = booking.guest.ok_or(Rejection::Incomplete("booking.guest"))?;
        let status = booking.status.try_into()?;
        let role = Parties { host: &host.id, guest: &guest.id }.role_of(&reader);
        let link = CalendarLink { booking: &booking.id, user: &reader, version: booking.link_version };
        let calendar = role.and_then(|_| links.sign_calendar(link));
        let is_host = role == Some(Role::Host);
        Ok(Self {
            id: booking.id,
            title: booking.title,
            description: booking.description,
            is_live: status == SessionStatus::InProgress,
            status,
            scheduled_at: wire::time("booking.scheduled_at", booking.scheduled_at)?,
            duration_minutes: booking.duration_minutes,
            time_zone: booking.time_zone,
            opens_at: wire::time("booking.opens_at", booking.opens_at)?,
            closes_at: wire::time("booking.closes_at", booking.closes_at)?,
            meeting_url: booking.meeting_url,
            calendar_url: calendar.map(|path| links.url(&path)),
            host_id: host.id.clone(),
            guest_id: guest.id.clone(),
            host: host.into(),
            guest: guest.into(),
            current_user_id: reader,
            is_host,
            is_provider: is_host,
            can_record: is_host,
            room: booking.room.map(BookingRoom::try_from).transpose()?,
            cancelled_at: wire::time_or_null(booking.cancelled_at),
            cancel_reason: booking.cancel_reason,
            created_at: wire::time("booking.created_at", booking.created_at)?,
            updated_at: wire::time("booking.updated_at", booking.updated_at)?,
        })
    }
}

impl TryFrom<pb::Room> for BookingRoom {
    type Error = Rejection;

    fn try_from(room: pb::Room) -> Result<Self, Rejection> {
        Ok(Self { status: room.status.try_into()?, room_name: room.room_name, room_sid: room.room_sid })
    }
}

type BookingAnswer = Result<Json<Envelope<Booking>>, Rejection>;

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CreateBooking {
    guest_id: String,
    /// Default: the caller.
    host_id: Option<String>,
    #[schema(min_length = 1, max_length = 200)]
    title: String,
    #[schema(max_length = 5000)]
    description: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    scheduled_at: OffsetDateTime,
    #[schema(minimum = 5, maximum = 720)]
    duration_minutes: i32,
    /// The IANA name of the zone that the booking is meant in, for its calendar file and for mails to guests whose own
    /// zone is not known.
    #[schema(max_length = 64)]
    time_zone: Option<String>,
    guest: Option<GuestContact>,
}

/// The name and address of a guest who has never signed in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuestContact {
    name: String,
    email: String,
}

/// Creates a booking.
///
/// Books a session between a host and a guest. The room is created at once, or as soon as the video server answers
/// (`room.status` is `pending` until then). Idempotent with an `Idempotency-Key`: a repeat with the same key
/// returns the first booking. Any signed-in person, for a booking in which they are a party; `BOOKING_POLICY` may
/// restrict it to admins.
#[utoipa::path(post, path = "/api/bookings", operation_id = "createBooking", tag = "Bookings",
    params(("Idempotency-Key" = Option<String>, Header, max_length = 200,
        description = "A repeat with the same key returns the first booking.")),
    request_body = CreateBooking,
    responses((status = 201, body = Envelope<Booking>, description = "Booked.",
        headers(("Location" = String, description = "The booking.")))),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotParticipant, NotAdmin, SlotTaken, IdempotencyKeyReused]))))]
pub(crate) async fn create(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    KeyedBody(idempotency_key, body): KeyedBody<CreateBooking>,
) -> Result<impl IntoResponse, Rejection> {
    let reader = caller.user_id.clone();
    let request = pb::CreateBookingRequest {
        caller: Some(caller),
        guest_id: body.guest_id,
        host_id: body.host_id,
        title: body.title,
        description: body.description,
        scheduled_at: Some(timestamp(body.scheduled_at)),
        duration_minutes: body.duration_minutes,
        time_zone: body.time_zone,
        guest: body.guest.map(|guest| pb::GuestContact { name: guest.name, email: guest.email }),
        idempotency_key,
    };
    let answer = clients.booking().create_booking(request).await?.into_inner();
    let booking = Booking::read(&links, answer.booking, reader)?;
    let location = links.url(&format!("/api/bookings/{}", booking.id));
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Envelope::new(booking)))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListBookings {
    /// Only bookings in which the caller has this role.
    #[param(inline)]
    role: Option<Role>,
    #[param(inline)]
    status: Option<SessionStatus>,
    /// Bookings that start at this time or later, RFC 3339.
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    /// Bookings that start before this time, RFC 3339.
    #[serde(default, with = "time::serde::rfc3339::option")]
    to: Option<OffsetDateTime>,
    /// Default: 20.
    #[param(value_type = Option<i32>, minimum = 1, maximum = 100)]
    limit: Option<wire::Limit>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
}

/// Lists the caller's bookings.
///
/// Returns the bookings in which the caller is host or guest, latest start first, page by page. Read-only. Any
/// signed-in person.
#[utoipa::path(get, path = "/api/bookings", operation_id = "listBookings", tag = "Bookings",
    params(ListBookings), responses((status = 200, body = Envelope<Vec<Booking>>, description = "A page.")),
    extensions(("x-refuses" = json!([InvalidRequest]))))]
pub(crate) async fn list(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    Query(query): Query<ListBookings>,
) -> Result<Json<Envelope<Vec<Booking>>>, Rejection> {
    let reader = caller.user_id.clone();
    let request = pb::ListBookingsRequest {
        caller: Some(caller),
        role: query.role.map(Into::into),
        status: query.status.map(Into::into),
        from: query.from.map(timestamp),
        to: query.to.map(timestamp),
        limit: wire::limit(query.limit),
        cursor: query.cursor,
    };
    let page = clients.booking().list_bookings(request).await?.into_inner();
    let bookings = page
        .bookings
        .into_iter()
        .map(|booking| Booking::read(&links, Some(booking), reader.clone()))
        .collect::<Result<_, _>>()?;
    Ok(Envelope::page(bookings, page.next_cursor))
}

/// Returns a booking.
///
/// Read-only. Host, guest and admins.
#[utoipa::path(get, path = "/api/bookings/{bookingId}", operation_id = "getBooking", tag = "Bookings",
    params(("bookingId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<Booking>, description = "The booking.")),
    extensions(("x-refuses" = json!([InvalidSessionId, NotParticipant, SessionNotFound]))))]
pub(crate) async fn get(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    Id(booking_id): Id,
) -> BookingAnswer {
    let reader = caller.user_id.clone();
    let request = pb::GetBookingRequest { caller: Some(caller), booking_id };
    let answer = clients.booking().get_booking(request).await?.into_inner();
    Booking::read(&links, answer.booking, reader).map(Envelope::new)
}

/// Absent fields stay as they are.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PatchBooking {
    #[serde(default, with = "time::serde::rfc3339::option")]
    scheduled_at: Option<OffsetDateTime>,
    #[schema(minimum = 5, maximum = 720)]
    duration_minutes: Option<i32>,
    #[schema(min_length = 1, max_length = 200)]
    title: Option<String>,
    #[schema(max_length = 5000)]
    description: Option<String>,
    /// Null: the booking has no zone any more.
    #[serde(default, deserialize_with = "wire::nullable")]
    #[schema(max_length = 64)]
    time_zone: Option<String>,
}

/// Changes a booking.
///
/// Moves, extends or renames a booking that has not begun. Host and guest are notified: of the new time, otherwise of
/// the new title or description. Absent fields stay as they are, and so does the meeting URL. Idempotent. Host, guest
/// (unless kicked) and admins.
#[utoipa::path(patch, path = "/api/bookings/{bookingId}", operation_id = "patchBooking", tag = "Bookings",
    params(("bookingId" = uuid::Uuid, Path)), request_body = PatchBooking,
    responses((status = 200, body = Envelope<Booking>, description = "The changed booking.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, TooLarge, NotParticipant, Kicked, SessionNotFound, SlotTaken,
        MeetingStarted, MeetingEnded, SessionCancelled]))))]
pub(crate) async fn patch(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    Id(booking_id): Id,
    JsonBody(body): JsonBody<PatchBooking>,
) -> BookingAnswer {
    let reader = caller.user_id.clone();
    let request = pb::RescheduleBookingRequest {
        caller: Some(caller),
        booking_id,
        scheduled_at: body.scheduled_at.map(timestamp),
        duration_minutes: body.duration_minutes,
        title: body.title,
        description: body.description,
        time_zone: body.time_zone,
    };
    let answer = clients.booking().reschedule_booking(request).await?.into_inner();
    Booking::read(&links, answer.booking, reader).map(Envelope::new)
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelBooking {
    reason: Option<String>,
}

/// Cancels a booking.
///
/// Idempotent: a repeat returns the same booking. Host, guest (unless kicked) and admins.
#[utoipa::path(post, path = "/api/bookings/{bookingId}/cancel", operation_id = "cancelBooking",
    tag = "Bookings", params(("bookingId" = uuid::Uuid, Path)), request_body = CancelBooking,
    responses((status = 200, body = Envelope<Booking>, description = "The cancelled booking.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, TooLarge, NotParticipant, Kicked, SessionNotFound, MeetingEnded]))))]
pub(crate) async fn cancel(
    State(clients): State<Clients>,
    State(links): State<Links>,
    SignedIn(caller): SignedIn,
    Id(booking_id): Id,
    JsonBody(body): JsonBody<CancelBooking>,
) -> BookingAnswer {
    let reader = caller.user_id.clone();
    let request = pb::CancelBookingRequest { caller: Some(caller), booking_id, reason: body.reason };
    let answer = clients.booking().cancel_booking(request).await?.into_inner();
    Booking::read(&links, answer.booking, reader).map(Envelope::new)
}
