//! Moderation of a live room by its host, and raised hands. Room-lifecycle checks who is host (its live/moderation.rs),
//! not these handlers.
//!
//! As in the lobby, the room is read before the action: a read that failed after the action would answer a successful
//! action with an error.

use axum::{Json, extract::State};
use chassis::grpc::timestamp;
use chassis::status::Reason::{
    InvalidRequest, LivekitUnavailable, NotHost, NotParticipant, RoomNotActive, RoomNotFound, TooLarge,
};
use domain::{LobbyStatus, SeatRole, Source};
use proto::{room::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    LiveRoom, LiveSession, RoomAndSession, RoomAnswer, Seat,
    lobby::{Admitted, TargetUser, read_room},
    sessions::PageQuery,
};
use crate::{
    auth::{ModerationRateLimited, SignedIn},
    clients::Clients,
    error::Rejection,
    extract::{Id, JsonBody, Query},
    wire,
};

/// Reads the room, and builds the request about a participant.
async fn prepare(
    clients: &Clients,
    caller: Caller,
    room_id: String,
    TargetUser { user_id }: TargetUser,
) -> Result<(RoomAndSession, pb::ModerateRequest), Rejection> {
    let current = read_room(clients, &caller, &room_id).await?;
    Ok((current, pb::ModerateRequest { caller: Some(caller), room_id, user_id }))
}

/// Makes a participant a speaker.
///
/// Applies at once and to their next tokens. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/promote", operation_id = "promoteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = Admitted, description = "The participant can publish.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn promote(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> Result<Json<Admitted>, Rejection> {
    let (current, request) = prepare(&clients, caller, room_id, body).await?;
    Admitted::of(current, clients.moderation().promote(request).await?.into_inner())
}

/// Makes a speaker a viewer.
///
/// Applies at once and to their next tokens. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/demote", operation_id = "demoteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = Admitted, description = "The participant can no longer publish.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn demote(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> Result<Json<Admitted>, Rejection> {
    let (current, request) = prepare(&clients, caller, room_id, body).await?;
    Admitted::of(current, clients.moderation().demote(request).await?.into_inner())
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct MuteRequest {
    user_id: String,
    source: Source,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Muted {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    /// False: nothing was published from that source, or it was muted already.
    changed: bool,
}

/// Mutes a source of a participant.
///
/// Mutes what the participant publishes from a source. They can unmute themselves. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/mute", operation_id = "muteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = MuteRequest,
    responses((status = 200, body = Muted, description = "Muted.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive, LivekitUnavailable]))))]
pub(crate) async fn mute(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(MuteRequest { user_id, source }): JsonBody<MuteRequest>,
) -> Result<Json<Muted>, Rejection> {
    let RoomAndSession { ok, room, session } = read_room(&clients, &caller, &room_id).await?;
    let request = pb::MuteRequest { caller: Some(caller), room_id, user_id, source: source.into() };
    let changed = clients.moderation().mute(request).await?.into_inner().changed;
    Ok(Json(Muted { ok, room, session, changed }))
}

/// Removes a participant from the open session.
///
/// The participant cannot join this session again. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/kick", operation_id = "kickFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = RoomAndSession, description = "Removed.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn kick(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> RoomAnswer {
    let (current, request) = prepare(&clients, caller, room_id, body).await?;
    clients.moderation().kick(request).await?;
    Ok(Json(current))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct BanRequest {
    user_id: String,
    /// Absent: until the ban is lifted.
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

/// Bans a user from a live room.
///
/// Bans the user with or without an open session, until a time or until the ban is lifted. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/ban", operation_id = "banFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = BanRequest,
    responses((status = 200, body = RoomAndSession, description = "Banned.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound]))))]
pub(crate) async fn ban(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<BanRequest>,
) -> RoomAnswer {
    let current = read_room(&clients, &caller, &room_id).await?;
    let until = body.until.map(timestamp);
    let request = pb::BanRequest { caller: Some(caller), room_id, user_id: body.user_id, until };
    clients.moderation().ban(request).await?;
    Ok(Json(current))
}

/// Lifts a ban.
///
/// Lifts the ban, and with it a kick from the open session. Idempotent. Host only.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/unban", operation_id = "unbanFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = TargetUser,
    responses((status = 200, body = RoomAndSession, description = "The ban is lifted.")),
    extensions(("x-refuses" = json!([InvalidRequest, TooLarge, NotHost, RoomNotFound]))))]
pub(crate) async fn unban(
    State(clients): State<Clients>,
    ModerationRateLimited(caller): ModerationRateLimited,
    Id(room_id): Id,
    JsonBody(body): JsonBody<TargetUser>,
) -> RoomAnswer {
    let (current, request) = prepare(&clients, caller, room_id, body).await?;
    clients.moderation().unban(request).await?;
    Ok(Json(current))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct HandRequest {
    raised: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Raised {
    /// Always true.
    ok: bool,
    seat: Seat,
}

/// Raises or lowers the caller's hand.
///
/// Idempotent. Participants with a seat.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/hand", operation_id = "raiseHand",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = HandRequest,
    responses((status = 200, body = Raised, description = "The hand is raised or lowered.")),
    extensions(("x-refuses" = json!([
        InvalidRequest, TooLarge, NotParticipant, RoomNotFound, RoomNotActive]))))]
pub(crate) async fn hand(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    JsonBody(body): JsonBody<HandRequest>,
) -> Result<Json<Raised>, Rejection> {
    let request = pb::RaiseHandRequest { caller: Some(caller), room_id, raised: body.raised };
    let answer = clients.moderation().raise_hand(request).await?.into_inner();
    let seat = answer.seat.ok_or(Rejection::Incomplete("seat"))?.try_into()?;
    Ok(Json(Raised { ok: true, seat }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    /// The open session, or the last one. Null: there never was one.
    session: Option<LiveSession>,
    lobby_waiting: i32,
    in_room: i32,
    hands_raised: i32,
    peak_viewers: i32,
    people: Vec<SeatedPerson>,
    /// The cursor of the next page. Absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// A user who has or had a seat.
#[derive(Serialize, ToSchema)]
struct SeatedPerson {
    user_id: String,
    name: String,
    avatar_url: Option<String>,
    role: SeatRole,
    lobby_status: LobbyStatus,
    /// On LiveKit now.
    in_room: bool,
    #[serde(with = "time::serde::rfc3339::option")]
    joined_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    left_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    hand_raised_at: Option<OffsetDateTime>,
    is_kicked: bool,
    is_banned: bool,
}

impl TryFrom<pb::SeatedPerson> for SeatedPerson {
    type Error = Rejection;

    fn try_from(person: pb::SeatedPerson) -> Result<Self, Rejection> {
        Ok(Self {
            user_id: person.user_id,
            name: person.name,
            avatar_url: person.avatar_url,
            role: person.role.try_into()?,
            lobby_status: person.lobby_status.try_into()?,
            in_room: person.in_room,
            joined_at: wire::time_or_null(person.joined_at),
            left_at: wire::time_or_null(person.left_at),
            hand_raised_at: wire::time_or_null(person.hand_raised_at),
            is_kicked: person.is_kicked,
            is_banned: person.is_banned,
        })
    }
}

/// Returns the participants of the latest session.
///
/// Returns the open session, or the last one, with its participants page by page: raised hands first, longest
/// raised first. Read-only. Host only.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/summary", operation_id = "getLiveSummary",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path), PageQuery),
    responses((status = 200, body = Summary, description = "A page of the participants.")),
    extensions(("x-refuses" = json!([InvalidRequest, NotHost, RoomNotFound]))))]
pub(crate) async fn summary(
    State(clients): State<Clients>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<PageQuery>,
) -> Result<Json<Summary>, Rejection> {
    let request = pb::GetSummaryRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor,
    };
    let answer = clients.moderation().get_summary(request).await?.into_inner();
    let RoomAndSession { ok, room, session } = RoomAndSession::of(answer.room, answer.session)?;
    let counts = answer.counts.unwrap_or_default();
    Ok(Json(Summary {
        ok,
        room,
        session,
        lobby_waiting: counts.lobby_waiting,
        in_room: counts.in_room,
        hands_raised: answer.hands_raised,
        peak_viewers: answer.peak_viewers,
        people: answer.people.into_iter().map(SeatedPerson::try_from).collect::<Result<_, _>>()?,
        next_cursor: answer.next_cursor,
    }))
}
