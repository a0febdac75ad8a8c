//! A served livekit-dev and a receiver of its webhooks.

use std::time::Duration;

use livekit_dev::{Config, LiveKitDev};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{receiver::Receiver, tokens};

pub const KEY: &str = "devkey";
pub const SECRET: &str = "a secret of at least thirty-two bytes";

pub struct Served {
    pub server: LiveKitDev,
    pub url: String,
    pub receiver: Receiver,
    pub shutdown: CancellationToken,
    pub running: JoinHandle<std::io::Result<()>>,
    _guard: DropGuard,
}

impl Served {
    /// A server whose webhook retries take milliseconds.
    pub async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(configure: impl FnOnce(&mut Config)) -> Self {
        let receiver = Receiver::start().await;
        let mut config = Config::new(KEY, SECRET);
        config.auto_create = true;
        config.wait_speed = 60; // 3 s take 50 ms
        config.dead_node_timeout = Duration::ZERO;
        config.node_returns_after = Duration::ZERO;
        config.numbers_lag = Duration::ZERO;
        config.webhook_urls = vec![receiver.url.clone()];
        config.webhooks.retry_base = Duration::from_millis(1);
        configure(&mut config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = CancellationToken::new();
        let server = LiveKitDev::new(config);
        let running = tokio::spawn(server.clone().serve(listener, shutdown.clone()));
        let guard = shutdown.clone().drop_guard();
        Self { server, url, receiver, shutdown, running, _guard: guard }
    }

    pub fn join(&self, room: &str, identity: &str) {
        self.server.join(&token(room, identity)).unwrap();
    }
}

pub fn token(room: &str, identity: &str) -> String {
    tokens::sign(SECRET, &tokens::claims(KEY, identity, &tokens::joining(room)))
}

/// Waits until the condition holds, for at most 30 s.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    eventually_none(|| (!holds()).then(|| what.to_owned())).await;
}

/// Waits until `wrong` returns None, for at most 30 s.
pub async fn eventually_none(wrong: impl Fn() -> Option<String>) {
    let right = async {
        while wrong().is_some() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(30), right).await;
    assert!(in_time.is_ok(), "{}", wrong().unwrap_or_else(|| "the condition held too late".to_owned()));
}
