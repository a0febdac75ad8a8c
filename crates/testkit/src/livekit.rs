//! The LiveKit server of a test.

use std::time::Duration;

use chassis::config;
use livekit_dev::{Config, LiveKitDev};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A running livekit-dev. It stops when this is dropped.
#[derive(Debug)]
pub struct LiveKit {
    /// The server's control interface: faults, participants, restarts.
    pub server: LiveKitDev,
    /// Its address and key, as the settings of services.
    pub settings: config::LiveKit,
    _running: DropGuard,
}

/// The factor by which LiveKit's waits are shortened: 3 s take 50 ms.
const WAIT_SPEED: u32 = 60;

/// Starts livekit-dev with its defaults: no webhooks, and joins create no room.
pub async fn livekit() -> LiveKit {
    livekit_with(|_| {}).await
}

/// Starts livekit-dev with a changed configuration.
///
/// With `config.store = Store::RedisLike`, rooms survive a crash. With `config.wait_speed = 1`, calls that no node
/// answers wait as long as on a real server. With 0 they wait until the test moves the hand `Waits`. The real server
/// creates no room for 5 s after a crash and for 2 s after a flush: `config.dead_node_timeout` and
/// `config.node_returns_after` set these times, which are zero here.
pub async fn livekit_with(amend: impl FnOnce(&mut Config)) -> LiveKit {
    serve(TcpListener::bind("127.0.0.1:0").await.expect("a free port"), amend)
}

/// Starts livekit-dev with its defaults, where nothing can be awaited.
pub(crate) fn start() -> LiveKit {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    // As tokio requires of a listener that it takes over.
    listener.set_nonblocking(true).expect("a setting of the port");
    serve(TcpListener::from_std(listener).expect("a runtime"), |_| {})
}

fn serve(listener: TcpListener, amend: impl FnOnce(&mut Config)) -> LiveKit {
    let address = listener.local_addr().expect("the port's address");
    let mut config = Config::new("devkey", crate::secret());
    config.wait_speed = WAIT_SPEED;
    // A real server waits here. Tests that need these waits set them, all others would only be slower.
    config.dead_node_timeout = Duration::ZERO;
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
