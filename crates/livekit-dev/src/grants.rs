//! The claims of an access token, and what they let a participant do. Unknown claims are ignored, as LiveKit does.

use std::collections::HashMap;

use livekit_protocol::{ParticipantPermission, RoomConfiguration, TrackSource, participant_info::Kind};
use serde::Deserialize;

/// A verified token.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Claims {
    pub iss: String,
    pub sub: String,
    pub jti: String,
    pub nbf: Option<i64>,
    pub exp: Option<i64>,
    pub name: String,
    pub kind: String,
    pub video: Option<VideoGrant>,
    pub sip: Option<SipGrant>,
    pub room_config: Option<RoomConfiguration>,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the shape of LiveKit's claims")]
pub(crate) struct VideoGrant {
    pub room_create: bool,
    pub room_list: bool,
    pub room_record: bool,
    pub room_admin: bool,
    pub room_join: bool,
    pub ingress_admin: bool,
    pub room: String,
    pub destination_room: String,
    pub can_publish: Option<bool>,
    pub can_subscribe: Option<bool>,
    pub can_publish_data: Option<bool>,
    pub can_publish_sources: Vec<String>,
    pub can_update_own_metadata: Option<bool>,
    pub can_subscribe_metrics: Option<bool>,
    pub can_manage_agent_session: Option<bool>,
    pub hidden: bool,
    pub recorder: bool,
    pub agent: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SipGrant {
    pub admin: bool,
    pub call: bool,
}

impl Claims {
    pub(crate) fn identity(&self) -> &str {
        if self.sub.is_empty() { &self.jti } else { &self.sub }
    }

    pub(crate) fn participant_kind(&self) -> Kind {
        Kind::from_str_name(&self.kind.to_uppercase()).unwrap_or(Kind::Standard)
    }
}

impl VideoGrant {
    /// A participant that does not keep a room open.
    pub(crate) fn is_dependent(&self, kind: Kind) -> bool {
        matches!(kind, Kind::Agent | Kind::Egress) || self.agent || self.recorder
    }

    #[expect(deprecated, reason = "servers still fill `recorder` and `agent`, and clients still read them")]
    pub(crate) fn permission(&self) -> ParticipantPermission {
        let can_publish = self.can_publish.unwrap_or(true);
        ParticipantPermission {
            // The defaults of LiveKit: absent means allowed, and data follows publishing.
            can_subscribe: self.can_subscribe.unwrap_or(true),
            can_publish,
            can_publish_data: self.can_publish_data.unwrap_or(can_publish),
            can_publish_sources: self.can_publish_sources.iter().map(|name| source(name) as i32).collect(),
            hidden: self.hidden,
            recorder: self.recorder,
            can_update_metadata: self.can_update_own_metadata.unwrap_or(false),
            agent: self.agent,
            can_subscribe_metrics: self.can_subscribe_metrics.unwrap_or(false),
            can_manage_agent_session: self.can_manage_agent_session.unwrap_or(false),
        }
    }
}

/// The names in `canPublishSources` are the enum's names in lower case.
fn source(name: &str) -> TrackSource {
    // An unknown source is kept as `unknown`, so that the list stays a restriction.
    TrackSource::from_str_name(&name.to_uppercase()).unwrap_or(TrackSource::Unknown)
}
