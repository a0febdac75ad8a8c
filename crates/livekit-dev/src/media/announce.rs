//! What the clients of a room hear of each other. Presence waits for the room's clock, everything else is said at once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use livekit_protocol::{
    DisconnectReason, ParticipantInfo, Room, RoomUpdate, leave_request::Action, signal_response::Message,
};

use super::engine::Engine;
use crate::{config::RtcConfig, signal::message, state::notice::Changed};

/// The clocks of one room with clients.
pub(super) struct RoomClock {
    presence: Duration,
    period: Duration,
    /// The latest of each participant, by identity, which is how clients know participants.
    waiting: BTreeMap<String, ParticipantInfo>,
    next_presence: Instant,
    changed: Option<Room>,
    recorded: bool,
    last_update: Instant,
    pub next_quality: Instant,
}

impl RoomClock {
    pub(super) fn new(config: &RtcConfig, now: Instant) -> Self {
        Self {
            presence: config.presence,
            period: config.room,
            waiting: BTreeMap::new(),
            next_presence: now + config.presence,
            changed: None,
            recorded: false,
            last_update: now,
            next_quality: now + config.room,
        }
    }

    /// Whether this is announced now; else it waits for the batch. A session takes the place of an older one with the
    /// same identity at once: in a batch the end of the older one would end both.
    fn push(&mut self, info: &ParticipantInfo, at_once: bool) -> bool {
        let older = self.waiting.remove(&info.identity).is_some_and(|waiting| waiting.sid != info.sid);
        let now = at_once || older;
        if !now {
            self.waiting.insert(info.identity.clone(), info.clone());
        }
        now
    }

    /// The end of this session is not announced.
    fn forget(&mut self, info: &ParticipantInfo) {
        if self.waiting.get(&info.identity).is_some_and(|waiting| waiting.sid == info.sid) {
            self.waiting.remove(&info.identity);
        }
    }

    fn presence_due(&mut self, now: Instant) -> Vec<ParticipantInfo> {
        if now < self.next_presence {
            return Vec::new();
        }
        self.next_presence = now + self.presence;
        std::mem::take(&mut self.waiting).into_values().collect()
    }

    fn update_due(&mut self, now: Instant) -> Option<Room> {
        if now < self.last_update + self.period {
            return None;
        }
        // Nothing has changed: `last_update` stays, so that the next change is said at once.
        let changed = self.changed.take()?;
        self.last_update = now;
        Some(changed)
    }

    pub(super) fn quality_due(&mut self, now: Instant) -> bool {
        let due = now >= self.next_quality;
        if due {
            self.next_quality = now + self.period;
        }
        due
    }
}

impl Engine {
    pub(super) fn participant_updated(&mut self, room: &str, info: &ParticipantInfo, changed: Changed) {
        // The world's view replaces the engine's, also where nothing is announced.
        if let Some(client) = self.clients.get_mut(info.sid.as_str()) {
            client.info = info.clone();
        }
        // Publishers are announced at once: others wait to receive them.
        self.announce(room, info, changed != Changed::Presence || info.is_publisher);
    }

    fn announce(&mut self, room: &str, info: &ParticipantInfo, at_once: bool) {
        if self.rooms.get_mut(room).is_some_and(|clock| clock.push(info, at_once)) {
            self.send_update(room, info);
        }
    }

    /// Leaves are not announced when a room ends, and a duplicate is replaced silently.
    pub(super) fn participant_left(&mut self, room: &str, info: &ParticipantInfo, published: bool) {
        let reason = info.disconnect_reason();
        self.close_client(&info.sid, reason);
        let silent = matches!(
            reason,
            DisconnectReason::DuplicateIdentity
                | DisconnectReason::RoomDeleted
                | DisconnectReason::RoomClosed
        );
        if !silent {
            self.announce(room, info, published);
            // Still waiting to be announced: then no client has heard of it, and its end is no news.
        } else if let Some(clock) = self.rooms.get_mut(room) {
            clock.forget(info);
        }
    }

    fn close_client(&mut self, sid: &str, reason: DisconnectReason) {
        let Some(mut client) = self.drop_client(sid) else { return };
        client.send(message::leave(reason, Action::Disconnect));
        let tracks: Vec<String> =
            client.published.iter().map(|published| published.info.sid.clone()).collect();
        self.forget_subscriber(sid, &client);
        for track in tracks {
            self.track_gone(&client.room, &track);
        }
        // The clock of a room lives as long as its clients.
        if self.members(&client.room).next().is_none() {
            self.rooms.remove(&client.room);
        }
    }

    /// To all clients of the room, their own included. Hidden participants are seen by themselves only.
    fn send_update(&mut self, room: &str, info: &ParticipantInfo) {
        let hidden = info.permission.as_ref().is_some_and(|permission| permission.hidden);
        let message = message::update(vec![info.clone()]);
        for client in self.clients.values_mut().filter(|client| client.room == room) {
            if !hidden || client.session.sid == info.sid {
                client.send(message.clone());
            }
        }
    }

    /// That a recording begins or ends is said at once.
    pub(super) fn room_changed(&mut self, info: Room, at_once: bool) {
        let Some(clock) = self.rooms.get_mut(&info.sid) else { return };
        let room = info.sid.clone();
        let recorded = std::mem::replace(&mut clock.recorded, info.active_recording);
        let at_once = at_once || recorded != info.active_recording;
        clock.changed = Some(info);
        let now = Instant::now();
        if at_once {
            // As if the last update were long ago.
            clock.last_update = now.checked_sub(clock.period).unwrap_or(clock.last_update);
        }
        self.announce_room(&room, now);
    }

    fn announce_room(&mut self, room: &str, now: Instant) {
        let due = self.rooms.get_mut(room).and_then(|clock| clock.update_due(now));
        if let Some(info) = due {
            let message = Message::RoomUpdate(RoomUpdate { room: Some(info) });
            for client in self.clients.values_mut().filter(|client| client.room == room) {
                client.send(message.clone());
            }
        }
    }

    /// What the clocks of the rooms say now.
    pub(super) fn announce_due(&mut self, now: Instant) {
        for room in self.rooms.keys().cloned().collect::<Vec<_>>() {
            self.announce_room(&room, now);
            let due = self.rooms.get_mut(&room).map(|clock| clock.presence_due(now)).unwrap_or_default();
            self.send_batch(&room, &due);
        }
    }

    fn send_batch(&mut self, room: &str, batch: &[ParticipantInfo]) {
        for client in self.clients.values_mut().filter(|client| client.room == room) {
            let visible = |info: &&ParticipantInfo| {
                let hidden = info.permission.as_ref().is_some_and(|permission| permission.hidden);
                !hidden || info.sid == client.session.sid
            };
            let seen: Vec<ParticipantInfo> = batch.iter().filter(visible).cloned().collect();
            if !seen.is_empty() {
                client.send(message::update(seen));
            }
        }
    }
}
