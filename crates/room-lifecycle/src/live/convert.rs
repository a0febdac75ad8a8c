//! Converts rows to the messages of the gRPC interface.

use chassis::grpc::timestamp;
use domain::{LiveRoomStatus, LiveStatus, Owner, Readiness, RoomStatus, field::non_empty};
use proto::room::v1 as pb;

use super::store::{Live, LiveRoom, LiveSession, rooms::State};

pub fn live(live: Live) -> pb::LiveRoomResponse {
    pb::LiveRoomResponse { room: Some(room(live.room)), session: live.session.map(session) }
}

pub fn room(row: LiveRoom) -> pb::LiveRoom {
    pb::LiveRoom {
        livekit_room_name: livekit_room_name(&row),
        id: row.id.to_string(),
        title: row.title,
        description: row.description,
        status: row.open_status.map_or(LiveRoomStatus::Idle, LiveStatus::of_room).into(),
        room_name: row.room_name,
        room_slug: row.room_slug,
        host_user_id: row.host_user_id,
        current_session_id: row.open_session.map(|id| id.to_string()),
        host_present: row.host_present,
        access_level: row.access_level.into(),
        topic_keys: row.topic_keys,
        cover_image_url: row.cover_image_url.and_then(non_empty),
    }
}

/// The LiveKit name of the room that can be joined now. Before the intent is written it is the name that it will get.
fn livekit_room_name(row: &LiveRoom) -> Option<String> {
    let session = row.open_session.filter(|_| row.open_status.is_some_and(LiveStatus::has_room))?;
    Some(row.livekit_room_name.clone().unwrap_or_else(|| Owner::LiveSession(session).room_name(1)))
}

pub fn session(row: LiveSession) -> pb::LiveSession {
    pb::LiveSession {
        id: row.id.to_string(),
        room_id: row.room_id.to_string(),
        session_title: row.session_title.and_then(non_empty),
        status: row.status.into(),
        livekit: livekit(row.status, row.livekit).map(Into::into),
        access_level: row.access_level.into(),
        starts_at: Some(timestamp(row.starts_at)),
        ends_at: row.ends_at.map(timestamp),
        started_at: row.started_at.map(timestamp),
        ended_at: row.ended_at.map(timestamp),
        auto_admit: row.auto_admit,
        lobby_buffer_minutes: row.lobby_buffer_minutes,
        max_participants: row.max_participants,
        topic_keys: row.topic_keys,
        end_reason: row.end_reason.map(Into::into),
    }
}

/// `None`: the session has no room on LiveKit, because its lobby is not open yet or the session is over.
const fn livekit(session: LiveStatus, room: Option<RoomStatus>) -> Option<Readiness> {
    if !session.has_room() {
        return None;
    }
    Some(match room {
        Some(RoomStatus::Active) => Readiness::Ready,
        Some(RoomStatus::Failed) => Readiness::Failed,
        Some(RoomStatus::Pending | RoomStatus::Ended) | None => Readiness::Starting,
    })
}

/// The state of a room at one moment, for the reader that it was read for.
pub fn state(state: State) -> pb::GetRoomStateResponse {
    let viewer = pb::Viewer {
        role: state.role.into(),
        is_host: state.role.is_host(),
        lobby_status: state.lobby_status.map(Into::into),
        is_banned: state.is_banned,
    };
    let counts = pb::Counts {
        lobby_waiting: state.waiting,
        in_room: state.in_room,
        max_participants: state.live.session.as_ref().map_or(0, |session| session.max_participants),
        host_present: state.live.room.host_present,
    };
    pb::GetRoomStateResponse {
        room: Some(room(state.live.room)),
        session: state.live.session.map(session),
        counts: Some(counts),
        viewer: Some(viewer),
    }
}
