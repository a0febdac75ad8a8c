//! What a room is made from.

use livekit_protocol::{
    AgentDispatch, Codec, CreateRoomRequest, Room as Info, RoomAgentDispatch, RoomConfiguration,
};

use crate::{agents, config::Config, ids};

const CODECS: [&str; 10] = [
    "audio/PCMU",
    "audio/PCMA",
    "audio/opus",
    "audio/red",
    "video/VP8",
    "video/H264",
    "video/VP9",
    "video/AV1",
    "video/H265",
    "video/rtx",
];

/// What a new room is made from; 0 and empty mean the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomSpec {
    pub name: String,
    pub empty_timeout: u32,
    pub departure_timeout: u32,
    pub max_participants: u32,
    pub metadata: String,
    pub agents: Vec<RoomAgentDispatch>,
}

impl From<&CreateRoomRequest> for RoomSpec {
    fn from(request: &CreateRoomRequest) -> Self {
        Self {
            name: request.name.clone(),
            empty_timeout: request.empty_timeout,
            departure_timeout: request.departure_timeout,
            max_participants: request.max_participants,
            metadata: request.metadata.clone(),
            agents: request.agents.clone(),
        }
    }
}

impl RoomSpec {
    pub(super) fn info(&self, config: &Config, now_ms: i64) -> Info {
        let mut info = Info {
            sid: ids::room(),
            name: self.name.clone(),
            empty_timeout: seconds(config.empty_timeout),
            departure_timeout: seconds(config.departure_timeout),
            creation_time: now_ms / 1000,
            creation_time_ms: now_ms,
            turn_password: ids::password(),
            enabled_codecs: CODECS.iter().map(|mime| codec(mime)).collect(),
            ..Info::default()
        };
        self.overwrite(&mut info);
        info
    }

    /// A room that asks for no agent wants any that has no name.
    pub(super) fn dispatches(&self, now_ms: i64) -> Vec<AgentDispatch> {
        let any = [RoomAgentDispatch::default()];
        let wanted = if self.agents.is_empty() { any.as_slice() } else { self.agents.as_slice() };
        wanted.iter().map(|wanted| agents::of_room(&self.name, wanted.clone(), now_ms)).collect()
    }

    /// What is asked for counts, for a room that exists too.
    pub(super) fn overwrite(&self, info: &mut Info) {
        for (field, wanted) in [
            (&mut info.empty_timeout, self.empty_timeout),
            (&mut info.departure_timeout, self.departure_timeout),
            (&mut info.max_participants, self.max_participants),
        ] {
            if wanted != 0 {
                *field = wanted;
            }
        }
        if !self.metadata.is_empty() {
            info.metadata.clone_from(&self.metadata);
        }
    }

    /// What a joining token asks for when its room does not exist.
    pub(crate) fn from_token(name: &str, config: Option<&RoomConfiguration>) -> Self {
        let config = config.cloned().unwrap_or_default();
        Self {
            name: name.to_owned(),
            empty_timeout: config.empty_timeout,
            departure_timeout: config.departure_timeout,
            max_participants: config.max_participants,
            metadata: config.metadata,
            agents: config.agents,
        }
    }
}

fn codec(mime: &str) -> Codec {
    Codec { mime: mime.to_owned(), fmtp_line: String::new() }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}
