//! `/api/v1/live/rooms`: permanent live rooms, their sessions, and the people in them.
//!
//! JSON is in `snake_case` and every answer has `ok`, as the clients of the replaced systems read it; refusals of these
//! routes speak the same way ([`crate::error`]). Who is host, and who may read, room-lifecycle decides.

use axum::Json as Answer;
use proto::room::v1 as pb;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use tonic::{Response, Status};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    error::Rejection,
    wire::{self, non_empty},
};

mod lobby;
mod moderation;
mod rooms;
mod seats;
mod sessions;
mod token;

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(rooms::mine))
        .routes(routes!(rooms::save))
        .routes(routes!(rooms::get, rooms::patch))
        .routes(routes!(rooms::state))
        .routes(routes!(sessions::list, sessions::go_live))
        .routes(routes!(sessions::start))
        .routes(routes!(sessions::open_lobby))
        .routes(routes!(sessions::end))
        .routes(routes!(sessions::cancel))
        .routes(routes!(sessions::reset))
        .routes(routes!(sessions::host_present))
        .routes(routes!(sessions::host_absent))
        .routes(routes!(seats::join))
        .routes(routes!(seats::leave))
        .routes(routes!(seats::disconnect))
        .routes(routes!(token::access_token))
        .routes(routes!(lobby::list))
        .routes(routes!(lobby::admit))
        .routes(routes!(lobby::admit_all))
        .routes(routes!(lobby::reject))
        .routes(routes!(moderation::promote))
        .routes(routes!(moderation::demote))
        .routes(routes!(moderation::mute))
        .routes(routes!(moderation::kick))
        .routes(routes!(moderation::ban))
        .routes(routes!(moderation::unban))
        .routes(routes!(moderation::hand))
        .routes(routes!(moderation::summary))
}

/// A host's permanent room.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveRoom {
    #[schema(format = Uuid)]
    id: String,
    title: String,
    description: String,
    /// idle · scheduled · lobby · live
    status: String,
    room_name: String,
    room_slug: String,
    /// Null without an open session.
    livekit_room_name: Option<String>,
    host_user_id: String,
    /// Null without an open session.
    current_session_id: Option<String>,
    host_present: bool,
    /// public · group
    access_level: String,
    topic_keys: Vec<String>,
    cover_image_url: Option<String>,
}

impl From<pb::LiveRoom> for LiveRoom {
    fn from(room: pb::LiveRoom) -> Self {
        Self {
            id: room.id,
            title: room.title,
            description: room.description,
            status: room.status,
            room_name: room.room_name,
            room_slug: room.room_slug,
            livekit_room_name: non_empty(room.livekit_room_name),
            host_user_id: room.host_user_id,
            current_session_id: non_empty(room.current_session_id),
            host_present: room.host_present,
            access_level: room.access_level,
            topic_keys: room.topic_keys,
            cover_image_url: non_empty(room.cover_image_url),
        }
    }
}

/// One broadcast.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveSession {
    #[schema(format = Uuid)]
    id: String,
    #[schema(format = Uuid)]
    room_id: String,
    session_title: Option<String>,
    /// scheduled · lobby · live · ended · cancelled
    status: String,
    /// Its room on LiveKit: starting · ready · failed; null while it has none: before the lobby opens, and when the
    /// session is over
    livekit: Option<String>,
    /// public · group
    access_level: String,
    #[serde(with = "time::serde::rfc3339::option")]
    starts_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ends_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    started_at: Option<OffsetDateTime>,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    /// Why it is over: `host` (ended or cancelled), `empty` (it stayed empty), `time` (empty after `ends_at`), `missed`
    /// (not live within 2 h of `starts_at`, or before `ends_at`), `reset`; null while it is open, and for sessions that
    /// ended before reasons were written
    end_reason: Option<String>,
    auto_admit: bool,
    lobby_buffer_minutes: i32,
    max_participants: i32,
    topic_keys: Vec<String>,
}

impl From<pb::LiveSession> for LiveSession {
    fn from(session: pb::LiveSession) -> Self {
        Self {
            id: session.id,
            room_id: session.room_id,
            session_title: non_empty(session.session_title),
            status: session.status,
            livekit: non_empty(session.livekit),
            access_level: session.access_level,
            starts_at: wire::time_or_null(session.starts_at),
            ends_at: wire::time_or_null(session.ends_at),
            started_at: wire::time_or_null(session.started_at),
            ended_at: wire::time_or_null(session.ended_at),
            end_reason: non_empty(session.end_reason),
            auto_admit: session.auto_admit,
            lobby_buffer_minutes: session.lobby_buffer_minutes,
            max_participants: session.max_participants,
            topic_keys: session.topic_keys,
        }
    }
}

/// The room and its open session.
#[derive(Serialize, ToSchema)]
pub(crate) struct RoomAndSession {
    /// Always true.
    ok: bool,
    room: LiveRoom,
    /// The open session; after an end or a cancel, the one that is over. Null: there is none.
    session: Option<LiveSession>,
}

impl RoomAndSession {
    fn of(room: Option<pb::LiveRoom>, session: Option<pb::LiveSession>) -> Result<Self, Rejection> {
        let room = room.ok_or(Rejection::Incomplete("room"))?.into();
        Ok(Self { ok: true, room, session: session.map(LiveSession::from) })
    }
}

type RoomAnswer = Result<Answer<RoomAndSession>, Rejection>;

fn room_answer(answer: Result<Response<pb::LiveRoomResponse>, Status>) -> RoomAnswer {
    let answer = answer?.into_inner();
    RoomAndSession::of(answer.room, answer.session).map(Answer)
}

/// A user's seat in a session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Seat {
    /// host · speaker · guest
    role: String,
    /// waiting · admitted · rejected
    lobby_status: String,
}

impl From<pb::Seat> for Seat {
    fn from(seat: pb::Seat) -> Self {
        Self { role: seat.role, lobby_status: seat.lobby_status }
    }
}

/// Who may read a room, or one of its sessions.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum AccessLevel {
    /// Any signed-in person.
    Public,
    /// The host, admins, and members of the room's groups.
    Group,
}

impl AccessLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Group => "group",
        }
    }
}

fn keys(keys: Vec<String>) -> pb::TopicKeys {
    pb::TopicKeys { keys }
}
