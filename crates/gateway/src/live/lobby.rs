//! The lobby: who waits, and whom the host lets in.
//!
//! The room is read before somebody is let in: host actions answer it, and a read that failed afterwards would make a
//! failure of what was done.

use axum::{Json as Answer, extract::State};
use proto::{room::v1 as pb, types::v1::Caller};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

use super::{LiveRoom, LiveSession, RoomAndSession, Seat, room_answer, sessions::Page};
use crate::{
    app::{App, Moderator, SignedIn},
    error::Rejection,
    extract::{Id, Json, Query},
    wire::{self, told},
};

#[derive(Serialize, ToSchema)]
pub(crate) struct Lobby {
    /// always true
    ok: bool,
    waiting: Vec<LobbyEntry>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Serialize, ToSchema)]
struct LobbyEntry {
    user_id: String,
    name: String,
    avatar_url: Option<String>,
    #[serde(with = "time::serde::rfc3339")]
    waiting_since: OffsetDateTime,
}

impl TryFrom<pb::Waiting> for LobbyEntry {
    type Error = Rejection;

    fn try_from(waiting: pb::Waiting) -> Result<Self, Rejection> {
        Ok(Self {
            user_id: waiting.user_id,
            name: waiting.name,
            avatar_url: told(waiting.avatar_url),
            waiting_since: wire::time("waiting.waiting_since", waiting.waiting_since)?,
        })
    }
}

/// Who waits, longest first; for the host.
#[utoipa::path(get, path = "/api/v1/live/rooms/{room_id}/lobby", operation_id = "listLobby", tag = "Live rooms",
    params(("room_id" = uuid::Uuid, Path), Page),
    responses((status = 200, body = Lobby, description = "a page")))]
pub(crate) async fn list(
    State(app): State<App>,
    SignedIn(caller): SignedIn,
    Id(room_id): Id,
    Query(page): Query<Page>,
) -> Result<Answer<Lobby>, Rejection> {
    let request = pb::ListLobbyRequest {
        caller: Some(caller),
        room_id,
        limit: wire::limit(page.limit),
        cursor: page.cursor.unwrap_or_default(),
    };
    let page = app.seats().list_lobby(request).await?.into_inner();
    let waiting = page.waiting.into_iter().map(LobbyEntry::try_from).collect::<Result<_, _>>()?;
    Ok(Answer(Lobby { ok: true, waiting, next_cursor: told(page.next_cursor) }))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Whom {
    pub(super) user_id: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Admitted {
    /// always true
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    /// The seat of the person in question.
    seat: Seat,
}

impl Admitted {
    pub(super) fn of(shown: RoomAndSession, answer: pb::SeatResponse) -> Result<Answer<Self>, Rejection> {
        let seat = answer.seat.ok_or(Rejection::Incomplete("seat"))?.into();
        Ok(Answer(Self { ok: true, room: shown.room, session: shown.session, seat }))
    }
}

pub(super) async fn shown(app: &App, caller: &Caller, room_id: &str) -> Result<RoomAndSession, Rejection> {
    let request = pb::LiveRoomRequest { caller: Some(caller.clone()), room_id: room_id.to_owned() };
    room_answer(app.live().get_room(request).await).map(|Answer(shown)| shown)
}

/// Lets in somebody who waits; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/admit", operation_id = "admitFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = Admitted, description = "admitted")))]
pub(crate) async fn admit(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> Result<Answer<Admitted>, Rejection> {
    let shown = shown(&app, &caller, &room_id).await?;
    let request = pb::AdmitRequest { caller: Some(caller), room_id, user_id: body.user_id };
    Admitted::of(shown, app.seats().admit(request).await?.into_inner())
}

/// Turns away somebody who waits; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/reject", operation_id = "rejectFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)), request_body = Whom,
    responses((status = 200, body = Admitted, description = "rejected")))]
pub(crate) async fn reject(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
    Json(body): Json<Whom>,
) -> Result<Answer<Admitted>, Rejection> {
    let shown = shown(&app, &caller, &room_id).await?;
    let request = pb::AdmitRequest { caller: Some(caller), room_id, user_id: body.user_id };
    Admitted::of(shown, app.seats().reject(request).await?.into_inner())
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AdmittedAll {
    /// always true
    ok: bool,
    room: LiveRoom,
    session: Option<LiveSession>,
    admitted: i32,
    /// There was no place for these.
    still_waiting: i32,
}

/// Lets in all who wait, longest first, as far as there is room; for the host.
#[utoipa::path(post, path = "/api/v1/live/rooms/{room_id}/admit-all", operation_id = "admitAllFromLobby",
    tag = "Live rooms", params(("room_id" = uuid::Uuid, Path)),
    responses((status = 200, body = AdmittedAll, description = "how many")))]
pub(crate) async fn admit_all(
    State(app): State<App>,
    Moderator(caller): Moderator,
    Id(room_id): Id,
) -> Result<Answer<AdmittedAll>, Rejection> {
    let RoomAndSession { ok, room, session } = shown(&app, &caller, &room_id).await?;
    let request = pb::SeatRequest { caller: Some(caller), room_id };
    let pb::AdmitAllResponse { admitted, still_waiting } = app.seats().admit_all(request).await?.into_inner();
    Ok(Answer(AdmittedAll { ok, room, session, admitted, still_waiting }))
}
