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

/// Which node the store names for a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    /// This one.
    Live,
    /// One that was killed. The store still has it, and it answers nothing.
    Crashed { at_s: i64 },
    /// One that the store does not have any more.
    Stopped,
}

/// What the store has of a room.
#[derive(Clone, Debug)]
enum Row {
    /// The room as it is.
    Current,
    /// The room as it was when it was last written: the counts are those before a restart.
    Stale(Box<Info>),
    /// Nothing: the store has lost it.
    Lost,
}

#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub info: Info,
    pub host: Host,
    row: Row,
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
    /// What is asked for counts, for a room that exists too.
    fn overwrite(&self, info: &mut Info) {
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
        spec.overwrite(&mut room.info);
        room
    }

    /// A live object around a snapshot: it knows nobody, whatever its predecessor knew.
    pub(crate) fn around(info: Info) -> Self {
        Self {
            info,
            host: Host::Live,
            row: Row::Current,
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

    /// Makes a room live again that only the store remembers. Its age counts on, its ghosts stay listed, and so do the
    /// counts of before until one of them changes.
    pub(crate) fn revive(&mut self, spec: &RoomSpec) {
        let occupants = std::mem::take(&mut self.occupants);
        let mut row = self.listed();
        *self = Self { occupants, ..Self::around(self.info.clone()) };
        spec.overwrite(&mut self.info);
        if let Some(row) = &mut row {
            spec.overwrite(row);
        }
        self.row = row.map_or(Row::Current, |row| Row::Stale(Box::new(row)));
    }

    /// The node is gone: only what the store has is left of the room and of its participants.
    pub(crate) fn abandon(&mut self, host: Host) {
        self.row = self.listed().map_or(Row::Lost, |row| Row::Stale(Box::new(row)));
        self.host = host;
        self.occupants.retain(|_, occupant| occupant.listed);
        for occupant in self.occupants.values_mut() {
            occupant.connected = false;
            occupant.late_close.clear();
        }
    }

    /// The store loses the room and its participants. Stale participants are gone.
    pub(crate) fn lose(&mut self) {
        self.row = Row::Lost;
        self.occupants.retain(|_, occupant| occupant.connected);
        for occupant in self.occupants.values_mut() {
            occupant.listed = false;
        }
    }

    /// The node writes the room as it is.
    pub(crate) fn store(&mut self) {
        self.row = Row::Current;
    }

    pub(crate) fn is_live(&self) -> bool {
        self.host == Host::Live
    }

    /// Whether a participant is connected.
    pub(crate) fn is_occupied(&self) -> bool {
        self.is_live() && self.occupants.values().any(|occupant| occupant.connected)
    }

    pub(crate) fn is_listed(&self) -> bool {
        !matches!(self.row, Row::Lost)
    }

    /// What the store has.
    pub(crate) fn listed(&self) -> Option<Info> {
        match &self.row {
            Row::Current => Some(self.snapshot()),
            Row::Stale(row) => Some(row.as_ref().clone()),
            Row::Lost => None,
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
        self.occupants.get(identity).filter(|occupant| self.is_live() && occupant.connected)
    }

    pub(crate) fn connected_mut(&mut self, identity: &str) -> Option<&mut Occupant> {
        let live = self.is_live();
        self.occupants.get_mut(identity).filter(|occupant| live && occupant.connected)
    }

    pub(crate) fn enter(&mut self, occupant: Occupant, now_s: i64) {
        if !occupant.dependent {
            self.first_joined_at.get_or_insert(now_s);
        }
        self.store();
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
        self.store();
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
