//! One room: its snapshot, who is in it, and when it is over.

mod spec;

use std::collections::BTreeMap;

use livekit_protocol::{
    AgentDispatch, DisconnectReason, Room as Info, SendDataRequest, participant_info::State,
};

pub(crate) use self::spec::RoomSpec;
use super::{
    event::{Event, EventKind},
    notice::{Changed, Effect, Notice},
    numbers::{Counts, Numbers},
    occupant::Occupant,
};
use crate::config::Config;

/// A participant that has not become active this long after joining is removed.
const JOIN_TIMEOUT_S: i64 = 60;

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
    /// The agents that the room wants.
    pub dispatches: Vec<AgentDispatch>,
    numbers: Numbers,
    first_joined_at: Option<i64>,
    last_left_at: Option<i64>,
}

impl Room {
    pub(crate) fn new(spec: &RoomSpec, config: &Config, now_ms: i64) -> Self {
        Self {
            dispatches: spec.dispatches(now_ms),
            numbers: Numbers::new(config.numbers_lag, now_ms),
            ..Self::around(spec.info(config, now_ms))
        }
    }

    /// A live object around a snapshot: it knows no participants, whatever its predecessor knew.
    pub(crate) fn around(info: Info) -> Self {
        Self {
            info,
            host: Host::Live,
            row: Row::Current,
            occupants: BTreeMap::new(),
            doomed: false,
            data: Vec::new(),
            dispatches: Vec::new(),
            numbers: Numbers::default(),
            first_joined_at: None,
            last_left_at: None,
        }
    }

    /// A deleted room that came back by mistake.
    pub(crate) fn doomed(info: Info) -> Self {
        Self { doomed: true, ..Self::around(info) }
    }

    /// Makes a room live again that only the store remembers. Its age counts on, its stale participants stay listed, and so do the
    /// counts of before until one of them changes.
    pub(crate) fn revive(&mut self, spec: &RoomSpec) {
        let occupants = std::mem::take(&mut self.occupants);
        let dispatches = std::mem::take(&mut self.dispatches);
        let mut row = self.listed();
        let numbers = self.numbers.again();
        *self = Self { occupants, dispatches, numbers, ..Self::around(self.info.clone()) };
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
        self.numbers.touch(self.counts());
    }

    /// Refreshes the counts at once.
    pub(crate) fn count_now(&mut self) {
        self.numbers.refresh_now(self.counts());
    }

    pub(crate) fn tick_numbers(&mut self, now_ms: i64) {
        self.numbers.tick(self.counts(), now_ms);
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

    /// The room as it is shown: its counts are those of the last refresh.
    pub(crate) fn snapshot(&self) -> Info {
        self.with(self.numbers.shown(self.counts()))
    }

    /// The room as it is.
    fn current(&self) -> Info {
        self.with(self.counts())
    }

    fn with(&self, counts: Counts) -> Info {
        Info {
            num_participants: counts.participants,
            num_publishers: counts.publishers,
            active_recording: self.recorders().next().is_some(),
            ..self.info.clone()
        }
    }

    fn recorders(&self) -> impl Iterator<Item = &Occupant> {
        self.occupants.values().filter(|occupant| occupant.connected && occupant.records())
    }

    /// What a participant who has just entered is shown: the room as it was before.
    pub(crate) fn shown_to(&self, identity: &str) -> Info {
        let mut others = self.recorders().filter(|occupant| occupant.info.identity != identity);
        Info { active_recording: others.next().is_some(), ..self.snapshot() }
    }

    fn counts(&self) -> Counts {
        let connected = || self.occupants.values().filter(|occupant| occupant.connected);
        Counts {
            participants: count(connected().filter(|occupant| !occupant.dependent)),
            publishers: count(connected().filter(|occupant| occupant.info.is_publisher)),
        }
    }

    pub(crate) fn event(&self, kind: EventKind) -> Event {
        Event::about_room(kind, self.snapshot())
    }

    /// Dependent participants neither need nor take a place.
    pub(crate) fn is_full(&self) -> bool {
        let info = self.current();
        info.max_participants > 0 && info.num_participants >= info.max_participants
    }

    pub(crate) fn connected(&self, identity: &str) -> Option<&Occupant> {
        self.occupants.get(identity).filter(|occupant| self.is_live() && occupant.connected)
    }

    pub(crate) fn connected_mut(&mut self, identity: &str) -> Option<&mut Occupant> {
        let live = self.is_live();
        self.occupants.get_mut(identity).filter(|occupant| live && occupant.connected)
    }

    /// A version counts each change: it is 0 in what the participant hears first, and 1 from now on.
    pub(crate) fn enter(&mut self, mut occupant: Occupant, now_s: i64) {
        if !occupant.dependent {
            self.first_joined_at.get_or_insert(now_s);
        }
        occupant.touch();
        let records = occupant.records();
        self.occupants.insert(occupant.info.identity.clone(), occupant);
        self.store();
        if records {
            self.count_now();
        }
    }

    /// Ends one session: its tracks first, then the participant, who never arrived if they were not active.
    pub(crate) fn leave(&mut self, identity: &str, reason: DisconnectReason, now_s: i64) -> Vec<Effect> {
        let Some(occupant) = self.connected(identity).cloned() else {
            return Vec::new();
        };
        self.occupants.remove(identity);
        if !occupant.dependent {
            self.last_left_at = Some(now_s);
        }
        self.store();
        if occupant.records() {
            self.count_now();
        }
        let room = self.snapshot();
        let mut effects: Vec<Effect> = Vec::new();
        for track in &occupant.info.tracks {
            let kind = EventKind::TrackUnpublished;
            effects.push(Event::about_track(kind, room.clone(), &occupant.info, track.clone()).into());
        }
        let kind = if occupant.is_active() {
            EventKind::ParticipantLeft
        } else {
            EventKind::ParticipantConnectionAborted
        };
        // The late close of an older session must not get lost with this one.
        effects.extend(occupant.late_close.iter().cloned());
        let published = occupant.info.is_publisher;
        let farewell = occupant.farewell(reason);
        effects.push(Event::about_participant(kind, room, farewell.clone()).into());
        effects.push(self.changed(false));
        let room = self.info.sid.clone();
        effects.push(Notice::Left { room, info: Box::new(farewell), published }.into());
        effects
    }

    /// Clients see the room's new counts some time later, and a change of its metadata at once.
    pub(crate) fn changed(&self, at_once: bool) -> Effect {
        Notice::RoomChanged { info: Box::new(self.current()), at_once }.into()
    }

    /// Clients see this participant as they are now.
    pub(crate) fn updated(&self, identity: &str, changed: Changed) -> Option<Effect> {
        let info = Box::new(self.connected(identity)?.info.clone());
        Some(Notice::Updated { room: self.info.sid.clone(), info, changed }.into())
    }

    pub(crate) fn close(&mut self, reason: DisconnectReason, now_s: i64) -> Vec<Effect> {
        let identities: Vec<String> = self.occupants.keys().cloned().collect();
        let mut effects: Vec<Effect> =
            identities.iter().flat_map(|identity| self.leave(identity, reason, now_s)).collect();
        effects.push(self.event(EventKind::RoomFinished).into());
        effects
    }

    pub(crate) fn remove_stalled_joins(&mut self, now_s: i64) -> Vec<Effect> {
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

    /// Whole seconds, compared with `>=`. Only a room that a participant has left counts from that moment.
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

fn count<'a>(occupants: impl Iterator<Item = &'a Occupant>) -> u32 {
    u32::try_from(occupants.count()).unwrap_or(u32::MAX)
}
