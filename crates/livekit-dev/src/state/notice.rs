//! What changed for connected clients. The world makes notices together with the webhook events of the same change,
//! and the media engine turns them into messages, in this order.

use livekit_protocol::{ParticipantInfo, Room, SendDataRequest};

use super::event::Event;

/// A consequence of one change.
#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Webhook(Box<Event>),
    Notice(Notice),
}

impl From<Event> for Effect {
    fn from(event: Event) -> Self {
        Self::Webhook(Box::new(event))
    }
}

impl From<Notice> for Effect {
    fn from(notice: Notice) -> Self {
        Self::Notice(notice)
    }
}

impl Effect {
    pub(crate) fn is_webhook(&self) -> bool {
        matches!(self, Self::Webhook(_))
    }
}

/// Which part of a participant changed; this decides how soon clients see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Changed {
    /// The participant joined or became active: announced in batches.
    Presence,
    /// A track was published, changed or removed: announced at once.
    Tracks,
    /// Name, metadata, attributes or permission: announced at once, and the token of the client is refreshed.
    Claims,
}

/// A participant of a room, by their SIDs.
#[derive(Clone, Debug)]
pub(crate) enum Notice {
    Updated {
        room: String,
        info: Box<ParticipantInfo>,
        changed: Changed,
    },
    /// `info` is the last snapshot, with the reason. The leave of one who published is announced at once.
    Left {
        room: String,
        info: Box<ParticipantInfo>,
        published: bool,
    },
    /// The server mutes a track: its publisher must stop sending.
    Muted {
        participant: String,
        track: String,
        muted: bool,
    },
    /// The server removes a track: its publisher must stop sending.
    Revoked {
        participant: String,
        track: String,
    },
    /// A count changed, or the metadata (`at_once`).
    RoomChanged {
        info: Box<Room>,
        at_once: bool,
    },
    /// Data from the API.
    Data {
        room: String,
        request: Box<SendDataRequest>,
    },
    /// The API subscribes a participant to tracks, or unsubscribes them.
    Subscriptions {
        participant: String,
        tracks: Vec<String>,
        subscribe: bool,
    },
}
