//! `/api/bookings/{id}/calendar.ics`: a booking as a calendar file. Calendar programs send no token, so a signed link
//! identifies the person that it was issued to, until the links of the booking are revoked.

use axum::{
    extract::{FromRef, FromRequestParts, State},
    response::IntoResponse,
};
use chassis::status::Reason::{InvalidRequest, InvalidSessionId, NotParticipant, SessionNotFound};
use domain::CalendarLink;
use http::{HeaderValue, header, request::Parts};
use proto::{booking::v1 as pb, types::v1::Caller};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    auth::Auth,
    clients::Clients,
    error::Rejection,
    extract::{Id, Query},
    links::Links,
};

/// A signed-in person, or the person of a signed link and the version that it was signed for.
pub(crate) struct CalendarReader {
    caller: Caller,
    link_version: Option<i32>,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CalendarLinkQuery {
    /// The three parts of a signed link, as `calendarUrl` has them.
    user: Option<String>,
    version: Option<i32>,
    signature: Option<String>,
}

impl<S> FromRequestParts<S> for CalendarReader
where
    S: Send + Sync,
    Auth: FromRef<S>,
    Links: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let Query(link) = Query::<CalendarLinkQuery>::from_request_parts(parts, state).await?;
        let auth = Auth::from_ref(state);
        // A token wins over a signature: it names the caller, a link only the user that it was made for.
        let signature = link.signature.filter(|_| !parts.headers.contains_key(header::AUTHORIZATION));
        let Some(signature) = signature else {
            return Ok(Self { caller: auth.sign_in(parts).await?, link_version: None });
        };
        let Id(booking) = Id::from_request_parts(parts, state).await?;
        // Defaults are safe: no signature of ours covers an empty user.
        let (user, version) = (link.user.unwrap_or_default(), link.version.unwrap_or_default());
        let is_good = Links::from_ref(state)
            .verify_calendar(CalendarLink { booking: &booking, user: &user, version }, &signature);
        let bearer = is_good.then(|| Caller { user_id: user, ..Caller::default() });
        let caller = auth.authenticate(
            bearer,
            parts,
            "link",
            "The link is not valid or was revoked. Open the booking to get a new one.",
        )?;
        Ok(Self { caller, link_version: Some(version) })
    }
}

/// Returns a booking as an iCalendar file.
///
/// The file follows RFC 5545. Read-only. Host, guest and admins, or any client with the signed link `calendarUrl`.
#[utoipa::path(get, path = "/api/bookings/{bookingId}/calendar.ics", operation_id = "getCalendar", tag = "Bookings",
    params(("bookingId" = uuid::Uuid, Path), CalendarLinkQuery), security(("bearer" = []), ("calendarLink" = [])),
    responses((status = 200, body = String, content_type = "text/calendar", description = "The iCalendar file.")),
    extensions(("x-refuses" = json!([InvalidRequest, InvalidSessionId, NotParticipant, SessionNotFound]))))]
pub(crate) async fn get(
    State(clients): State<Clients>,
    CalendarReader { caller, link_version }: CalendarReader,
    Id(booking_id): Id,
) -> Result<impl IntoResponse, Rejection> {
    let request = pb::GetCalendarRequest { caller: Some(caller), booking_id, link_version };
    let calendar = clients.booking().get_calendar(request).await?.into_inner().calendar;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/calendar; charset=utf-8")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("inline; filename=\"booking.ics\"")),
        // Calendar programs poll the file, and a moved booking must show at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, calendar))
}
