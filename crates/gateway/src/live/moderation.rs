//! What a host does with the people in his room, and the hands that they raise.
//!
//! As with the lobby, the room is read before anything is done: a read that failed afterwards would make a failure of
//! what was done.

use axum::{Json as Answer, extract::State};
use chassis::grpc::timestamp;
use proto::{room::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{
    LiveRoom, LiveSession, RoomAndSession, RoomAnswer, Seat,
    lobby::{Admitted, Whom, shown},
    sessions::Page,
};
use crate::{
    app::{App, Moderator, SignedIn},
    error::Rejection,
    extract::{Id, Json, Query},
    wire::{self, told},
};

/// The room as it is shown, and the request about that person.
async fn moderated(
    app: &App,
    caller: Caller,
    room_id: String,
    Whom { user_id }: Whom,
) -> Result<(RoomAndSession, pb::ModerateRequest), Rejection> {
    let shown = shown(app, &caller, &room_id).await?;
    Ok((shown, pb::ModerateRequest { caller: Some(caller), room_id, user_id }))
}

/// Somebody with a seat becomes a speaker, at once and for his next tokens; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/promote", operation_id = "promoteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = Admitted, description = "he may publish")))]
pub(crate) async fn promote(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> Result<Answer<Admitted>, Rejection> {
    let (shown, request) = moderated(&app, caller, room_id, body).await?;
    Admitted::of(shown, app.moderation().promote(request).await?.into_inner())
}

/// A speaker becomes a viewer, at once and for his next tokens; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/demote", operation_id = "demoteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = Admitted, description = "he does not publish any more")))]
pub(crate) async fn demote(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> Result<Answer<Admitted>, Rejection> {
    let (shown, request) = moderated(&app, caller, room_id, body).await?;
    Admitted::of(shown, app.moderation().demote(request).await?.into_inner())
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Silence {
    user_id: String,
    /// camera · microphone · `screen_share` · `screen_share_audio`
    source: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Muted {
    /// always true
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    /// False: nothing was published from there, or it was muted already.
    changed: bool,
}

/// Mutes what somebody publishes from a source; he can unmute himself; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/mute", operation_id = "muteInLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Silence,
    responses((status = 200, body = Muted, description = "muted")))]
pub(crate) async fn mute(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(Silence { user_id, source }): Json<Silence>,
) -> Result<Answer<Muted>, Rejection> {
    let RoomAndSession { ok, room, session } = shown(&app, &caller, &room_id).await?;
    let request = pb::MuteRequest { caller: Some(caller), room_id, user_id, source };
    let changed = app.moderation().mute(request).await?.into_inner().changed;
    Ok(Answer(Muted { ok, room, session, changed }))
}

/// Puts somebody out of the open session for good; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/kick", operation_id = "kickFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = RoomAndSession, description = "he is out")))]
pub(crate) async fn kick(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> RoomAnswer {
    let (shown, request) = moderated(&app, caller, room_id, body).await?;
    app.moderation().kick(request).await?;
    Ok(Answer(shown))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Banning {
    user_id: String,
    /// Absent: until it is lifted.
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
}

/// Keeps somebody out of the room, until a time or until it is lifted; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/ban", operation_id = "banFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Banning,
    responses((status = 200, body = RoomAndSession, description = "he is out, and stays out")))]
pub(crate) async fn ban(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Banning>,
) -> RoomAnswer {
    let shown = shown(&app, &caller, &room_id).await?;
    let until = body.until.map(timestamp);
    let request = pb::BanRequest { caller: Some(caller), room_id, user_id: body.user_id, until };
    app.moderation().ban(request).await?;
    Ok(Answer(shown))
}

/// Lifts a ban, and a kick out of the open session with it; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/unban", operation_id = "unbanFromLiveRoom",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = RoomAndSession, description = "he may come again")))]
pub(crate) async fn unban(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> RoomAnswer {
    let (shown, request) = moderated(&app, caller, room_id, body).await?;
    app.moderation().unban(request).await?;
    Ok(Answer(shown))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Hand {
    raised: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Raised {
    /// always true
    ok: bool,
    seat: Seat,
}

/// Raises or lowers the caller's own hand; he needs a seat.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/hand", operation_id = "raiseHand",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Hand,
    responses((status = 200, body = Raised, description = "the host sees it in the summary")))]
pub(crate) async fn hand(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Json(body): Json<Hand>,
) -> Result<Answer<Raised>, Rejection> {
    let request = pb::RaiseHandRequest { caller: Some(caller), room_id, raised: body.raised };
    let answer = app.moderation().raise_hand(request).await?.into_inner();
    let seat = answer.seat.ok_or(Rejection::Incomplete("seat"))?.into();
    Ok(Answer(Raised { ok: true, seat }))
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Summary {
    /// always true
    ok: bool,
    room: LiveRoom,
    /// The open session, or the last one. Null: there never was one.
    session: Option<LiveSession>,
    lobby_waiting: i32,
    in_room: i32,
    hands_raised: i32,
    peak_viewers: i32,
    people: Vec<SeatedPerson>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

/// Somebody who has or had a seat.
#[derive(Serialize, ToSchema)]
struct SeatedPerson {
    user_id: String,
    name: String,
    avatar_url: Option<String>,
    /// host · guest · speaker
    role: String,
    /// waiting · admitted · rejected
    lobby_status: String,
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

impl From<pb::SeatedPerson> for SeatedPerson {
    fn from(person: pb::SeatedPerson) -> Self {
        Self {
            user_id: person.user_id,
            name: person.name,
            avatar_url: told(person.avatar_url),
            role: person.role,
            lobby_status: person.lobby_status,
            in_room: person.in_room,
            joined_at: wire::time_or_null(person.joined_at),
            left_at: wire::time_or_null(person.left_at),
            hand_raised_at: wire::time_or_null(person.hand_raised_at),
            is_kicked: person.is_kicked,
            is_banned: person.is_banned,
        }
    }
}

/// The open session or the last one with its people, raised hands first, longest up; for the host.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/summary", operation_id = "getLiveSummary",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path), Page),
    responses((status = 200, body = Summary, description = "a page of the people")))]
pub(crate) async fn summary(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<Page>,
) -> Result<Answer<Summary>, Rejection> {
    let request = pb::GetSummaryRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor.unwrap_or_default(),
    };
    let answer = app.moderation().get_summary(request).await?.into_inner();
    let RoomAndSession { ok, room, session } = RoomAndSession::of(answer.room, answer.session)?;
    let counts = answer.counts.unwrap_or_default();
    Ok(Answer(Summary {
        ok,
        room,
        session,
        lobby_waiting: counts.lobby_waiting,
        in_room: counts.in_room,
        hands_raised: answer.hands_raised,
        peak_viewers: answer.peak_viewers,
        people: answer.people.into_iter().map(SeatedPerson::from).collect(),
        next_cursor: told(answer.next_cursor),
    }))
}
