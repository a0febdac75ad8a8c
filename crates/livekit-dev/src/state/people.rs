//! What participants do to the rooms, and what the API does to participants.

use std::collections::HashMap;

use livekit_protocol::{
    DisconnectReason, ParticipantInfo, ParticipantPermission, TrackInfo, TrackSource,
    UpdateParticipantRequest,
    participant_info::{Kind, State},
};

use super::{
    CreateError, World,
    event::{Event, EventKind},
    occupant::{Occupant, PublishError},
    room::{Room, RoomSpec},
};
use crate::{config::Config, ids};

/// A participant whose token has been found good.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub room: RoomSpec,
    /// The token carries `roomCreate`, which makes a missing room whatever `auto_create` says.
    pub may_create: bool,
    pub identity: String,
    pub name: String,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
    pub kind: Kind,
    pub permission: ParticipantPermission,
    pub dependent: bool,
}

/// Why a join with a good token fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdmitError {
    RoomAbsent,
    RoomFull,
    NoNode(CreateError),
}

impl World {
    /// A room that only the store remembers is good enough.
    pub(crate) fn would_find_room(&self, admission: &Admission, config: &Config) -> bool {
        let listed = self.rooms.get(&admission.room.name).is_some_and(Room::is_listed);
        config.auto_create || admission.may_create || listed
    }

    /// The participant is signalling, and nobody is told of them yet. A refusal may still have told other things:
    /// the room was made for them, or their older session is over.
    pub(crate) fn admit(
        &mut self,
        admission: Admission,
        config: &Config,
        now_ms: i64,
    ) -> (Result<ParticipantInfo, AdmitError>, Vec<Event>) {
        if !self.would_find_room(&admission, config) {
            return (Err(AdmitError::RoomAbsent), Vec::new());
        }
        if let Err(error) = self.find_node(&admission.room.name, config, now_ms) {
            return (Err(AdmitError::NoNode(error)), Vec::new());
        }
        let (info, mut events) = self.ensure_room(&admission.room, config, now_ms);
        let late = self.switches.late_duplicate_close;
        let Some(room) = self.rooms.get_mut(&info.name) else {
            return (Err(AdmitError::RoomAbsent), events);
        };
        let closed = room.leave(&admission.identity, DisconnectReason::DuplicateIdentity, now_ms / 1000);
        if !admission.dependent && room.is_full() {
            events.extend(closed);
            return (Err(AdmitError::RoomFull), events);
        }
        let mut occupant = occupant(admission, now_ms);
        if late {
            occupant.late_close = closed;
        } else {
            events.extend(closed);
        }
        let participant = occupant.info.clone();
        room.enter(occupant, now_ms / 1000);
        (Ok(participant), events)
    }

    /// Media flows: this is when the others and the webhooks learn of them.
    pub(crate) fn activate(&mut self, room: &str, identity: &str) -> Option<(ParticipantInfo, Vec<Event>)> {
        let room = self.rooms.get_mut(room)?;
        let occupant = room.connected_mut(identity)?;
        if occupant.is_active() {
            return Some((occupant.info.clone(), Vec::new()));
        }
        occupant.info.state = State::Active as i32;
        occupant.touch();
        let late_close = std::mem::take(&mut occupant.late_close);
        if !late_close.is_empty() {
            // The row is keyed by identity, so the late close takes the new session's row away.
            occupant.listed = false;
        }
        let participant = occupant.info.clone();
        room.store();
        let joined = EventKind::ParticipantJoined;
        let mut events = vec![Event::about_participant(joined, room.snapshot(), participant.clone())];
        events.extend(late_close);
        Some((participant, events))
    }

    /// Nothing happens (and nothing is told) if they are not connected.
    pub(crate) fn leave(
        &mut self,
        room: &str,
        identity: &str,
        reason: DisconnectReason,
        now_s: i64,
    ) -> Vec<Event> {
        self.rooms.get_mut(room).map(|room| room.leave(identity, reason, now_s)).unwrap_or_default()
    }

    pub(crate) fn publish(
        &mut self,
        room: &str,
        identity: &str,
        source: TrackSource,
        name: &str,
    ) -> Result<(TrackInfo, Vec<Event>), PublishError> {
        let room = self.rooms.get_mut(room).ok_or(PublishError::Absent)?;
        let occupant = room.connected_mut(identity).ok_or(PublishError::Absent)?;
        let track = occupant.publish(source, name)?;
        let participant = occupant.info.clone();
        room.store();
        let kind = EventKind::TrackPublished;
        let event = Event::about_track(kind, room.snapshot(), &participant, track.clone());
        Ok((track, vec![event]))
    }

    pub(crate) fn unpublish(
        &mut self,
        room: &str,
        identity: &str,
        track_sid: &str,
    ) -> Option<(TrackInfo, Vec<Event>)> {
        let room = self.rooms.get_mut(room)?;
        let occupant = room.connected_mut(identity)?;
        let track = occupant.unpublish(track_sid)?;
        let participant = occupant.info.clone();
        room.store();
        let kind = EventKind::TrackUnpublished;
        let event = Event::about_track(kind, room.snapshot(), &participant, track.clone());
        Some((track, vec![event]))
    }

    /// The rows of the store: whoever is listed, connected or not.
    pub(crate) fn list_participants(&self, room: &str) -> Vec<ParticipantInfo> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        let listed = room.occupants.values().filter(|occupant| occupant.listed);
        listed.map(|occupant| occupant.info.clone()).collect()
    }

    pub(crate) fn connected_participants(&self, room: &str) -> Vec<ParticipantInfo> {
        let Some(room) = self.rooms.get(room) else {
            return Vec::new();
        };
        let connected = room.occupants.keys().filter_map(|identity| room.connected(identity));
        connected.map(|occupant| occupant.info.clone()).collect()
    }

    pub(crate) fn find_participant(&self, room: &str, identity: &str) -> Option<&ParticipantInfo> {
        let occupant = self.rooms.get(room)?.occupants.get(identity)?;
        occupant.listed.then_some(&occupant.info)
    }

    /// Whether a live participant would answer a call that is meant for them.
    pub(crate) fn is_connected(&self, room: &str, identity: &str) -> bool {
        self.rooms.get(room).is_some_and(|room| room.connected(identity).is_some())
    }

    /// Whether this very session is connected.
    pub(crate) fn is_session(&self, room: &str, identity: &str, sid: &str) -> bool {
        let occupant = self.rooms.get(room).and_then(|room| room.connected(identity));
        occupant.is_some_and(|occupant| occupant.info.sid == sid)
    }

    /// Empty name and metadata change nothing; a permission replaces the whole set.
    pub(crate) fn update_participant(
        &mut self,
        request: UpdateParticipantRequest,
    ) -> Option<(ParticipantInfo, Vec<Event>)> {
        let room = self.rooms.get_mut(&request.room)?;
        let occupant = room.connected_mut(&request.identity)?;
        if !request.name.is_empty() {
            occupant.info.name = request.name;
        }
        if !request.metadata.is_empty() {
            occupant.info.metadata = request.metadata;
        }
        occupant.merge_attributes(request.attributes);
        let revoked =
            request.permission.map(|permission| occupant.set_permission(permission)).unwrap_or_default();
        let participant = occupant.info.clone();
        room.store();
        let snapshot = room.snapshot();
        let kind = EventKind::TrackUnpublished;
        let unpublished = |track| Event::about_track(kind, snapshot.clone(), &participant, track);
        let events = revoked.into_iter().map(unpublished).collect();
        Some((participant, events))
    }
}

pub(super) fn occupant(admission: Admission, now_ms: i64) -> Occupant {
    let info = ParticipantInfo {
        sid: ids::participant(),
        identity: admission.identity,
        state: State::Joined as i32,
        name: admission.name,
        metadata: admission.metadata,
        attributes: admission.attributes,
        joined_at: now_ms / 1000,
        joined_at_ms: now_ms,
        permission: Some(admission.permission),
        kind: admission.kind as i32,
        ..ParticipantInfo::default()
    };
    Occupant { info, dependent: admission.dependent, connected: true, listed: true, late_close: Vec::new() }
}
