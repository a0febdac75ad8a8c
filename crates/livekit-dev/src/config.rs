//! What a server is started with, and the switches that a test may turn while it runs.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use str0m::Candidate;

/// What survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// A server without Redis: a restart forgets everything and says nothing.
    #[default]
    Memory,
    /// A server with Redis: rooms and participants stay listed although nothing is behind them any more.
    RedisLike,
}

/// How a server ends before it starts again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// It is killed and back within 5 s. Redis keeps its node, which never answers again.
    #[default]
    Crash,
    /// It is killed and back later. The start takes the dead node out of Redis; its rooms and participants stay there.
    Outage,
    /// It receives SIGTERM twice: clients are disconnected, and the process ends before most of its webhooks are sent.
    /// Rooms with participants are closed, and empty ones stay in Redis without a node.
    Graceful {
        /// How many of the due webhooks are sent (seen: 1 and 2 of 5 or 6, or none).
        webhooks: usize,
    },
}

/// How long a call for a room or a participant waits that no node answers.
pub const NO_RESPONSE: Duration = Duration::from_secs(3);

/// How long the start of a recording waits that no worker takes (seen: 20.9 to 23.4 s).
pub const NO_WORKER: Duration = Duration::from_secs(22);

/// The settings of one server.
#[derive(Clone, Debug)]
pub struct Config {
    pub api_key: String,
    pub api_secret: String,
    /// Whether a join creates a missing room. LiveKit's own default is true; ours is false, because Greenroom
    /// makes every room itself and a late join must not bring back one that has ended.
    pub auto_create: bool,
    pub webhook_urls: Vec<String>,
    /// Clients refuse a server without a version, and choose features by it.
    pub version: String,
    pub store: Store,
    /// How long an API-made room waits for its first participant, unless the request says otherwise.
    pub empty_timeout: Duration,
    /// How long a room outlives its last participant, unless the request says otherwise.
    pub departure_timeout: Duration,
    /// How many seconds of waiting pass in one: calls that no node answers wait as long as with the real server
    /// ([`NO_RESPONSE`], [`NO_WORKER`]), on the clock's hand `Waits`. With 0 they wait until a test moves that hand.
    pub wait_speed: u32,
    /// How long after a crash the dead node still counts as available (seen: 5 s). Until then `CreateRoom` and joins of
    /// its rooms ask that node, and so does the first `CreateRoom` of another name (seen: some of them).
    pub dead_node_timeout: Duration,
    /// How long after a flush the node is not in Redis, so that no room can be created (seen: less than 2 s).
    pub node_returns_after: Duration,
    /// How old the counts of a room may be in webhooks, joins and lists (seen: 5 s). With 0 they are exact.
    pub numbers_lag: Duration,
    /// The rooms' time does not pass until a test moves it, so that a slow machine cannot make rooms expire.
    pub manual_clock: bool,
    pub webhooks: WebhookConfig,
    pub rtc: RtcConfig,
    /// Where a worker writes what it records, and nowhere else; none: there is no worker. Workers are reached through
    /// Redis, so a server that keeps its store in memory has none either way.
    pub recordings: Option<PathBuf>,
}

/// What the worker does that makes recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Worker {
    /// Takes jobs, and moves each one step on once a second.
    #[default]
    Works,
    /// Takes jobs and stops, and then waits for a test to move them.
    Waits,
    /// Takes no more jobs; those that it has go on.
    Absent,
    /// Was killed: its recordings stay as they are for ever, and no worker answers for them.
    Dead,
}

/// How Redis is, for a server that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Redis {
    #[default]
    Works,
    /// Calls that need it time out, and the living answer as stale participants do, once more when it works again.
    Hangs,
    /// Connections are refused.
    Down,
}

/// How often a port is looked for that is free on all addresses.
const ATTEMPTS: usize = 16;

/// Where media flows, and how long clients may be silent.
#[derive(Clone, Debug)]
pub struct RtcConfig {
    /// One UDP socket each; clients are offered all of them.
    pub addresses: Vec<IpAddr>,
    /// 0: a free one for each address.
    pub port: u16,
    /// Whether H264 is offered besides VP8.
    pub h264: bool,
    /// A client without any packet for so long is asked to resume.
    pub silence: Duration,
    /// How long a silent client may then take before its session ends.
    pub cleanup: Duration,
    /// The period in which joins, and leaves of participants without tracks, are announced.
    pub presence: Duration,
    /// The period of connection quality, and the shortest one of a room's counts.
    pub room: Duration,
}

impl RtcConfig {
    /// The port of real servers.
    pub const PORT: u16 = 7882;

    /// Whether clients can be offered the address: not one that means many, or that only a link knows.
    pub fn can_offer(address: IpAddr) -> bool {
        let link_local = matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
        // str0m refuses the addresses that mean many.
        !link_local && Candidate::host(SocketAddr::new(address, Self::PORT), "udp").is_ok()
    }

    /// The same with this port, which must be free on all addresses. With 0 it is one that is.
    pub fn on_port(mut self, port: u16) -> io::Result<Self> {
        if port == 0 {
            return self.on_free_port();
        }
        self.port = port;
        // Bound and dropped at once. Another program may take the port before it is opened; the open then
        // fails.
        self.addresses.iter().try_for_each(|ip| UdpSocket::bind((*ip, port)).map(drop))?;
        Ok(self)
    }

    /// The same with this port, or a free one if it is taken on any of the addresses.
    pub fn on_port_or_free(self, port: u16) -> io::Result<Self> {
        self.clone().on_port(port).or_else(|_| self.on_free_port())
    }

    /// A port that is free on the first address may be taken on another one.
    fn on_free_port(self) -> io::Result<Self> {
        let first = self.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let attempt = || {
            let port = UdpSocket::bind((first, 0))?.local_addr()?.port();
            self.clone().on_port(port)
        };
        // The last attempt gives its error, the others do not count.
        (1..ATTEMPTS).find_map(|_| attempt().ok()).map_or_else(attempt, Ok)
    }
}

impl Default for RtcConfig {
    fn default() -> Self {
        Self {
            addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
            port: 0,
            h264: false,
            silence: Duration::from_secs(15),
            cleanup: Duration::from_secs(5),
            presence: Duration::from_secs(3),
            room: Duration::from_secs(5),
        }
    }
}

/// How webhooks are queued and retried.
#[derive(Clone, Debug)]
pub struct WebhookConfig {
    /// The first wait between attempts; each later one is twice as long.
    pub retry_base: Duration,
    pub attempts: u32,
    /// Waiting events for each room and URL; one more is dropped.
    pub max_depth: usize,
    /// An event that has waited longer than this for its first attempt is dropped.
    pub max_age: Duration,
}

impl Default for WebhookConfig {
    fn default() -> Self {
        Self {
            retry_base: Duration::from_secs(1),
            attempts: 5,
            max_depth: 200,
            max_age: Duration::from_secs(30),
        }
    }
}

impl Config {
    pub fn new(api_key: impl Into<String>, api_secret: impl Into<String>) -> Self {
        Self {
            api_key: api_key.into(),
            api_secret: api_secret.into(),
            auto_create: false,
            webhook_urls: Vec::new(),
            version: "1.13.5".to_owned(),
            store: Store::default(),
            empty_timeout: Duration::from_mins(5),
            departure_timeout: Duration::from_secs(20),
            wait_speed: 1,
            dead_node_timeout: Duration::from_secs(5),
            node_returns_after: Duration::from_secs(2),
            numbers_lag: Duration::from_secs(5),
            manual_clock: false,
            webhooks: WebhookConfig::default(),
            rtc: RtcConfig::default(),
            recordings: None,
        }
    }
}

/// Settings and known misbehaviours of real servers that can be turned on and off at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct Switches {
    /// `room.enable_remote_unmute`.
    pub remote_unmute: bool,
    /// `room.enable_full_room_in_webhooks`: track events carry the whole room.
    pub full_room_in_webhooks: bool,
    /// The close of a duplicate's old session comes late: `participant_left` of the old sid follows
    /// `participant_joined` of the new one and takes its row in the store away (livekit#2399).
    pub late_duplicate_close: bool,
    /// A room created again after `DeleteRoom` comes back with its old sid and is closed at the next tick
    /// (livekit#4558).
    pub stale_recreate: bool,
    /// The worker of recordings.
    pub worker: Worker,
    pub redis: Redis,
}
