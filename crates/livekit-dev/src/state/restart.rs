//! What is left when the server goes or its store is emptied.

use std::time::Duration;

use livekit_protocol::DisconnectReason;

use super::{
    CreateError, World,
    notice::Effect,
    room::{Host, Room},
};
use crate::config::{Config, Redis, Stop, Store, Switches};

/// A node that has not reported for so long is taken out of the store by the next one that starts.
const DEAD_AFTER_S: i64 = 5;

/// What Redis has of nodes beside those of rooms.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    /// The last crash, as long as the next new room may be given to the dead node.
    crashed_at_ms: Option<i64>,
    /// Until then the running node is not there.
    lost_until_ms: i64,
    /// The bus does not deliver the next call.
    deaf: bool,
}

impl World {
    /// Returns the events that are still sent: the queues of a stopped server are lost.
    pub(crate) fn restart(&mut self, store: Store, stop: Stop, now_ms: i64) -> Vec<Effect> {
        let at_s = now_ms / 1000;
        self.deleted.clear();
        self.nodes = Nodes::default();
        let (left_as, events) = match stop {
            Stop::Crash => (Host::Crashed { at_s }, Vec::new()),
            Stop::Outage => (Host::Stopped, Vec::new()),
            Stop::Graceful { webhooks } => (Host::Stopped, self.send_away(webhooks, at_s)),
        };
        match store {
            Store::Memory => {
                self.rooms.clear();
                self.egresses.clear();
            }
            Store::RedisLike => {
                self.abandon(left_as, at_s);
                // Only after a crash does the dead node still count as available.
                self.nodes.crashed_at_ms = (stop == Stop::Crash).then_some(now_ms);
            }
        }
        events
    }

    /// Redis loses its data, and participants stay connected.
    pub(crate) fn flush(&mut self, config: &Config, now_ms: i64) {
        // Rooms that no node has existed only in the store.
        self.rooms.retain(|_, room| room.is_live());
        self.rooms.values_mut().for_each(Room::lose);
        self.egresses.values_mut().for_each(|egress| egress.listed = false);
        self.nodes =
            Nodes { lost_until_ms: now_ms + milliseconds(config.node_returns_after), ..Nodes::default() };
    }

    /// The bus needs a call to notice that Redis works again.
    pub(crate) fn set_switches(&mut self, switches: Switches) {
        self.nodes.deaf |= self.switches.redis == Redis::Hangs && switches.redis != Redis::Hangs;
        self.switches = switches;
    }

    /// Whether a call over the bus is lost.
    pub(crate) fn is_deaf(&mut self) -> bool {
        // `take`: only the first call is lost.
        self.switches.redis != Redis::Works || std::mem::take(&mut self.nodes.deaf)
    }

    /// A node for this room: its own if that counts as available, dead or not, and else any that does.
    pub(crate) fn find_node(&mut self, name: &str, config: &Config, now_ms: i64) -> Result<(), CreateError> {
        if now_ms < self.nodes.lost_until_ms {
            return Err(CreateError::NoNodes);
        }
        let lingering = milliseconds(config.dead_node_timeout);
        match self.rooms.get(name).map(|room| room.host) {
            Some(Host::Live) => return Ok(()),
            Some(Host::Crashed { at_s }) if now_ms - at_s * 1000 < lingering => {
                return Err(CreateError::NoAnswer);
            }
            Some(Host::Crashed { .. } | Host::Stopped) | None => {}
        }
        // `take`: only the first room after a crash may be given to the dead node.
        match self.nodes.crashed_at_ms.take() {
            Some(at_ms) if now_ms - at_ms < lingering => Err(CreateError::NoAnswer),
            _ => Ok(()),
        }
    }

    fn abandon(&mut self, host: Host, now_s: i64) {
        for room in self.rooms.values_mut() {
            match room.host {
                Host::Live => room.abandon(host),
                // A start cleans up nodes that have been silent for long enough.
                Host::Crashed { at_s } if now_s - at_s >= DEAD_AFTER_S || host == Host::Stopped => {
                    room.host = Host::Stopped;
                }
                Host::Crashed { .. } | Host::Stopped => {}
            }
        }
        self.rooms.retain(|_, room| room.is_listed());
        self.egresses.retain(|_, egress| egress.listed);
    }

    /// Closes the occupied rooms, and returns the first of the due events.
    fn send_away(&mut self, webhooks: usize, now_s: i64) -> Vec<Effect> {
        let reason = DisconnectReason::ServerShutdown;
        // Empty rooms stay in the store.
        let occupied = |_: &String, room: &mut Room| room.is_occupied();
        let closed = self.rooms.extract_if(.., occupied).flat_map(|(_, mut room)| room.close(reason, now_s));
        let (due, notices): (Vec<Effect>, Vec<Effect>) = closed.partition(Effect::is_webhook);
        due.into_iter().take(webhooks).chain(notices).collect()
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
