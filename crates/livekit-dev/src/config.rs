//! What a server is started with, and the switches that a test may turn while it runs.

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// What survives a restart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Store {
    /// A server without Redis: a restart forgets everything and says nothing.
    #[default]
    Memory,
    /// A server with Redis: rooms and participants stay listed although nothing is behind them any more.
    RedisLike,
}

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
    /// How long a call waits that nobody answers, before it fails with 503 `no response from servers`. The real
    /// ones need 3 s (rooms) and 6 to 9 s (egress).
    pub no_response_delay: Duration,
    /// The rooms' time stands still until a test moves it, so that a slow machine cannot make rooms expire.
    pub standing_clock: bool,
    pub webhooks: WebhookConfig,
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
    /// Was killed: its recordings stay as they are for ever, and nobody answers for them.
    Dead,
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
            no_response_delay: Duration::from_millis(50),
            standing_clock: false,
            webhooks: WebhookConfig::default(),
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
}
