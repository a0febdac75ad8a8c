//! The messages of the server that several modules send.

use livekit_protocol::{
    Codec, DisconnectReason, JoinResponse, LeaveRequest, ParticipantInfo, ParticipantUpdate,
    ReconnectResponse, ServerInfo, leave_request::Action, participant_info::State, signal_response::Message,
};

use super::join::Join;
use crate::{
    config::Config,
    state::{World, participants::Session},
};

const PING_TIMEOUT_S: i32 = 15;
const PING_INTERVAL_S: i32 = 5;
/// The protocol of the real server's version that this one plays.
const PROTOCOL: i32 = 17;
const AGENT_PROTOCOL: i32 = 1;
/// Marks frames that the server injects; this one injects none.
const TRAILER: &[u8] = b"livekit-dev trailer.";
/// There is one node, always.
const NODE: &str = "ND_livekitdev";

/// The first message of a session. The participant is shown as it was before it joined.
pub(crate) fn join(world: &World, config: &Config, session: &Session, join: &Join) -> JoinResponse {
    let occupant = world.session(session);
    let info = occupant.map(|occupant| occupant.info.clone()).unwrap_or_default();
    let permission = info.permission.clone().unwrap_or_default();
    JoinResponse {
        room: world.rooms.get(&session.room).map(|room| room.shown_to(&session.identity)),
        participant: Some(ParticipantInfo { state: State::Joining as i32, version: 0, ..info }),
        other_participants: world.visible_participants(session),
        server_version: config.version.clone(),
        subscriber_primary: !join.single && permission.can_subscribe,
        ping_timeout: PING_TIMEOUT_S,
        ping_interval: PING_INTERVAL_S,
        server_info: Some(server_info(config)),
        sif_trailer: TRAILER.to_vec(),
        enabled_publish_codecs: codecs(config),
        fast_publish: permission.can_publish,
        ..JoinResponse::default()
    }
}

pub(crate) fn reconnect(config: &Config, last_message_seq: u32) -> Message {
    let server_info = Some(server_info(config));
    Message::Reconnect(ReconnectResponse { server_info, last_message_seq, ..ReconnectResponse::default() })
}

fn server_info(config: &Config) -> ServerInfo {
    ServerInfo {
        version: config.version.clone(),
        protocol: PROTOCOL,
        node_id: NODE.to_owned(),
        agent_protocol: AGENT_PROTOCOL,
        ..ServerInfo::default()
    }
}

/// What the engine forwards. Clients that prefer another codec fall back to these.
fn codecs(config: &Config) -> Vec<Codec> {
    let h264 = config.rtc.h264.then_some("video/H264");
    let mimes = ["video/VP8"].into_iter().chain(h264).chain(["audio/opus"]);
    mimes.map(|mime| Codec { mime: mime.to_owned(), fmtp_line: String::new() }).collect()
}

/// A leave that ends the session names its reason only.
pub(crate) fn leave(reason: DisconnectReason, action: Action) -> Message {
    Message::Leave(LeaveRequest { reason: reason as i32, action: action as i32, ..LeaveRequest::default() })
}

pub(crate) fn update(participants: Vec<ParticipantInfo>) -> Message {
    Message::Update(ParticipantUpdate { participants })
}
