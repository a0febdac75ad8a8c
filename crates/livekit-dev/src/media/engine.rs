//! The loop: packets, commands, requests and deadlines, one after the other, on one thread.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use livekit_protocol::signal_response::Message;
use str0m::crypto::CryptoProvider;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    Command, Incoming,
    announce::RoomClock,
    client::{Client, Sid, Side},
    network::{self, Arrived, Buffer, Network},
    peer::Happened,
    rpc::Calls,
    sources::Sources,
};
use crate::LiveKitDev;

/// How many packets are taken before the rest has its turn.
const BATCH: usize = 128;

/// How often timers are looked at.
const TICK: Duration = Duration::from_millis(50);

pub(super) struct Engine {
    pub server: LiveKitDev,
    pub network: Network,
    pub crypto: Arc<CryptoProvider>,
    pub clients: BTreeMap<Sid, Client>,
    /// By the SID of the room.
    pub rooms: BTreeMap<String, RoomClock>,
    pub calls: Calls,
    /// Peers that were changed and not polled since.
    dirty: BTreeSet<(Sid, Side)>,
    sources: Sources,
    /// Messages that go out after those of the notices that are posted already.
    later: Vec<(Sid, Message)>,
    pub next_speakers: Instant,
    next_tick: Instant,
}

impl Engine {
    pub(super) fn new(server: LiveKitDev, network: Network) -> Self {
        let now = Instant::now();
        Self {
            server,
            network,
            crypto: Arc::new(rtc_crypto::provider()),
            clients: BTreeMap::new(),
            rooms: BTreeMap::new(),
            calls: Calls::default(),
            dirty: BTreeSet::new(),
            sources: Sources::default(),
            later: Vec::new(),
            next_speakers: now,
            next_tick: now,
        }
    }

    pub(super) async fn run(
        mut self,
        mut commands: mpsc::UnboundedReceiver<Command>,
        mut incoming: mpsc::Receiver<Incoming>,
        shutdown: CancellationToken,
    ) {
        let mut buffer = network::buffer();
        loop {
            // Before each wait: str0m must be polled after every change.
            self.settle(&mut commands);
            let deadline = self.deadline();
            if deadline <= Instant::now() {
                // However busy the sockets are.
                self.timers();
                // Timers change peers, which must be polled again.
                self.settle(&mut commands);
            }
            tokio::select! {
                () = shutdown.cancelled() => break,
                // `Some`: closed channels disable their branch instead of ending the loop.
                Some(command) = commands.recv() => self.command(command),
                Some(incoming) = incoming.recv() => {
                    // What the world did before this request comes before it.
                    self.settle(&mut commands);
                    self.incoming(incoming);
                }
                arrived = self.network.receive(&mut buffer) => self.packets(arrived, &mut buffer),
                () = tokio::time::sleep_until(deadline.into()) => self.timers(),
            }
        }
        self.shut_down();
    }

    /// Handles what is posted and polls what has changed, until there is nothing more to do.
    fn settle(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>) {
        loop {
            // Commands first: a notice of the world may be about what is polled below.
            while let Ok(command) = commands.try_recv() {
                self.command(command);
            }
            // Only now, so that they follow the messages of the notices above.
            for (sid, message) in std::mem::take(&mut self.later) {
                self.send(&sid, message);
            }
            if self.dirty.is_empty() {
                return;
            }
            self.poll_dirty();
        }
    }

    fn deadline(&self) -> Instant {
        let peers = self.clients.values().flat_map(|client| {
            let second = client.subscriber.as_ref().map(|peer| peer.deadline);
            [Some(client.publisher.deadline), second].into_iter().flatten()
        });
        let offers = self.clients.values().filter_map(|client| client.negotiation.next());
        // Never later than the next tick, so the sleep is bounded.
        peers.chain(offers).min().map_or(self.next_tick, |deadline| deadline.min(self.next_tick))
    }

    fn timers(&mut self) {
        let now = Instant::now();
        let due = self.clients.iter().flat_map(|(sid, client)| {
            let late = |side: Side, deadline: Instant| (deadline <= now).then(|| (sid.clone(), side));
            let second = client.subscriber.as_ref().and_then(|peer| late(Side::Subscriber, peer.deadline));
            [late(Side::Publisher, client.publisher.deadline), second].into_iter().flatten()
        });
        let due: Vec<(Sid, Side)> = due.collect();
        self.dirty.extend(due);
        self.negotiate_due(now);
        if self.next_tick <= now {
            self.next_tick = now + TICK;
            self.tick(now);
        }
    }

    fn packets(&mut self, first: Arrived, buffer: &mut Buffer) {
        let mut next = Some(first);
        for _ in 0..BATCH {
            let Some(arrived) = next else { break };
            self.packet(&arrived, &buffer[..arrived.length]);
            next = self.network.try_receive(buffer);
        }
        if let Some(arrived) = next {
            self.packet(&arrived, &buffer[..arrived.length]);
        }
    }

    fn packet(&mut self, arrived: &Arrived, bytes: &[u8]) {
        let now = Instant::now();
        let Some((sid, side)) = self.owner(arrived, bytes, now) else { return };
        let key = (sid, side);
        // The peer was changed by something else, and must be polled before it is changed again.
        if self.dirty.remove(&key) {
            self.poll(&key.0, side);
        }
        if let Some(client) = self.clients.get_mut(&key.0) {
            client.peer(side).receive(arrived, bytes, now);
        }
        self.poll(&key.0, side);
    }

    fn owner(&mut self, arrived: &Arrived, bytes: &[u8], now: Instant) -> Option<(Sid, Side)> {
        // The address is only a hint: another peer may have it now.
        if let Some((sid, side)) = self.sources.get(arrived.source) {
            let peer = self.clients.get_mut(sid).map(|client| client.peer(*side));
            if peer.is_some_and(|peer| peer.accepts(arrived, bytes, now)) {
                return Some((sid.clone(), *side));
            }
        }
        // Asks every peer. That is rare: only for the first packet from an address.
        let owner = self.clients.iter_mut().find_map(|(sid, client)| {
            let side = client.sides().find(|side| client.peer(*side).accepts(arrived, bytes, now))?;
            Some((sid.clone(), side))
        })?;
        self.sources.insert(arrived.source, owner.clone());
        Some(owner)
    }

    /// The peer was changed: it is polled before the next thing happens.
    pub(super) fn touch(&mut self, sid: &Sid, side: Side) {
        if !self.dirty.contains(&(sid.clone(), side)) {
            self.dirty.insert((sid.clone(), side));
        }
    }

    fn poll_dirty(&mut self) {
        for (sid, side) in std::mem::take(&mut self.dirty) {
            self.poll(&sid, side);
        }
    }

    fn poll(&mut self, sid: &Sid, side: Side) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let peer = match side {
            Side::Publisher => &mut client.publisher,
            Side::Subscriber => match &mut client.subscriber {
                Some(peer) => peer,
                None => return,
            },
        };
        for happened in peer.poll(&self.network, Instant::now()) {
            self.happened(sid, side, happened);
        }
    }

    fn happened(&mut self, sid: &Sid, side: Side, happened: Happened) {
        match happened {
            Happened::Connected => self.connected(sid, side),
            Happened::Rtp(packet) => self.forward(sid, &packet),
            Happened::Data { label, bytes } => self.data(sid, &label, &bytes),
            Happened::KeyframeWanted(mid) => self.keyframe_wanted(sid, mid),
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Enter(entry) => self.enter(*entry),
            Command::Resume(resume) => self.resume(*resume),
            Command::Notice(notice) => self.notice(notice),
            Command::Forget => self.forget(),
            Command::Fault { room, identity, fault } => self.client_fault(&room, &identity, fault),
            Command::Rpc { request, reply } => self.call(*request, reply),
            #[cfg(test)]
            Command::Panic => std::panic::resume_unwind(Box::new("as a mistake in the engine would")),
        }
    }

    /// Only what the latest socket of a session says counts.
    fn incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Request { session, connection, request } => {
                if let Some(sid) = self.latest(&session.sid, connection) {
                    self.request(&sid, *request);
                }
            }
            Incoming::Closed { session, connection } => {
                if let Some(sid) = self.latest(&session.sid, connection) {
                    self.socket_closed(&sid);
                }
            }
        }
    }

    fn latest(&self, sid: &str, connection: u64) -> Option<Sid> {
        let (sid, client) = self.clients.get_key_value(sid)?;
        (client.connection == connection).then(|| sid.clone())
    }

    pub(super) fn send(&mut self, sid: &str, message: Message) {
        if let Some(client) = self.clients.get_mut(sid) {
            client.send(message);
        }
    }

    /// After the messages of the change that was just made.
    pub(super) fn send_later(&mut self, sid: &Sid, message: Message) {
        self.later.push((sid.clone(), message));
    }

    /// The clients of a room, in no particular order.
    pub(super) fn members<'a>(&'a self, room: &'a str) -> impl Iterator<Item = (&'a Sid, &'a Client)> {
        self.clients.iter().filter(move |(_, client)| client.room == room)
    }

    pub(super) fn member_sids(&self, room: &str) -> Vec<Sid> {
        self.members(room).map(|(sid, _)| sid.clone()).collect()
    }

    pub(super) fn drop_client(&mut self, sid: &str) -> Option<Client> {
        self.sources.forget(sid);
        self.calls.callee_left(sid);
        self.clients.remove(sid)
    }

    fn forget(&mut self) {
        // Without a message: this is what a crash looks like.
        for client in self.clients.values_mut() {
            client.cut();
        }
        self.clients.clear();
        self.rooms.clear();
        self.sources.clear();
        self.dirty.clear();
        self.calls = Calls::default();
    }
}
