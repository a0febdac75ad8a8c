//! One participant with a client: its socket, its peer connections, what it publishes and what it receives.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};

use livekit_protocol::{
    AddTrackRequest, ParticipantInfo, ParticipantPermission, SubscriptionPermission, TrackInfo,
    participant_info::State, signal_response::Message,
};
use str0m::{
    change::SdpPendingOffer,
    format::Codec,
    media::{MediaKind, Mid, Rid},
};

use super::{Frame, Outgoing, layers::Wanted, peer::Peer, speakers::Loudness};
use crate::{grants::Claims, state::participants::Session};

/// How many ends are kept for a client without a socket.
const MISSED_ENDS: usize = 256;

/// The SID of a participant with a client.
pub(super) type Sid = Arc<str>;

/// Which of a client's connections. A client with one has only the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    /// The client offers.
    Publisher,
    /// The server offers.
    Subscriber,
}

pub(super) struct Client {
    pub session: Session,
    pub room: String,
    /// As the world had it at its latest notice.
    pub info: ParticipantInfo,
    pub claims: Claims,
    /// None: the socket is gone, and the client may come back.
    pub outgoing: Option<Outgoing>,
    /// The number of the latest socket.
    pub connection: u64,
    pub auto_subscribe: bool,
    pub publisher: Peer,
    pub subscriber: Option<Peer>,
    /// Which connection makes the participant active.
    pub primary: Side,
    pub active: bool,
    /// Asked for with `add_track`, and not in an offer yet.
    pub pending: Vec<Pending>,
    pub published: Vec<Published>,
    /// Sections that the client sends on, with the name of the latest track that they brought. It may be gone.
    pub carried: BTreeMap<Mid, String>,
    /// By the SID of the track.
    pub subscriptions: BTreeMap<String, Subscription>,
    /// Tracks that the client knows it may subscribe to. Those stay that it loses for lack of its own permission.
    pub allowed_told: BTreeSet<String>,
    /// Tracks of the room that the client or the API asked for (true) or did not want (false). They outlast changes
    /// of permissions.
    pub choices: BTreeMap<String, bool>,
    /// Who may subscribe to this client's tracks.
    pub allows: SubscriptionPermission,
    pub negotiation: Negotiation,
    /// The sequence of the latest reliable message.
    pub last_data: u32,
    pub quality_told: BTreeMap<String, i32>,
    pub speakers_told: BTreeMap<String, f64>,
    /// Participants who left while the socket was lost. The resume reports them.
    pub missed_ends: Vec<ParticipantInfo>,
    pub refresh_at: Instant,
    pub silent_since: Option<Instant>,
    pub faults: ClientFaults,
}

/// What a test asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClientFaults {
    pub silenced: bool,
    pub resume_refused: bool,
    pub quality: Option<i32>,
}

/// A track that was announced by the client and has not come yet.
pub(super) struct Pending {
    pub request: AddTrackRequest,
    pub info: TrackInfo,
    /// False: another one of the same name must come first.
    pub announced: bool,
}

pub(super) struct Published {
    pub info: TrackInfo,
    pub mid: Mid,
    pub kind: MediaKind,
    pub simulcast: bool,
    pub stage: Stage,
    /// The client sends it no longer, and the world hears of it then.
    pub gone_at: Option<Instant>,
    pub codec: Option<Codec>,
    pub layers: Vec<Layer>,
    pub subscribers: BTreeSet<Sid>,
    /// The publisher knows that it has subscribers.
    pub subscribed_told: bool,
    pub loudness: Loudness,
    pub dynacast: super::layers::Dynacast,
}

/// How far a published track is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its section is there, and its first packet is not.
    Expected,
    /// It is waited for no longer.
    There,
    /// The world and the room know of it.
    Announced,
    /// The participant may not publish it any more.
    Refused,
}

impl Published {
    pub(super) fn is_announced(&self) -> bool {
        self.stage == Stage::Announced
    }
}

/// The name of an encoding; a track that has only one has none for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding(pub Option<Rid>);

/// One encoding of a track that has arrived.
pub(super) struct Layer {
    pub rid: Option<Rid>,
    pub ssrc: u32,
    pub last_packet: Instant,
    pub keyframe_asked: Option<Instant>,
    /// Asked again, too soon.
    pub keyframe_wanted: bool,
}

pub(super) struct Subscription {
    pub publisher: Sid,
    pub kind: MediaKind,
    /// The section that carries it, once one does.
    pub mid: Option<Mid>,
    /// Offer and answer about its section have been exchanged.
    pub ready: bool,
    pub wanted: Wanted,
    /// The layer that is forwarded.
    pub current: Option<Encoding>,
}

/// The state of offers and answers.
#[derive(Default)]
pub(super) struct Negotiation {
    /// Sections must change, at this time.
    pub due: Option<Instant>,
    /// The server's offer that is not answered yet.
    pub offered: Option<Offered>,
    pub next_offer: u32,
    /// The first offer of the server has been made.
    pub started: bool,
    pub ice_restart: bool,
    /// Sections of tracks that are gone.
    pub stopped: Vec<Mid>,
    /// One connection: sections that the client receives on.
    pub free: BTreeMap<Mid, MediaKind>,
    /// One connection: sections that have carried a track.
    pub used: BTreeSet<Mid>,
    /// One connection: sections that were asked for and have not come yet.
    pub asked_audios: usize,
    pub asked_videos: usize,
}

/// An offer of the server. str0m forgets its sections if another offer is made before the answer.
pub(super) struct Offered {
    pub sdp: String,
    pub pending: SdpPendingOffer,
}

impl Negotiation {
    /// When the server has something to say. Not while its offer is open.
    pub(super) fn next(&self) -> Option<Instant> {
        self.due.filter(|_| self.offered.is_none())
    }
}

impl Client {
    pub(super) fn single(&self) -> bool {
        self.subscriber.is_none()
    }

    pub(super) fn peer(&mut self, side: Side) -> &mut Peer {
        match (side, &mut self.subscriber) {
            (Side::Subscriber, Some(peer)) => peer,
            _ => &mut self.publisher,
        }
    }

    /// One of its connections is over. It does not come up again.
    pub(super) fn has_failed(&self) -> bool {
        [Some(&self.publisher), self.subscriber.as_ref()]
            .into_iter()
            .flatten()
            .any(|peer| !peer.rtc.is_alive())
    }

    /// The connection on which the client receives.
    pub(super) fn receiving(&self) -> Side {
        if self.single() { Side::Publisher } else { Side::Subscriber }
    }

    pub(super) fn sides(&self) -> impl Iterator<Item = Side> + use<> {
        let second = (!self.single()).then_some(Side::Subscriber);
        [Side::Publisher].into_iter().chain(second)
    }

    pub(super) fn permission(&self) -> ParticipantPermission {
        self.info.permission.clone().unwrap_or_default()
    }

    pub(super) fn is_hidden(&self) -> bool {
        self.info.permission.as_ref().is_some_and(|permission| permission.hidden)
    }

    pub(super) fn may_subscribe(&self) -> bool {
        self.info.permission.as_ref().is_some_and(|permission| permission.can_subscribe)
    }

    /// A client that does not read its messages loses its socket, and may come back.
    pub(super) fn send(&mut self, message: Message) {
        if self.faults.silenced {
            return;
        }
        // Kept for the resume, which must report who left meanwhile.
        if self.outgoing.is_none() {
            self.note_ends(message);
            return;
        }
        let frame = Frame::Message(Box::new(message));
        let full = self.outgoing.as_ref().is_some_and(|outgoing| outgoing.send(frame).is_err());
        if full {
            tracing::debug!(identity = %self.session.identity, "dropped a client that does not read");
            self.outgoing = None;
        }
    }

    fn note_ends(&mut self, message: Message) {
        let Message::Update(update) = message else { return };
        let ended = |info: &ParticipantInfo| info.state() == State::Disconnected;
        // Bounded, because a client may stay away while many others come and go.
        let free = MISSED_ENDS.saturating_sub(self.missed_ends.len());
        self.missed_ends.extend(update.participants.into_iter().filter(ended).take(free));
    }

    /// Without a word.
    pub(super) fn cut(&mut self) {
        if let Some(outgoing) = self.outgoing.take() {
            // A client that does not read is closed with what waits for it.
            let _ = outgoing.send(Frame::Cut);
        }
    }

    /// Whether this client lets another one subscribe to its track.
    pub(super) fn allows(&self, subscriber: &ParticipantInfo, track: &str) -> bool {
        self.allows.all_participants
            || self.allows.track_permissions.iter().any(|permission| {
                // An empty identity would match every participant without one.
                let theirs = permission.participant_sid == subscriber.sid
                    || (!permission.participant_identity.is_empty()
                        && permission.participant_identity == subscriber.identity);
                theirs && (permission.all_tracks || permission.track_sids.iter().any(|sid| sid == track))
            })
    }

    /// Whether it subscribes to this track once it may.
    pub(super) fn wants(&self, track: &str) -> bool {
        self.choices.get(track).copied().unwrap_or(self.auto_subscribe)
    }

    pub(super) fn track(&mut self, sid: &str) -> Option<&mut Published> {
        self.published.iter_mut().find(|published| published.info.sid == sid)
    }

    /// The tracks that others can receive.
    pub(super) fn announced(&self) -> impl Iterator<Item = &Published> {
        self.published.iter().filter(|published| published.is_announced())
    }
}

/// Sections by track, as descriptions name them.
pub(super) fn mid_to_track(client: &Client) -> HashMap<String, String> {
    let carried = client
        .subscriptions
        .iter()
        .filter_map(|(track, subscription)| subscription.mid.map(|mid| (mid.to_string(), track.clone())));
    carried.collect()
}
