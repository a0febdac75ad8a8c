//! What is left when the server goes or its store is emptied.

use livekit_protocol::DisconnectReason;

use super::{
    World,
    event::{Event, EventKind},
    room::{Host, Room},
};
use crate::config::{Stop, Store};

/// A node that has not reported for so long is taken out of the store by the next one that starts.
const DEAD_AFTER_S: i64 = 5;

impl World {
    /// Returns what is still told: the queues of a stopped server die with it.
    pub(crate) fn restart(&mut self, store: Store, stop: Stop, now_s: i64) -> Vec<Event> {
        self.deleted.clear();
        let (host, told) = match stop {
            Stop::Crash => (Host::Crashed { at_s: now_s }, Vec::new()),
            Stop::Graceful { webhooks } => (Host::Stopped, self.send_away(webhooks, now_s)),
        };
        match store {
            Store::Memory => {
                self.rooms.clear();
                self.egresses.clear();
            }
            Store::RedisLike => self.abandon(host, now_s),
        }
        told
    }

    /// Redis loses its data, and everybody talks on.
    pub(crate) fn flush(&mut self) {
        self.rooms.retain(|_, room| room.is_live());
        self.rooms.values_mut().for_each(Room::lose);
        self.egresses.values_mut().for_each(|egress| egress.listed = false);
    }

    fn abandon(&mut self, host: Host, now_s: i64) {
        for room in self.rooms.values_mut() {
            match room.host {
                Host::Live => room.abandon(host),
                Host::Crashed { at_s } if now_s - at_s >= DEAD_AFTER_S => room.host = Host::Stopped,
                Host::Crashed { .. } | Host::Stopped => {}
            }
        }
        self.rooms.retain(|_, room| room.is_listed());
        self.egresses.retain(|_, egress| egress.listed);
    }

    /// Everybody is sent away, and the first of the due webhooks are sent. Who was told of is out of the store, too.
    fn send_away(&mut self, webhooks: usize, now_s: i64) -> Vec<Event> {
        let reason = DisconnectReason::ServerShutdown;
        let live = self.rooms.values().filter(|room| room.is_live());
        let due = live.flat_map(|room| room.clone().close(reason, now_s));
        let told: Vec<Event> = due.take(webhooks).collect();
        for event in &told {
            self.forget_told(event);
        }
        told
    }

    fn forget_told(&mut self, event: &Event) {
        let Some(room) = self.rooms.get_mut(&event.room.name) else { return };
        match (event.kind, &event.participant) {
            (EventKind::ParticipantLeft | EventKind::ParticipantConnectionAborted, Some(participant)) => {
                room.occupants.remove(&participant.identity);
            }
            (EventKind::RoomFinished, _) => drop(self.rooms.remove(&event.room.name)),
            _ => {}
        }
    }
}
