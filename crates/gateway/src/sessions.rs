//! `/api/sessions/{sessionId}/livekit`: the meeting of a booking – its room, its tokens, its participants, its end.

use axum::{Json, extract::State, response::IntoResponse};
use chassis::status::Reason::{
    self, InvalidRequest, InvalidSessionId, LivekitUnavailable, MeetingEnded, NotHost, NotParticipant,
    OriginNotAllowed, SessionCancelled, SessionNotFound, TooEarly, TooLarge,
};
use domain::{ParticipantStatus, Role, RoomId, RoomStatus, SessionId, SessionStatus};
use http::{HeaderValue, header};
use proto::{booking::v1 as booking, room::v1 as room, token::v1 as token};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::{ModerationRateLimited, SignedIn, cookie::SignedInToJoin},
    clients::Clients,
    error::Rejection,
    extract::{EmptyObject, Id, JsonBody, Query},
    limits::Limits,
    wire::{self, Envelope, Person},
};

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MadeRoom {
    #[schema(value_type = RoomId)]
    room_id: String,
    room_name: String,
    /// Null until LiveKit has answered.
    room_sid: Option<String>,
    status: RoomStatus,
    meeting_url: String,
}

/// Returns the room of a booking.
///
/// Returns the booking's room, and creates it if necessary. Idempotent. Host, guest and admins.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/livekit/create-room", operation_id = "createRoom",
    tag = "Meetings", params(("sessionId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<MadeRoom>, description = "The room.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, InvalidSessionId, NotParticipant, SessionNotFound, MeetingEnded,
        SessionCancelled, LivekitUnavailable]))))]
pub(crate) async fn create_room(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(session_id): Id,
    _: JsonBody<EmptyObject>,
) -> Result<Json<Envelope<MadeRoom>>, Rejection> {
    let request = room::CreateRoomRequest { caller: Some(caller), session_id };
    let answer = clients.room().create_room(request).await?.into_inner();
    let room = answer.room.ok_or(Rejection::Incomplete("room"))?;
    Ok(Envelope::new(MadeRoom {
        room_id: room.id,
        room_name: room.room_name,
        room_sid: room.room_sid,
        status: room.status.try_into()?,
        meeting_url: answer.meeting_url,
    }))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Ensure {
    /// `now` when LiveKit has just refused a token: the room is checked again before the token is signed. Limited to one
    /// a second for each person, with bursts of five; beyond, 429 `rate_limited`.
    #[param(inline)]
    ensure: Option<EnsureWhen>,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum EnsureWhen {
    Now,
}

impl Ensure {
    pub(crate) fn now(&self) -> bool {
        self.ensure.is_some()
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccessToken {
    /// The LiveKit token. Do not store it: fetch a new one for each join.
    token: String,
    ws_url: String,
    room_name: String,
    identity: String,
    participant_name: String,
    role: Role,
    is_host: bool,
    is_provider: bool,
    can_record: bool,
    #[serde(with = "time::serde::rfc3339")]
    expires_at: OffsetDateTime,
    session: TokenSession,
    other_participant: Option<Person>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TokenSession {
    title: String,
    #[serde(with = "time::serde::rfc3339")]
    scheduled_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    opens_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    closes_at: OffsetDateTime,
}

impl TryFrom<token::IssueForSessionResponse> for AccessToken {
    type Error = Rejection;

    fn try_from(issued: token::IssueForSessionResponse) -> Result<Self, Rejection> {
        let role = Role::try_from(issued.role)?;
        let is_host = role.is_host();
        Ok(Self {
            token: issued.token,
            ws_url: issued.ws_url,
            room_name: issued.room_name,
            identity: issued.identity,
            participant_name: issued.participant_name,
            role,
            is_host,
            is_provider: is_host,
            can_record: issued.can_record,
            expires_at: wire::time("token.expires_at", issued.expires_at)?,
            session: TokenSession {
                title: issued.title,
                scheduled_at: wire::time("token.scheduled_at", issued.scheduled_at)?,
                opens_at: wire::time("token.opens_at", issued.opens_at)?,
                closes_at: wire::time("token.closes_at", issued.closes_at)?,
            },
            other_participant: issued.other_participant.map(Person::from),
        })
    }
}

/// Issues a LiveKit token for a booking.
///
/// Returns a token that opens the booking's room for the caller, while the meeting is open. Each call issues a new
/// token; nothing else changes. Host and guest, unless kicked.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/livekit/access-token", operation_id = "getAccessToken",
    tag = "Meetings", params(("sessionId" = uuid::Uuid, Path), Ensure),
    responses((status = 200, body = Envelope<AccessToken>, description = "The token. The answer is never cached.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, NotParticipant, Reason::Kicked, OriginNotAllowed, TooEarly,
        SessionNotFound, MeetingEnded, SessionCancelled, LivekitUnavailable]))))]
pub(crate) async fn access_token(
    State(limits): State<Limits>,
    State(clients): State<Clients>,
    SignedInToJoin(caller): SignedInToJoin,
    Id(session_id): Id,
    Query(query): Query<Ensure>,
) -> Result<impl IntoResponse, Rejection> {
    let ensure_now = query.now();
    // Only the forced check is limited: a token without it costs little.
    if ensure_now {
        limits.limit_forced_refresh(&caller.user_id)?;
    }
    let request = token::IssueForSessionRequest { caller: Some(caller), session_id, ensure_now };
    let issued = clients.token().issue_for_session(request).await?.into_inner();
    let answer = Envelope::new(AccessToken::try_from(issued)?);
    let no_store = HeaderValue::from_static("no-store");
    Ok(([(header::CACHE_CONTROL, no_store)], answer))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct RoomEnded {
    /// Always true.
    success: bool,
    #[schema(example = "Room ended successfully")]
    message: &'static str,
}

/// Ends a meeting.
///
/// Ends the meeting for all participants and closes its room. Idempotent: a repeat returns the same answer. Host
/// and admins.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/livekit/end-room", operation_id = "endRoom",
    tag = "Meetings", params(("sessionId" = uuid::Uuid, Path)),
    responses((status = 200, body = RoomEnded, description = "Ended.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, InvalidSessionId, NotHost, NotParticipant, SessionNotFound, MeetingEnded,
        SessionCancelled]))))]
pub(crate) async fn end_room(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(booking_id): Id,
    _: JsonBody<EmptyObject>,
) -> Result<Json<RoomEnded>, Rejection> {
    let request = booking::EndBookingRequest { caller: Some(caller), booking_id };
    clients.booking().end_booking(request).await?;
    Ok(Json(RoomEnded { success: true, message: "Room ended successfully" }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct MeetingStatus {
    session: StatusSession,
    room: Option<StatusRoom>,
    participants: Vec<Participant>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatusSession {
    #[schema(value_type = SessionId)]
    id: String,
    status: SessionStatus,
    #[serde(with = "time::serde::rfc3339")]
    opens_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    closes_at: OffsetDateTime,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StatusRoom {
    status: RoomStatus,
    room_name: String,
    room_sid: Option<String>,
    /// Increases each time the room is recreated on LiveKit.
    generation: i32,
    /// When the room was last observed on LiveKit.
    #[serde(with = "time::serde::rfc3339::option")]
    confirmed_at: Option<OffsetDateTime>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct Participant {
    user_id: String,
    name: String,
    role: Role,
    status: ParticipantStatus,
    #[serde(with = "time::serde::rfc3339::option")]
    joined_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    left_at: Option<OffsetDateTime>,
}

impl TryFrom<room::GetSessionStatusResponse> for MeetingStatus {
    type Error = Rejection;

    fn try_from(status: room::GetSessionStatusResponse) -> Result<Self, Rejection> {
        Ok(Self {
            session: StatusSession {
                id: status.session_id,
                status: status.session_status.try_into()?,
                opens_at: wire::time("status.opens_at", status.opens_at)?,
                closes_at: wire::time("status.closes_at", status.closes_at)?,
            },
            room: status.room.map(StatusRoom::try_from).transpose()?,
            participants: status
                .participants
                .into_iter()
                .map(Participant::try_from)
                .collect::<Result<_, _>>()?,
        })
    }
}

impl TryFrom<room::Room> for StatusRoom {
    type Error = Rejection;

    fn try_from(room: room::Room) -> Result<Self, Rejection> {
        Ok(Self {
            status: room.status.try_into()?,
            room_name: room.room_name,
            room_sid: room.room_sid,
            generation: room.generation,
            confirmed_at: wire::time_or_null(room.confirmed_at),
        })
    }
}

impl TryFrom<room::Participant> for Participant {
    type Error = Rejection;

    fn try_from(participant: room::Participant) -> Result<Self, Rejection> {
        Ok(Self {
            user_id: participant.user_id,
            name: participant.name,
            role: participant.role.try_into()?,
            status: participant.status.try_into()?,
            joined_at: wire::time_or_null(participant.joined_at),
            left_at: wire::time_or_null(participant.left_at),
        })
    }
}

/// Returns the state of a meeting.
///
/// Returns the booking's window, its room and its participants, as recorded. Read-only. Host, guest and admins.
#[utoipa::path(get, path = "/api/sessions/{sessionId}/livekit/status", operation_id = "getMeetingStatus",
    tag = "Meetings", params(("sessionId" = uuid::Uuid, Path)),
    responses((status = 200, body = Envelope<MeetingStatus>, description = "The recorded state.")),
    extensions(("x-refuses" = json!([InvalidSessionId, NotParticipant, SessionNotFound]))))]
pub(crate) async fn status(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(session_id): Id,
) -> Result<Json<Envelope<MeetingStatus>>, Rejection> {
    let request = room::GetSessionStatusRequest { caller: Some(caller), session_id };
    let status = clients.room().get_session_status(request).await?.into_inner();
    MeetingStatus::try_from(status).map(Envelope::new)
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Kick {
    user_id: String,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kicked {
    user_id: String,
    /// always `kicked`
    status: &'static str,
}

/// Removes a participant from a meeting.
///
/// Removes the participant permanently: they get no new token for this booking. Idempotent: a repeat returns the
/// same answer. Host and admins.
#[utoipa::path(post, path = "/api/sessions/{sessionId}/livekit/kick", operation_id = "kickParticipant",
    tag = "Meetings", params(("sessionId" = uuid::Uuid, Path)), request_body = Kick,
    responses((status = 200, body = Envelope<Kicked>, description = "Removed.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, InvalidSessionId, TooLarge, NotHost, NotParticipant, SessionNotFound, MeetingEnded,
        SessionCancelled, LivekitUnavailable]))))]
pub(crate) async fn kick(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(session_id): Id,
    JsonBody(body): JsonBody<Kick>,
) -> Result<Json<Envelope<Kicked>>, Rejection> {
    let request =
        room::KickParticipantRequest { caller: Some(caller), session_id, user_id: body.user_id.clone() };
    clients.room().kick_participant(request).await?;
    Ok(Envelope::new(Kicked { user_id: body.user_id, status: "kicked" }))
}
