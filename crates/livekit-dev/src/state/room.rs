//! One room: its snapshot, who is in it, and when it is over.

use std::collections::BTreeMap;

use livekit_protocol::{
    Codec, CreateRoomRequest, DisconnectReason, Room as Info, RoomConfiguration, SendDataRequest,
    participant_info::{self, State},
};

use super::{
    event::{Event, EventKind},
    occupant::Occupant,
};
use crate::{config::Config, ids};

/// A participant that has not become active this long after joining is removed.
const JOIN_TIMEOUT_S: i64 = 60;

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

#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub info: Info,
    /// Whether this node holds the room, or only the store still lists it.
    pub live: bool,
    pub occupants: BTreeMap<String, Occupant>,
    /// Brought back by mistake: the next tick closes it.
    pub doomed: bool,
    /// What `SendData` delivered to this room.
    pub data: Vec<SendDataRequest>,
    first_joined_at: Option<i64>,
    last_left_at: Option<i64>,
}

/// What a new room is made from; 0 and empty mean the default.
#[derive(Clone, Debug, Default)]
pub(crate) struct RoomSpec {
    pub name: String,
    pub empty_timeout: u32,
    pub departure_timeout: u32,
    pub max_participants: u32,
    pub metadata: String,
}

impl From<&CreateRoomRequest> for RoomSpec {
    fn from(request: &CreateRoomRequest) -> Self {
        Self {
            name: request.name.clone(),
            empty_timeout: request.empty_timeout,
            departure_timeout: request.departure_timeout,
            max_participants: request.max_participants,
            metadata: request.metadata.clone(),
        }
    }
}

impl RoomSpec {
    /// What a joining token asks for when its room does not exist.
    pub(crate) fn from_token(name: &str, config: Option<&RoomConfiguration>) -> Self {
        let config = config.cloned().unwrap_or_default();
        Self {
            name: name.to_owned(),
            empty_timeout: config.empty_timeout,
            departure_timeout: config.departure_timeout,
            max_participants: config.max_participants,
            metadata: config.metadata,
        }
    }
}

impl Room {
    pub(crate) fn new(spec: &RoomSpec, config: &Config, now_ms: i64) -> Self {
        let info = Info {
            sid: ids::room(),
            name: spec.name.clone(),
            empty_timeout: seconds(config.empty_timeout),
            departure_timeout: seconds(config.departure_timeout),
            creation_time: now_ms / 1000,
            creation_time_ms: now_ms,
            turn_password: ids::password(),
            enabled_codecs: CODECS.iter().map(|mime| codec(mime)).collect(),
            ..Info::default()
        };
        let mut room = Self::around(info);
        room.overwrite(spec);
        room
    }

    /// A live object around a snapshot: it knows nobody, whatever its predecessor knew.
    pub(crate) fn around(info: Info) -> Self {
        Self {
            info,
            live: true,
            occupants: BTreeMap::new(),
            doomed: false,
            data: Vec::new(),
            first_joined_at: None,
            last_left_at: None,
        }
    }

    /// A deleted room that came back by mistake.
    pub(crate) fn doomed(info: Info) -> Self {
        Self { doomed: true, ..Self::around(info) }
    }

    /// Makes a room live again that only the store remembers. Its age counts on.
    pub(crate) fn revive(&mut self, spec: &RoomSpec) {
        let occupants = std::mem::take(&mut self.occupants);
        *self = Self { occupants, ..Self::around(self.info.clone()) };
        self.overwrite(spec);
    }

    fn overwrite(&mut self, spec: &RoomSpec) {
        let info = &mut self.info;
        for (field, wanted) in [
            (&mut info.empty_timeout, spec.empty_timeout),
            (&mut info.departure_timeout, spec.departure_timeout),
            (&mut info.max_participants, spec.max_participants),
        ] {
            if wanted != 0 {
                *field = wanted;
            }
        }
        if !spec.metadata.is_empty() {
            info.metadata.clone_from(&spec.metadata);
        }
    }

    pub(crate) fn snapshot(&self) -> Info {
        let present = || self.occupants.values().filter(|occupant| occupant.connected && !occupant.dependent);
        let publishers = present().filter(|occupant| occupant.info.is_publisher);
        let mut recorders = self.occupants.values().filter(|occupant| {
            occupant.connected && occupant.info.kind == participant_info::Kind::Egress as i32
        });
        Info {
            num_participants: count(present()),
            num_publishers: count(publishers),
            active_recording: recorders.next().is_some(),
            ..self.info.clone()
        }
    }

    pub(crate) fn event(&self, kind: EventKind) -> Event {
        Event::about_room(kind, self.snapshot())
    }

    /// Dependent participants neither need nor take a place.
    pub(crate) fn is_full(&self) -> bool {
        let info = self.snapshot();
        info.max_participants > 0 && info.num_participants >= info.max_participants
    }

    pub(crate) fn connected(&self, identity: &str) -> Option<&Occupant> {
        self.occupants.get(identity).filter(|occupant| self.live && occupant.connected)
    }

    pub(crate) fn connected_mut(&mut self, identity: &str) -> Option<&mut Occupant> {
        let live = self.live;
        self.occupants.get_mut(identity).filter(|occupant| live && occupant.connected)
    }

    pub(crate) fn enter(&mut self, occupant: Occupant, now_s: i64) {
        if !occupant.dependent {
            self.first_joined_at.get_or_insert(now_s);
        }
        self.occupants.insert(occupant.info.identity.clone(), occupant);
    }

    /// Ends one session: its tracks first, then the participant, who never arrived if they were not active.
    pub(crate) fn leave(&mut self, identity: &str, reason: DisconnectReason, now_s: i64) -> Vec<Event> {
        let Some(occupant) = self.connected(identity).cloned() else {
            return Vec::new();
        };
        self.occupants.remove(identity);
        if !occupant.dependent {
            self.last_left_at = Some(now_s);
        }
        let room = self.snapshot();
        let mut events: Vec<Event> = Vec::new();
        for track in &occupant.info.tracks {
            let kind = EventKind::TrackUnpublished;
            events.push(Event::about_track(kind, room.clone(), &occupant.info, track.clone()));
        }
        let kind = if occupant.is_active() {
            EventKind::ParticipantLeft
        } else {
            EventKind::ParticipantConnectionAborted
        };
        events.extend(occupant.late_close.iter().cloned());
        events.push(Event::about_participant(kind, room, occupant.farewell(reason)));
        events
    }

    pub(crate) fn close(&mut self, reason: DisconnectReason, now_s: i64) -> Vec<Event> {
        let identities: Vec<String> = self.occupants.keys().cloned().collect();
        let mut events: Vec<Event> =
            identities.iter().flat_map(|identity| self.leave(identity, reason, now_s)).collect();
        events.push(self.event(EventKind::RoomFinished));
        events
    }

    pub(crate) fn remove_stalled_joins(&mut self, now_s: i64) -> Vec<Event> {
        let stalled = |occupant: &&Occupant| {
            occupant.connected
                && occupant.info.state != State::Active as i32
                && now_s - occupant.info.joined_at >= JOIN_TIMEOUT_S
        };
        let identities: Vec<String> =
            self.occupants.values().filter(stalled).map(|occupant| occupant.info.identity.clone()).collect();
        let reason = DisconnectReason::JoinFailure;
        identities.iter().flat_map(|identity| self.leave(identity, reason, now_s)).collect()
    }

    /// Whole seconds, compared with `>=`. Only a room that somebody has left counts from that moment.
    pub(crate) fn is_over(&self, now_s: i64) -> bool {
        if self.doomed {
            return true;
        }
        if self.occupants.values().any(|occupant| occupant.connected && !occupant.dependent) {
            return false;
        }
        let (since, timeout) = match (self.first_joined_at, self.last_left_at) {
            (Some(_), Some(left)) => (left, self.info.departure_timeout),
            _ => (self.info.creation_time, self.info.empty_timeout),
        };
        now_s - since >= i64::from(timeout)
    }
}

fn codec(mime: &str) -> Codec {
    Codec { mime: mime.to_owned(), fmtp_line: String::new() }
}

fn seconds(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

fn count<'a>(occupants: impl Iterator<Item = &'a Occupant>) -> u32 {
    u32::try_from(occupants.count()).unwrap_or(u32::MAX)
}
