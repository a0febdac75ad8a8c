//! The rooms of one server. Every transition is a plain function of the state and a time; it returns what
//! happened and leaves events and notices to the caller.

pub(crate) mod egress;
pub(crate) mod event;
pub(crate) mod notice;
mod numbers;
pub(crate) mod occupant;
pub(crate) mod participants;
mod restart;
pub(crate) mod room;
mod tracks;

use std::collections::{BTreeMap, HashMap};

use livekit_protocol::{DisconnectReason, Room as RoomInfo};

use self::{
    egress::Egress,
    event::EventKind,
    notice::Effect,
    restart::Nodes,
    room::{Host, Room, RoomSpec},
};
use crate::config::{Config, Switches};

#[derive(Debug, Default)]
pub(crate) struct World {
    pub rooms: BTreeMap<String, Room>,
    pub switches: Switches,
    /// Recordings by id, ended ones for a day.
    pub egresses: BTreeMap<String, Egress>,
    /// Rooms that a stale re-create would bring back.
    deleted: HashMap<String, RoomInfo>,
    nodes: Nodes,
}

/// Why a room was not created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CreateError {
    /// A dead node was asked.
    NoAnswer,
    /// The store has no node at all.
    NoNodes,
}

/// Why a room could not be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DeleteError {
    Absent,
    /// The store lists it, and its node was killed: no answer comes.
    NoAnswer,
    /// The store lists it, and does not know its node.
    NoNode,
}

impl World {
    /// As the API creates a room: first a node is looked for.
    pub(crate) fn create_room(
        &mut self,
        spec: &RoomSpec,
        config: &Config,
        now_ms: i64,
    ) -> (Result<RoomInfo, CreateError>, Vec<Effect>) {
        if let Err(error) = self.find_node(&spec.name, config, now_ms) {
            return (Err(error), Vec::new());
        }
        let (info, events) = self.ensure_room(spec, config, now_ms);
        (Ok(info), events)
    }

    /// Returns the live room as it is, makes a remembered one live again, or makes a new one. A live room that the store
    /// has lost is not written there: only a change of its participants does that.
    fn ensure_room(&mut self, spec: &RoomSpec, config: &Config, now_ms: i64) -> (RoomInfo, Vec<Effect>) {
        if let Some(room) = self.rooms.get_mut(&spec.name) {
            if room.is_live() {
                return (room.snapshot(), Vec::new());
            }
            room.revive(spec);
            return (room.snapshot(), vec![room.event(EventKind::RoomStarted).into()]);
        }
        let room = match self.deleted.remove(&spec.name) {
            Some(stale) => Room::doomed(stale),
            None => Room::new(spec, config, now_ms),
        };
        // A stale room never went away as far as its node knows, so it does not start.
        let events = if room.doomed { Vec::new() } else { vec![room.event(EventKind::RoomStarted).into()] };
        let info = room.snapshot();
        self.rooms.insert(spec.name.clone(), room);
        (info, events)
    }

    /// All rooms in the store, or those of them with these names.
    pub(crate) fn list_rooms(&self, names: &[String]) -> Vec<RoomInfo> {
        let wanted = |room: &&Room| names.is_empty() || names.contains(&room.info.name);
        self.rooms.values().filter(wanted).filter_map(Room::listed).collect()
    }

    /// Those that this node holds.
    pub(crate) fn living_rooms(&self) -> Vec<RoomInfo> {
        self.rooms.values().filter(|room| room.is_live()).map(Room::snapshot).collect()
    }

    pub(crate) fn delete_room(&mut self, name: &str, now_s: i64) -> Result<Vec<Effect>, DeleteError> {
        let room = self.rooms.get_mut(name).filter(|room| room.is_listed()).ok_or(DeleteError::Absent)?;
        match room.host {
            Host::Live => {}
            Host::Crashed { .. } => return Err(DeleteError::NoAnswer),
            Host::Stopped => return Err(DeleteError::NoNode),
        }
        // Closed before it is removed: its events need the room.
        let events = room.close(DisconnectReason::RoomDeleted, now_s);
        let info = room.info.clone();
        self.rooms.remove(name);
        if self.switches.stale_recreate {
            self.deleted.insert(name.to_owned(), info);
        }
        Ok(events)
    }

    /// What the server does once a second.
    pub(crate) fn tick(&mut self, now_s: i64) -> Vec<Effect> {
        let mut events = Vec::new();
        for room in self.rooms.values_mut().filter(|room| room.is_live()) {
            events.extend(room.remove_stalled_joins(now_s));
            room.tick_numbers(now_s * 1000);
        }
        let is_over = |_: &String, room: &mut Room| room.is_live() && room.is_over(now_s);
        // Taken out first, because closing needs the room and sends its events.
        for (_, mut room) in self.rooms.extract_if(.., is_over) {
            events.extend(room.close(DisconnectReason::RoomClosed, now_s));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use livekit_protocol::{ClientInfo, ParticipantPermission, participant_info::Kind};

    use super::{World, participants::Admission, room::RoomSpec};
    use crate::Config;

    fn admission(may_create: bool) -> Admission {
        Admission {
            room: RoomSpec::from_token("a", None),
            may_create,
            identity: "ann".to_owned(),
            name: String::new(),
            metadata: String::new(),
            attributes: HashMap::new(),
            kind: Kind::Standard,
            permission: ParticipantPermission::default(),
            dependent: false,
            client: ClientInfo::default(),
        }
    }

    /// The room was deleted after the token was checked.
    #[test]
    fn resume_creates_a_room_only_when_its_token_may() {
        let config = Config::new("key", "secret");
        for may_create in [false, true] {
            let mut world = World::default();
            let (found, effects) = world.resume(&admission(may_create), &config, 0);
            assert_eq!(found, None);
            let made = (effects.is_empty(), world.rooms.contains_key("a"));
            assert_eq!(made, (!may_create, may_create));
        }
    }
}
