//! A LiveKit server of the test's own.

use std::time::Duration;

use chassis::config;
use livekit_dev::{Config, LiveKitDev};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running livekit-dev; dropped, it stops.
#[derive(Debug)]
pub struct LiveKit {
    /// For faults, participants and whatever else a test makes happen.
    pub server: LiveKitDev,
    /// Where it is and with which key, as services take it.
    pub settings: config::LiveKit,
    _running: DropGuard,
}

/// How many seconds of LiveKit's waits pass in one: 3 s take 50 ms.
const WAIT_SPEED: u32 = 60;

/// With its defaults: no webhooks, no room that a join would create.
pub async fn livekit() -> LiveKit {
    livekit_with(|_| {}).await
}

/// Another store, another pace: `config.store = Store::RedisLike` is a LiveKit whose rooms survive a crash,
/// `config.wait_speed = 1` lets calls that no node answers wait as long as with a real one, and 0 until the test moves
/// the hand `Waits`. The seconds after a crash and after a flush in which the real server creates no room (5 and 2) are
/// left out unless `config.dead_node_lingers` and `config.node_returns_after` say otherwise.
pub async fn livekit_with(amend: impl FnOnce(&mut Config)) -> LiveKit {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("the port's address");
    let mut config = Config::new("devkey", crate::secret());
    config.wait_speed = WAIT_SPEED;
    config.dead_node_lingers = Duration::ZERO;
    config.node_returns_after = Duration::ZERO;
    config.numbers_lag = Duration::ZERO;
    amend(&mut config);
    let settings = config::LiveKit {
        api_key: config.api_key.clone(),
        api_secret: SecretString::from(config.api_secret.clone()),
        ws_url: format!("ws://{address}"),
        url: format!("http://{address}"),
    };
    let server = LiveKitDev::new(config);
    let running = CancellationToken::new();
    tokio::spawn(server.clone().serve(listener, running.clone()));
    LiveKit { server, settings, _running: running.drop_guard() }
}
