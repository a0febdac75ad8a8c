//! The task of a client. It owns the socket, the UDP port and the connections.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use livekit_protocol::{DataPacket, TrackInfo, signal_request};
use prost::Message as _;
use str0m::media::Mid;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Interval, MissedTickBehavior, timeout};

use crate::connect::Joined;
use crate::observed::Shared;
use crate::publish::{Outgoing, PACKET_MS, Track};
use crate::requests::{Resuming, resumed};
use crate::socket::{Incoming, Socket};
use crate::transport::{Effect, Transport};
use crate::{Error, Options};

/// How long the server may take to read a message, or to close a broken connection.
const SERVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit of the reliable packets that are kept for a resume.
const KEPT_PACKETS: usize = 256;
const LARGEST_DATAGRAM: usize = 2000;

pub type Reply<T> = oneshot::Sender<Result<T, Error>>;

/// A command of the handle to the task.
pub enum Command {
    Request(Box<signal_request::Message>),
    Publish(Box<Track>, Reply<TrackInfo>),
    Unpublish(String),
    Mute(String, bool),
    Level(String, i8),
    Data(Box<DataPacket>, bool),
    Garbage(Vec<u8>),
    Resume(Box<Options>, Reply<()>),
    /// Closes the socket with or without a close frame.
    CutSocket {
        close_frame: bool,
    },
    Udp(bool),
}

/// Changes that the next offer of the publisher connection must contain.
#[derive(Default)]
pub struct Wanted {
    pub offer: bool,
    pub restart: bool,
    pub audios: u32,
    pub videos: u32,
}

pub struct Engine {
    pub options: Options,
    pub shared: Shared,
    pub socket: Option<Socket>,
    pub socket_number: u32,
    pub resuming: Option<Resuming>,
    /// Commands that wait until the resume has ended.
    pub deferred: VecDeque<Command>,
    pub publisher: Transport,
    pub subscriber: Option<Transport>,
    /// Whether the subscriber connection makes the participant active, instead of the publisher connection.
    pub subscriber_primary: bool,
    pub tracks: Vec<Outgoing>,
    pub wanted: Wanted,
    pub offers: u32,
    pub last_offer: Option<String>,
    pub last_answer: Option<String>,
    pub channels_offered: bool,
    /// Messages that wait for the loop to send them.
    pub outbox: Vec<signal_request::Message>,
    /// Packets that no open channel has accepted yet.
    unsent: VecDeque<(&'static str, Vec<u8>)>,
    pub kept: VecDeque<(u32, Vec<u8>)>,
    sequence: u32,
    udp_on: bool,
    ticks: u32,
    pub pings: i64,
    /// Sections of the publisher connection in which the server sends.
    pub received_mids: Vec<Mid>,
    /// Sections of this client's tracks, also of removed ones.
    pub sent_mids: Vec<Mid>,
}

impl Engine {
    pub fn new(options: Options, shared: Shared, joined: Joined) -> Self {
        let channels_offered = joined.first_offer.is_some();
        let udp_on = options.udp;
        let mut engine = Self {
            options,
            shared,
            socket: Some(joined.socket),
            socket_number: 1,
            resuming: None,
            deferred: VecDeque::new(),
            publisher: joined.publisher,
            subscriber: joined.subscriber,
            subscriber_primary: false,
            tracks: Vec::new(),
            wanted: Wanted::default(),
            offers: 1,
            last_offer: joined.first_offer,
            last_answer: None,
            channels_offered,
            outbox: Vec::new(),
            unsent: VecDeque::new(),
            kept: VecDeque::new(),
            sequence: 0,
            udp_on,
            ticks: 0,
            pings: 0,
            received_mids: Vec::new(),
            sent_mids: Vec::new(),
        };
        // The first offer was part of the join request, otherwise none was made yet.
        if !channels_offered {
            engine.offers = 0;
        }
        engine.on_message(joined.first);
        engine
    }

    /// Runs until the handle is dropped, which simulates a crash: the sockets close without a message.
    pub async fn run(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let (mut buffer, mut second) = (vec![0; LARGEST_DATAGRAM], vec![0; LARGEST_DATAGRAM]);
        let mut packets = interval(Duration::from_millis(PACKET_MS.into()));
        let mut pings = interval(Duration::from_secs(5));
        pings.reset();
        loop {
            // Before each wait, so that nothing that the last event caused stays in a queue.
            self.settle().await;
            let deadline = self.deadline();
            tokio::select! {
                command = commands.recv() => match command {
                    // Without a socket a message would be lost, so commands wait until the resume has ended.
                    Some(command) if self.resuming.is_some() => self.deferred.push_back(command),
                    Some(command) => self.on_command(command).await,
                    None => return,
                },
                resumed = resumed(&mut self.resuming) => self.on_resumed(resumed).await,
                incoming = next(&mut self.socket) => match incoming {
                    Incoming::Message(message) => self.on_message(*message),
                    Incoming::Closed(code) => self.on_closed(code),
                },
                received = self.publisher.udp.recv_from(&mut buffer) => {
                    // Read also while UDP is off. Otherwise the datagrams would arrive later, instead of
                    // being lost.
                    if let (Ok((len, source)), true) = (received, self.udp_on) {
                        self.publisher.on_datagram(source, &buffer[..len]);
                    }
                }
                received = receive(self.subscriber.as_ref(), &mut second) => {
                    if let (Ok((len, source)), true, Some(subscriber)) = (received, self.udp_on, &mut self.subscriber) {
                        subscriber.on_datagram(source, &second[..len]);
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => self.on_timeout(),
                _ = packets.tick() => self.on_tick(),
                _ = pings.tick() => self.ping(),
            }
        }
    }

    /// Sends all offers, datagrams and messages that result from the last change.
    async fn settle(&mut self) {
        loop {
            // In this order: an offer may cause datagrams, and a datagram may open a channel for data.
            self.negotiate();
            self.poll();
            self.flush_data();
            if self.outbox.is_empty() {
                return;
            }
            for message in std::mem::take(&mut self.outbox) {
                let Some(socket) = &mut self.socket else { continue };
                // A server that no longer reads must not block media and commands.
                match timeout(SERVER_TIMEOUT, socket.send(message)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => self.read_to_the_end().await,
                    Err(_) => self.on_closed(None),
                }
            }
        }
    }

    /// Reads a socket that accepts no more messages: it may still contain the reason for its end.
    async fn read_to_the_end(&mut self) {
        while self.socket.is_some() {
            match timeout(SERVER_TIMEOUT, next(&mut self.socket)).await {
                Ok(Incoming::Message(message)) => self.on_message(*message),
                Ok(Incoming::Closed(code)) => self.on_closed(code),
                Err(_) => self.on_closed(None),
            }
        }
    }

    fn deadline(&self) -> Instant {
        let subscriber = self.subscriber.as_ref().map(|subscriber| subscriber.timeout);
        subscriber.map_or(self.publisher.timeout, |at| at.min(self.publisher.timeout))
    }

    fn on_timeout(&mut self) {
        let now = Instant::now();
        for transport in std::iter::once(&mut self.publisher).chain(&mut self.subscriber) {
            if transport.timeout <= now {
                transport.timed_out(now);
            }
        }
    }

    fn poll(&mut self) {
        let effects = self.publisher.poll();
        self.apply(effects, false);
        if let Some(subscriber) = &mut self.subscriber {
            let effects = subscriber.poll();
            self.apply(effects, true);
        }
        let connected = self.connected();
        if self.shared.read(|seen| seen.connected) != connected {
            self.shared.change(|seen| {
                seen.connected = connected;
                seen.connections += u32::from(connected);
            });
        }
    }

    /// Whether all started connections are established, including the one that makes the participant active.
    fn connected(&self) -> bool {
        let transports = || std::iter::once(&self.publisher).chain(&self.subscriber);
        let counted = if self.subscriber_primary { self.subscriber.as_ref() } else { Some(&self.publisher) };
        // A connection that was never started must not count: over `/rtc` a client may only receive.
        counted.is_some_and(Transport::connected) && transports().all(|one| !one.started() || one.connected())
    }

    fn apply(&mut self, effects: Vec<Effect>, subscriber: bool) {
        for effect in effects {
            match effect {
                Effect::Send(to, packet) if self.udp_on => {
                    // A full socket buffer counts as a lost packet, as on any network.
                    let Some(transport) = self.transport(subscriber) else { return };
                    let _ = transport.udp.try_send_to(&packet, to);
                }
                Effect::Send(..) => {}
                Effect::Event(event) => self.on_event(*event, subscriber),
            }
        }
    }

    fn on_tick(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        if !self.publisher.connected() {
            return;
        }
        let now = Instant::now();
        let mut packets = Vec::new();
        for track in &mut self.tracks {
            packets.extend(track.packets(&self.publisher.rtc, now, self.ticks));
        }
        // The loop above borrows the tracks, so packets are written after it.
        for (mid, rid, packet) in packets {
            if let Some(stream) = self.publisher.rtc.direct_api().stream_tx_by_mid(mid, rid) {
                stream.write_rtp(packet);
            }
            // str0m only queued the packet: this sends it.
            self.poll();
        }
    }

    /// Queues a packet for its channel, with a sequence number if it is reliable.
    pub fn send_data(&mut self, mut packet: DataPacket, reliable: bool) {
        let label = if reliable { "_reliable" } else { "_lossy" };
        if reliable {
            self.sequence += 1;
            packet.sequence = self.sequence;
        }
        let bytes = packet.encode_to_vec();
        if reliable {
            if self.kept.len() == KEPT_PACKETS {
                self.kept.pop_front();
            }
            self.kept.push_back((self.sequence, bytes.clone()));
        }
        self.unsent.push_back((label, bytes));
    }

    /// Repeats the packets that the server did not receive before a resume.
    pub fn replay_after(&mut self, sequence: u32) {
        // They are among the kept packets, and would be sent twice.
        self.unsent.retain(|(label, _)| *label != "_reliable");
        let missed = self.kept.iter().filter(|(kept, _)| *kept > sequence);
        self.unsent.extend(missed.map(|(_, bytes)| ("_reliable", bytes.clone())));
    }

    fn flush_data(&mut self) {
        if !self.publisher.connected() {
            return;
        }
        while let Some((label, bytes)) = self.unsent.front() {
            // Not accepted: the packet stays first, so that the order is kept.
            if !self.publisher.write(label, bytes) {
                return;
            }
            self.unsent.pop_front();
            self.poll();
        }
    }

    pub fn set_udp(&mut self, on: bool) {
        self.udp_on = on;
    }
}

/// Receives a datagram. Waits forever without a subscriber connection.
async fn receive(transport: Option<&Transport>, buffer: &mut [u8]) -> std::io::Result<(usize, SocketAddr)> {
    match transport {
        Some(transport) => transport.udp.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

/// Reads the next message. Waits forever without a socket.
async fn next(socket: &mut Option<Socket>) -> Incoming {
    match socket {
        Some(socket) => socket.next().await,
        None => std::future::pending().await,
    }
}

fn interval(period: Duration) -> Interval {
    let mut interval = tokio::time::interval(period);
    // After a pause, missed ticks must not become a burst of packets.
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}
