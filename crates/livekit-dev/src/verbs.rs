//! What a test does to a running server from the same process; `/_dev` offers the same over HTTP.

use std::{net::SocketAddr, time::Duration};

use livekit_protocol::{
    DisconnectReason, EgressInfo, EgressStatus, ParticipantInfo, Room, SendDataRequest, TrackInfo,
    TrackSource, WebhookEvent,
};

use crate::{
    ClientFault, LiveKitDev, auth,
    clock::ClockHandle,
    config::{Stop, Store, Switches, Worker},
    egress,
    media::Command,
    rtc::{self, JoinError},
    state::occupant::PublishError,
    webhook::{
        Delivery,
        chaos::{ArmedMishap, Order, WebhookFault},
    },
};

/// No participant of this identity is connected to this room (or they have no such track).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("participant does not exist")]
pub struct NotConnected;

/// Participants.
impl LiveKitDev {
    /// Checks the token as `/rtc` does, joins, and becomes active: `participant_joined`.
    pub fn join(&self, token: &str) -> Result<ParticipantInfo, JoinError> {
        let claims = auth::verify(self, token)?;
        let joined = rtc::admit(self, &claims)?;
        let room = claims.video.unwrap_or_default().room;
        Ok(self.activate(&room, &joined.identity).unwrap_or(joined))
    }

    /// Joins and goes no further: listed, not active, and no webhook yet.
    pub fn connect(&self, token: &str) -> Result<ParticipantInfo, JoinError> {
        rtc::admit(self, &auth::verify(self, token)?)
    }

    /// Media flows: `participant_joined`, once.
    pub fn activate(&self, room: &str, identity: &str) -> Result<ParticipantInfo, NotConnected> {
        let activated = self.change(|world, _| match world.activate(room, identity) {
            Some((participant, events)) => (Some(participant), events),
            None => (None, Vec::new()),
        });
        activated.ok_or(NotConnected)
    }

    /// They close their client.
    pub fn leave(&self, room: &str, identity: &str) -> Result<(), NotConnected> {
        self.leave_because(room, identity, DisconnectReason::ClientInitiated)
    }

    pub fn leave_because(
        &self,
        room: &str,
        identity: &str,
        reason: DisconnectReason,
    ) -> Result<(), NotConnected> {
        let now_s = self.clock().now_s(ClockHandle::Rooms);
        let left = self.change(|world, _| {
            // Read in the same change: a leave in between belongs to another caller.
            let connected = world.is_connected(room, identity);
            (connected, world.leave(room, identity, reason, now_s))
        });
        if left { Ok(()) } else { Err(NotConnected) }
    }

    /// Publishes a track, if their permission allows the source.
    pub fn publish(
        &self,
        room: &str,
        identity: &str,
        source: TrackSource,
    ) -> Result<TrackInfo, PublishError> {
        self.publish_named(room, identity, source, "")
    }

    pub fn publish_named(
        &self,
        room: &str,
        identity: &str,
        source: TrackSource,
        name: &str,
    ) -> Result<TrackInfo, PublishError> {
        self.change(|world, _| match world.publish(room, identity, source, name) {
            Ok((track, events)) => (Ok(track), events),
            Err(error) => (Err(error), Vec::new()),
        })
    }

    pub fn unpublish(&self, room: &str, identity: &str, track_sid: &str) -> Result<TrackInfo, NotConnected> {
        let unpublished = self.change(|world, _| match world.unpublish(room, identity, track_sid) {
            Some((track, events)) => (Some(track), events),
            None => (None, Vec::new()),
        });
        unpublished.ok_or(NotConnected)
    }
}

/// There is no recording with this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("egress does not exist")]
pub struct NoEgress;

/// Recordings.
impl LiveKitDev {
    /// All that the store knows, ended ones included.
    pub fn recordings(&self) -> Vec<EgressInfo> {
        self.look(|world| world.list_egress("", false))
    }

    /// Puts a recording into this state, as its worker could at any time.
    pub fn move_recording(
        &self,
        id: &str,
        status: EgressStatus,
        error: &str,
    ) -> Result<EgressInfo, NoEgress> {
        let now_ns = self.now_ns();
        let moved = self.change(|world, _| match world.move_egress(id, status, error, now_ns) {
            Some((info, events)) => (Some(info), events),
            None => (None, Vec::new()),
        });
        moved.ok_or(NoEgress)
    }

    /// The worker's next step, at once.
    pub fn work(&self) {
        egress::work(self);
    }

    pub fn set_worker(&self, worker: Worker) {
        self.alter(|world| world.switches.worker = worker);
    }
}

/// What there is.
impl LiveKitDev {
    /// The rooms in the store, zombies included and lost ones not.
    pub fn rooms(&self) -> Vec<Room> {
        self.look(|world| world.list_rooms(&[]))
    }

    /// The rooms of this node, lost by the store or not.
    pub fn living_rooms(&self) -> Vec<Room> {
        self.look(crate::state::World::living_rooms)
    }

    pub fn room(&self, name: &str) -> Option<Room> {
        self.look(|world| world.rooms.get(name).and_then(crate::state::room::Room::listed))
    }

    /// Whether a node holds the room, or only the store lists it.
    pub fn is_live(&self, room: &str) -> bool {
        self.look(|world| world.rooms.get(room).is_some_and(crate::state::room::Room::is_live))
    }

    /// The participants of a room that the store lists.
    pub fn participants(&self, room: &str) -> Vec<ParticipantInfo> {
        self.look(|world| world.list_participants(room))
    }

    /// Those who really are connected, listed or not.
    pub fn connected(&self, room: &str) -> Vec<ParticipantInfo> {
        self.look(|world| world.connected_participants(room))
    }

    /// What `SendData` has delivered to a live room, without repetitions.
    pub fn sent_data(&self, room: &str) -> Vec<SendDataRequest> {
        self.look(|world| world.rooms.get(room).map(|room| room.data.clone()).unwrap_or_default())
    }
}

/// Time and restarts.
impl LiveKitDev {
    /// Moves the rooms on and looks for expired ones at once. Tokens and signatures keep their time.
    pub fn advance_clock(&self, by: Duration) {
        self.advance(ClockHandle::Rooms, by);
    }

    /// Moves one hand of the clock on.
    pub fn advance(&self, hand: ClockHandle, by: Duration) {
        self.clock().advance(hand, by);
        self.tick();
    }

    /// The process is killed and comes back: queued webhooks are gone, and so are the rooms, or (Redis-like) they stay
    /// listed with nothing behind them. No event is sent. Switches, faults and counts stay.
    pub fn restart(&self) {
        self.restart_after(Stop::Crash);
    }

    /// The process ends in this way and comes back.
    pub fn restart_after(&self, stop: Stop) {
        let now_ms = self.clock().now_ms(ClockHandle::Rooms);
        self.change(|world, config| {
            let effects = world.restart(config.store, stop, now_ms);
            // Under the world's lock, so that no event of before the restart is queued after it.
            self.webhooks().forget();
            if matches!(stop, Stop::Crash | Stop::Outage) {
                // Clients see their sockets and media end, without a word.
                self.media().post(Command::Forget);
            }
            ((), effects)
        });
    }

    /// Redis loses its data while the server runs on. Nothing happens to a server that has none.
    pub fn flush(&self) {
        let now_ms = self.clock().now_ms(ClockHandle::Rooms);
        if self.config().store == Store::RedisLike {
            self.alter(|world| world.flush(self.config(), now_ms));
        }
    }

    pub fn switches(&self) -> Switches {
        self.look(|world| world.switches)
    }

    pub fn set_switches(&self, switches: Switches) {
        self.alter(|world| world.set_switches(switches));
    }
}

/// Clients.
impl LiveKitDev {
    /// Plays a fault of a connected client, at once.
    pub fn inject_client_fault(&self, room: &str, identity: &str, fault: ClientFault) {
        let (room, identity) = (room.to_owned(), identity.to_owned());
        self.media().post(Command::Fault { room, identity, fault });
    }

    /// Where media is received, while the server is served.
    pub fn media_addresses(&self) -> Vec<SocketAddr> {
        self.media().addresses()
    }
}

/// Webhooks.
impl LiveKitDev {
    /// For the events from now on.
    pub fn set_webhook_urls(&self, urls: Vec<String>) {
        self.webhooks().set_urls(urls);
    }

    /// Resolves when all queues are empty. Held and swapped events are in no queue.
    pub async fn webhooks_idle(&self) {
        self.webhooks().idle().await;
    }

    /// Every event meets this mishap from now on.
    pub fn inject_webhook_fault(&self, mishap: WebhookFault) {
        self.arm_mishap(ArmedMishap { mishap, event: None, times: None });
    }

    /// The next event of this name meets this mishap (`room_finished`, …).
    pub fn inject_fault_into_next_webhook(&self, event: &str, mishap: WebhookFault) {
        self.arm_mishap(ArmedMishap { mishap, event: Some(event.to_owned()), times: Some(1) });
    }

    pub fn arm_mishap(&self, armed: ArmedMishap) {
        self.webhooks().with_chaos(|chaos| chaos.arm(armed));
    }

    pub fn clear_mishaps(&self) {
        self.webhooks().with_chaos(crate::webhook::chaos::Chaos::clear);
    }

    /// Keeps every event back until [`release_webhooks`](Self::release_webhooks).
    pub fn hold_webhooks(&self) {
        self.webhooks().with_chaos(crate::webhook::chaos::Chaos::hold);
    }

    pub fn release_webhooks(&self, order: Order) {
        self.webhooks().release(order);
    }

    /// The latest events, whether or not they were sent.
    pub fn events(&self) -> Vec<WebhookEvent> {
        self.webhooks().emitted()
    }

    /// What became of the latest events, for each URL.
    pub fn deliveries(&self) -> Vec<Delivery> {
        self.webhooks().deliveries()
    }
}
