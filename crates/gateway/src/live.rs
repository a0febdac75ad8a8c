//! `/api/v1/live/rooms`: permanent live rooms, their sessions, and their participants.
//!
//! JSON is in `snake_case` and every answer has `ok`, as the clients of the replaced systems expect. Refusals of these
//! routes have the same shape ([`crate::error`]). Room-lifecycle decides who is host and who may read.

use axum::Json as Answer;
use domain::{
    AccessLevel, EndReason, LiveRoomId, LiveRoomStatus, LiveSessionId, LiveStatus, LobbyStatus, Readiness,
    SeatRole,
};
use proto::room::v1 as pb;
use serde::Serialize;
use time::OffsetDateTime;
use tonic::{Response, Status};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{app::App, error::Rejection, wire};

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
    #[schema(value_type = LiveRoomId)]
    id: String,
    title: String,
    description: String,
    status: LiveRoomStatus,
    room_name: String,
    room_slug: String,
    /// Null without an open session.
    livekit_room_name: Option<String>,
    host_user_id: String,
    /// Null without an open session.
    #[schema(value_type = Option<LiveSessionId>)]
    current_session_id: Option<String>,
    host_present: bool,
    access_level: AccessLevel,
    topic_keys: Vec<String>,
    cover_image_url: Option<String>,
}

impl TryFrom<pb::LiveRoom> for LiveRoom {
    type Error = Rejection;

    fn try_from(room: pb::LiveRoom) -> Result<Self, Rejection> {
        Ok(Self {
            id: room.id,
            title: room.title,
            description: room.description,
            status: room.status.try_into()?,
            room_name: room.room_name,
            room_slug: room.room_slug,
            livekit_room_name: room.livekit_room_name,
            host_user_id: room.host_user_id,
            current_session_id: room.current_session_id,
            host_present: room.host_present,
            access_level: room.access_level.try_into()?,
            topic_keys: room.topic_keys,
            cover_image_url: room.cover_image_url,
        })
    }
}

/// One broadcast.
#[derive(Serialize, ToSchema)]
pub(crate) struct LiveSession {
    #[schema(value_type = LiveSessionId)]
    id: String,
    #[schema(value_type = LiveRoomId)]
    room_id: String,
    session_title: Option<String>,
    status: LiveStatus,
    /// Its room on LiveKit; null while it has none: before the lobby opens, and when the session is over
    livekit: Option<Readiness>,
    access_level: AccessLevel,
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
    end_reason: Option<EndReason>,
    auto_admit: bool,
    lobby_buffer_minutes: i32,
    max_participants: i32,
    topic_keys: Vec<String>,
}

impl TryFrom<pb::LiveSession> for LiveSession {
    type Error = Rejection;

    fn try_from(session: pb::LiveSession) -> Result<Self, Rejection> {
        Ok(Self {
            id: session.id,
            room_id: session.room_id,
            session_title: session.session_title,
            status: session.status.try_into()?,
            livekit: session.livekit.map(TryInto::try_into).transpose()?,
            access_level: session.access_level.try_into()?,
            starts_at: wire::time_or_null(session.starts_at),
            ends_at: wire::time_or_null(session.ends_at),
            started_at: wire::time_or_null(session.started_at),
            ended_at: wire::time_or_null(session.ended_at),
            end_reason: session.end_reason.map(TryInto::try_into).transpose()?,
            auto_admit: session.auto_admit,
            lobby_buffer_minutes: session.lobby_buffer_minutes,
            max_participants: session.max_participants,
            topic_keys: session.topic_keys,
        })
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
        let room = room.ok_or(Rejection::Incomplete("room"))?.try_into()?;
        Ok(Self { ok: true, room, session: session.map(LiveSession::try_from).transpose()? })
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
    role: SeatRole,
    lobby_status: LobbyStatus,
}

impl TryFrom<pb::Seat> for Seat {
    type Error = Rejection;

    fn try_from(seat: pb::Seat) -> Result<Self, Rejection> {
        Ok(Self { role: seat.role.try_into()?, lobby_status: seat.lobby_status.try_into()? })
    }
}

/// In a message of its own, so that "absent" and "empty" differ: a list has no presence in protobuf.
fn keys(keys: Vec<String>) -> pb::TopicKeys {
    pb::TopicKeys { keys }
}
