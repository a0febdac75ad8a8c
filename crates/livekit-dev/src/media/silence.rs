//! Timers: clients that are silent, tokens that grow old, and everything that waits for its moment.

use std::time::{Duration, Instant};

use livekit_protocol::{DisconnectReason, leave_request::Action};

use super::{
    client::{Client, Sid},
    engine::Engine,
};
use crate::signal::message;

/// How often clients get a fresh token.
pub(super) const REFRESH: Duration = Duration::from_mins(5);

impl Engine {
    pub(super) fn tick(&mut self, now: Instant) {
        self.unpublish_due(now);
        self.keyframes_due(now);
        self.dynacast(now);
        self.announce_due(now);
        self.speakers(now);
        self.qualities(now);
        self.expire_calls(now);
        self.silences(now);
        self.refresh_due(now);
    }

    /// A client without packets is asked to resume, and is gone a little later.
    fn silences(&mut self, now: Instant) {
        let (silence, cleanup) = (self.server.config().rtc.silence, self.server.config().rtc.cleanup);
        let mut gone: Vec<Sid> = Vec::new();
        // Only active ones: others have a time limit of their own in the world.
        for (sid, client) in self.clients.iter_mut().filter(|(_, client)| client.active) {
            let primary = client.primary;
            let idle = now.saturating_duration_since(client.peer(primary).last_packet);
            match client.silent_since {
                None if idle >= silence => fall_silent(client, now),
                // Packets came back in time.
                Some(_) if idle < silence => client.silent_since = None,
                Some(since) if now.saturating_duration_since(since) >= cleanup => gone.push(sid.clone()),
                None | Some(_) => {}
            }
        }
        for sid in gone {
            self.leave(&sid, DisconnectReason::ConnectionTimeout);
        }
    }

    fn refresh_due(&mut self, now: Instant) {
        let due = self.clients.iter().filter(|(_, client)| client.refresh_at <= now);
        for sid in due.map(|(sid, _)| sid.clone()).collect::<Vec<_>>() {
            self.refresh_token(&sid);
        }
    }

    /// Every client reads that the server goes.
    pub(super) fn shut_down(&mut self) {
        for client in self.clients.values_mut() {
            client.send(message::leave(DisconnectReason::ServerShutdown, Action::Disconnect));
            client.outgoing = None;
        }
    }
}

fn fall_silent(client: &mut Client, now: Instant) {
    client.silent_since = Some(now);
    client.send(message::leave(DisconnectReason::ConnectionTimeout, Action::Resume));
    client.outgoing = None;
}
