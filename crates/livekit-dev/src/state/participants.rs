//! What participants do to the rooms, and what the API does to participants.

use std::collections::HashMap;

use livekit_protocol::{
    ClientInfo, DisconnectReason, ParticipantInfo, ParticipantPermission, UpdateParticipantRequest,
    participant_info::{Kind, State},
};

use super::{
    CreateError, World,
    event::{Event, EventKind},
    notice::{Changed, Effect, Notice},
    occupant::Occupant,
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
    /// What a real client says about itself.
    pub client: ClientInfo,
}

/// One session of one participant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Session {
    /// The room's name.
    pub room: String,
    pub identity: String,
    pub sid: String,
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

    /// The participant is signalling, and no event says so yet. A refusal may still have other effects:
    /// the room was made for them, or their older session is over.
    pub(crate) fn admit(
        &mut self,
        admission: Admission,
        config: &Config,
        now_ms: i64,
    ) -> (Result<ParticipantInfo, AdmitError>, Vec<Effect>) {
        if !self.would_find_room(&admission, config) {
            return (Err(AdmitError::RoomAbsent), Vec::new());
        }
        if let Err(error) = self.find_node(&admission.room.name, config, now_ms) {
            return (Err(AdmitError::NoNode(error)), Vec::new());
        }
        let (info, mut effects) = self.ensure_room(&admission.room, config, now_ms);
        let late = self.switches.late_duplicate_close;
        let Some(room) = self.rooms.get_mut(&info.name) else {
            return (Err(AdmitError::RoomAbsent), effects);
        };
        let closed = room.leave(&admission.identity, DisconnectReason::DuplicateIdentity, now_ms / 1000);
        if !admission.dependent && room.is_full() {
            effects.extend(closed);
            // Participants inside see the end of a session whose start they did not see.
            let farewell = occupant(admission, now_ms).farewell(DisconnectReason::JoinFailure);
            let (room, info) = (room.info.sid.clone(), Box::new(farewell));
            effects.push(Notice::Left { room, info, published: true }.into());
            return (Err(AdmitError::RoomFull), effects);
        }
        let mut occupant = occupant(admission, now_ms);
        if late {
            // The old client is disconnected now; only the webhooks are late.
            let (late, notices) = closed.into_iter().partition(Effect::is_webhook);
            occupant.late_close = late;
            effects.extend::<Vec<Effect>>(notices);
        } else {
            effects.extend(closed);
        }
        let participant = occupant.info.clone();
        room.enter(occupant, now_ms / 1000);
        effects.extend(room.updated(&participant.identity, Changed::Presence));
        effects.push(room.changed(false));
        (Ok(participant), effects)
    }

    /// Media flows: this is when the others and the webhooks learn of them.
    pub(crate) fn activate(&mut self, room: &str, identity: &str) -> Option<(ParticipantInfo, Vec<Effect>)> {
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
        let joined = Event::about_participant(joined, room.snapshot(), participant.clone());
        let mut effects = vec![joined.into()];
        effects.extend(late_close);
        effects.extend(room.updated(identity, Changed::Presence));
        effects.push(room.changed(false));
        Some((participant, effects))
    }

    /// Nothing happens (and no event is sent) if they are not connected.
    pub(crate) fn leave(
        &mut self,
        room: &str,
        identity: &str,
        reason: DisconnectReason,
        now_s: i64,
    ) -> Vec<Effect> {
        self.rooms.get_mut(room).map(|room| room.leave(identity, reason, now_s)).unwrap_or_default()
    }

    /// Another node takes over: tracks do not end with the session.
    pub(crate) fn drop_out(
        &mut self,
        session: &Session,
        reason: DisconnectReason,
        now_s: i64,
    ) -> Vec<Effect> {
        let Some(room) = self.session_room(session) else { return Vec::new() };
        if let Some(occupant) = room.connected_mut(&session.identity) {
            occupant.info.tracks.clear();
        }
        room.leave(&session.identity, reason, now_s)
    }

    /// The rows of the store: all that are listed, connected or not.
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

    /// The session of a client that comes back. A room that its token may create is created; any other one may have
    /// gone since the token was checked.
    pub(crate) fn resume(
        &mut self,
        admission: &Admission,
        config: &Config,
        now_ms: i64,
    ) -> (Option<String>, Vec<Effect>) {
        if !self.would_find_room(admission, config) {
            return (None, Vec::new());
        }
        let name = &admission.room.name;
        let mut effects = Vec::new();
        if self.find_node(name, config, now_ms).is_ok() {
            effects = self.ensure_room(&admission.room, config, now_ms).1;
        }
        let occupant = self.rooms.get(name).and_then(|room| room.connected(&admission.identity));
        (occupant.map(|occupant| occupant.info.sid.clone()), effects)
    }

    /// All in the room but this session and those who are hidden.
    pub(crate) fn visible_participants(&self, session: &Session) -> Vec<ParticipantInfo> {
        let hidden =
            |info: &ParticipantInfo| info.permission.as_ref().is_some_and(|permission| permission.hidden);
        let mut participants = self.connected_participants(&session.room);
        participants.retain(|info| info.sid != session.sid && !hidden(info));
        participants
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

    /// By the API.
    pub(crate) fn update_participant(
        &mut self,
        request: UpdateParticipantRequest,
    ) -> Option<(ParticipantInfo, Vec<Effect>)> {
        let UpdateParticipantRequest { room, identity, name, metadata, attributes, permission, .. } = request;
        let room = self.rooms.get_mut(&room)?;
        room.connected(&identity)?;
        let update = ClaimsUpdate { name, metadata, attributes, permission };
        let effects = room.update_claims(&identity, update);
        let participant = room.connected(&identity)?.info.clone();
        Some((participant, effects))
    }

    /// By the participant's own client.
    pub(crate) fn update_claims(&mut self, session: &Session, update: ClaimsUpdate) -> Vec<Effect> {
        let room = self.session_room(session);
        room.map(|room| room.update_claims(&session.identity, update)).unwrap_or_default()
    }
}

/// What a participant is to be from now on. Empty fields change nothing, an empty attribute is deleted, and a permission
/// replaces the whole set.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClaimsUpdate {
    pub name: String,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
    pub permission: Option<ParticipantPermission>,
}

impl Room {
    /// Each field that changes is an update of its own. Attributes always count as a change.
    fn update_claims(&mut self, identity: &str, update: ClaimsUpdate) -> Vec<Effect> {
        let ClaimsUpdate { name, metadata, attributes, permission } = update;
        let mut effects = Vec::new();
        self.change_claims(identity, &mut effects, |occupant| replace(&mut occupant.info.name, name));
        self.change_claims(identity, &mut effects, |occupant| replace(&mut occupant.info.metadata, metadata));
        self.change_claims(identity, &mut effects, |occupant| occupant.merge_attributes(attributes));
        if let Some(permission) = permission {
            self.change_permission(identity, &mut effects, permission);
        }
        effects
    }

    fn change_claims(
        &mut self,
        identity: &str,
        effects: &mut Vec<Effect>,
        change: impl FnOnce(&mut Occupant) -> bool,
    ) {
        let Some(occupant) = self.connected_mut(identity) else { return };
        if change(occupant) {
            occupant.touch();
            self.store();
            effects.extend(self.updated(identity, Changed::Claims));
        }
    }

    /// Takes away the tracks that are no longer allowed.
    fn change_permission(
        &mut self,
        identity: &str,
        effects: &mut Vec<Effect>,
        permission: ParticipantPermission,
    ) {
        let Some(occupant) = self.connected_mut(identity) else { return };
        // The same permission again is no change, and sends nothing.
        if occupant.info.permission.as_ref() == Some(&permission) {
            return;
        }
        let revoked = occupant.set_permission(permission);
        if revoked.is_empty() {
            occupant.touch();
        }
        for track in revoked {
            self.revoke(identity, &track.sid, effects);
        }
        if let Some(occupant) = self.connected_mut(identity) {
            occupant.count_as_publisher();
        }
        self.store();
        effects.extend(self.updated(identity, Changed::Claims));
        effects.push(self.changed(false));
    }

    /// An update for each track, and the order to its publisher.
    fn revoke(&mut self, identity: &str, track_sid: &str, effects: &mut Vec<Effect>) {
        let Some(occupant) = self.connected_mut(identity) else { return };
        let Some(track) = occupant.unpublish(track_sid) else { return };
        let participant = occupant.info.clone();
        let (room, kind) = (self.snapshot(), EventKind::TrackUnpublished);
        effects.push(Event::about_track(kind, room, &participant, track).into());
        effects.extend(self.updated(identity, Changed::Tracks));
        let revoked = Notice::Revoked { participant: participant.sid, track: track_sid.to_owned() };
        effects.push(revoked.into());
    }
}

/// An empty value changes nothing.
fn replace(field: &mut String, value: String) -> bool {
    let changes = !value.is_empty() && *field != value;
    if changes {
        *field = value;
    }
    changes
}

pub(super) fn occupant(admission: Admission, now_ms: i64) -> Occupant {
    let info = ParticipantInfo {
        client_protocol: admission.client.client_protocol,
        capabilities: admission.client.capabilities,
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
