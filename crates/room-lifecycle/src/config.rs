//! The settings of room-lifecycle.

use std::{net::SocketAddr, time::Duration};

use chassis::{
    clock::Clock,
    config::{LiveKit, LiveKitArgs, Problems, ServiceArgs, non_blank, token_ttl},
    db, grpc,
};
use domain::RoomCreation;

use crate::{kinds, nests::link::EventKind, rooms};
pub use crate::{
    lanes::Pace,
    recordings::settings::{RecordingArgs, RecordingSettings},
    rooms::policy::Policy,
    webhook::WebhookKey,
};

/// The database role of this service.
pub const ROLE: &str = "greenroom_room_lifecycle";

#[derive(clap::Args, Clone, Default)]
pub struct Args {
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub livekit: LiveKitArgs,
    /// Address of the gRPC port [default: `0.0.0.0:50052`]
    #[arg(long, env = "ROOM_LISTEN")]
    pub room_listen: Option<String>,
    /// Keys that LiveKit may sign webhooks with: `key:secret[,…]`, each secret at least 32 bytes [default: the API key]
    #[arg(long, env = "LIVEKIT_WEBHOOK_KEYS", hide_env_values = true)]
    pub livekit_webhook_keys: Option<String>,
    /// The file that has `LIVEKIT_WEBHOOK_KEYS`
    #[arg(long, env = "LIVEKIT_WEBHOOK_KEYS_FILE")]
    pub livekit_webhook_keys_file: Option<String>,
    /// A second secret of the API key, accepted for webhooks only [default: none]
    #[arg(long, env = "LIVEKIT_WEBHOOK_SECRET", hide_env_values = true)]
    pub livekit_webhook_secret: Option<String>,
    /// The file that has `LIVEKIT_WEBHOOK_SECRET`
    #[arg(long, env = "LIVEKIT_WEBHOOK_SECRET_FILE")]
    pub livekit_webhook_secret_file: Option<String>,
    /// When a booking's room is created on LiveKit, as in booking [default: `at_booking`]
    #[arg(long, env = "ROOM_CREATION")]
    pub room_creation: Option<String>,
    /// How long access tokens live, as in token, 1 min to 24 h. A room with a kick is watched for as long [default:
    /// `1h`]
    #[arg(long, env = "TOKEN_TTL")]
    pub token_ttl: Option<String>,
    /// The events by which Nostr clients announce a nest, in its link: `30312`, or `30311` for older clients [default:
    /// `30312`]
    #[arg(long, env = "NESTS_EVENT_KIND")]
    pub nests_event_kind: Option<String>,
    /// How often everything is compared with LiveKit; 100 ms to 5 min [default: `10s`]
    #[arg(long, env = "PASS_PERIOD")]
    pub pass_period: Option<String>,
    /// Where the web pages are, `https://app.example.org`. Diagnoses compare its scheme with that of `LIVEKIT_WS_URL`
    /// [default: unknown]
    #[arg(long, env = "APP_URL")]
    pub app_url: Option<String>,
    /// How long webhooks and milestones are kept, 25 h to 10 years [default: `30days`]
    #[arg(long, env = "EVENTS_KEEP")]
    pub events_keep: Option<String>,
    #[command(flatten)]
    pub recordings: RecordingArgs,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub database: db::Settings,
    pub grpc: grpc::Settings,
    pub livekit: LiveKit,
    pub listen: SocketAddr,
    pub webhook_keys: Vec<WebhookKey>,
    pub policy: Policy,
    /// The kind of event that the links of nests contain.
    pub nest_kind: EventKind,
    pub pass_period: Duration,
    pub events_keep: Duration,
    /// Without a trailing slash.
    pub app_url: Option<String>,
    pub recordings: RecordingSettings,
    /// Other than the default only where a test needs it.
    pub timeouts: Timeouts,
    /// Other than the default only where a test needs it.
    pub pace: Pace,
    /// For webhook tokens and timers only.
    pub clock: Clock,
}

/// Timeouts of the parts of a diagnosis (the gateway waits 2 s for all of them), and of work that continues without its
/// caller.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// How long LiveKit may take to answer a probe before it counts as silent.
    pub probe: Duration,
    /// How long the caller waits until a missing room is recreated.
    pub recreate: Duration,
    /// How long an answer waits until LiveKit has deleted a room or removed a participant.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            probe: Duration::from_millis(900),
            recreate: Duration::from_millis(700),
            answer: Duration::from_millis(500),
        }
    }
}

impl Config {
    /// What the core needs of it.
    pub(crate) fn rooms(&self) -> rooms::Settings {
        rooms::Settings {
            livekit: self.livekit.clone(),
            policy: self.policy,
            kinds: kinds::Settings { nest_link: self.nest_kind },
            answer_timeout: self.timeouts.answer,
            pace: self.pace,
        }
    }
}

impl Args {
    fn read_files(&mut self, problems: &mut Problems) {
        let (keys, file) = (&mut self.livekit_webhook_keys, &mut self.livekit_webhook_keys_file);
        problems.secret_file("LIVEKIT_WEBHOOK_KEYS", keys, file);
        let (secret, file) = (&mut self.livekit_webhook_secret, &mut self.livekit_webhook_secret_file);
        problems.secret_file("LIVEKIT_WEBHOOK_SECRET", secret, file);
    }

    pub fn check(mut self, problems: &mut Problems) -> Option<Config> {
        self.read_files(problems);
        let service = self.service.check(ROLE, problems);
        let livekit = self.livekit.check(problems);
        let room_creation =
            problems.parse("ROOM_CREATION", self.room_creation.as_deref(), RoomCreation::AtBooking);
        let token_ttl = token_ttl(self.token_ttl.as_deref(), problems);
        let nest_kind =
            problems.parse("NESTS_EVENT_KIND", self.nests_event_kind.as_deref(), EventKind::default());
        let pass_period = problems.duration_in(
            "PASS_PERIOD",
            self.pass_period.as_deref(),
            Duration::from_secs(10),
            Duration::from_millis(100)..=Duration::from_mins(5),
            "100ms to 5min",
        );
        // The lower bound: a kicked participant is watched through events for the lifetime of a token plus ten minutes.
        let events_keep = problems.duration_in(
            "EVENTS_KEEP",
            self.events_keep.as_deref(),
            Duration::from_hours(24 * 30),
            Duration::from_hours(25)..=Duration::from_hours(24 * 3660),
            "25h to 10years",
        );
        let app_url = non_blank(self.app_url);
        let app_url = app_url.and_then(|url| problems.base_url("APP_URL", Some(url), &["http", "https"]));
        let recordings = self.recordings.check(problems);
        let webhook_keys = webhook_keys(
            self.livekit_webhook_keys.as_deref(),
            self.livekit_webhook_secret,
            livekit.as_ref(),
            problems,
        );
        let listen = problems.listen("ROOM_LISTEN", self.room_listen.as_deref(), 50052);
        let (database, grpc) = service?;
        Some(Config {
            database,
            grpc,
            livekit: livekit?,
            listen,
            webhook_keys,
            policy: Policy { at_booking: room_creation == RoomCreation::AtBooking, token_ttl },
            nest_kind,
            pass_period,
            events_keep,
            app_url,
            recordings,
            timeouts: Timeouts::default(),
            pace: Pace::default(),
            clock: Clock::default(),
        })
    }
}

fn webhook_keys(
    keys: Option<&str>,
    second: Option<String>,
    livekit: Option<&LiveKit>,
    problems: &mut Problems,
) -> Vec<WebhookKey> {
    let mut found = Vec::new();
    for pair in keys.iter().flat_map(|keys| keys.split(',')).map(str::trim).filter(|pair| !pair.is_empty()) {
        match pair.split_once(':') {
            Some((key, secret)) if !key.is_empty() && secret.len() >= 32 => {
                found.push(WebhookKey { key: key.to_owned(), secret: secret.into() });
            }
            _ => {
                problems.add("LIVEKIT_WEBHOOK_KEYS", "must be key:secret[,…], each secret at least 32 bytes");
            }
        }
    }
    let Some(livekit) = livekit else { return found };
    if found.is_empty() {
        found.push(WebhookKey { key: livekit.api_key.clone(), secret: livekit.api_secret.clone() });
    }
    if let Some(secret) = second.filter(|secret| !secret.is_empty()) {
        if secret.len() < 32 {
            problems.add("LIVEKIT_WEBHOOK_SECRET", "must have at least 32 bytes");
        }
        found.push(WebhookKey { key: livekit.api_key.clone(), secret: secret.into() });
    }
    found
}
