//! Replicas of the service, each with its own connections to the database.

use std::time::Duration;

use chassis::{clock::Clock, lifecycle::Lifecycle};
use room_lifecycle::{
    Config, Rooms,
    config::{Pace, Policy, ROLE, WebhookKey},
    diagnosis::Timeouts,
    nests::link::EventKind,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

use super::World;

/// One replica. Its background work ends when it is dropped.
pub struct Replica {
    rooms: Rooms,
    lifecycle: Lifecycle,
}

impl std::ops::Deref for Replica {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.rooms
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.lifecycle.kill();
    }
}

/// The proxy between a replica and the database. Connections break when it is dropped.
pub struct Wire(JoinHandle<()>);

impl Drop for Wire {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl World {
    pub fn config(&self) -> Config {
        let livekit = self.livekit().settings.clone();
        Config {
            database: testkit::database(&self.connect, ROLE),
            grpc: testkit::internal(),
            listen: ([127, 0, 0, 1], 0).into(),
            webhook_keys: vec![WebhookKey {
                key: livekit.api_key.clone(),
                secret: livekit.api_secret.clone(),
            }],
            livekit,
            policy: Policy { at_booking: true, token_ttl: Duration::from_hours(1) },
            nest_kind: EventKind::default(),
            pass_period: Duration::from_secs(10),
            events_keep: Duration::from_hours(720),
            app_url: None,
            recordings: self.recording_settings(),
            // Longer than the gateway waits: a machine that is busy with other tests must not look like a silent LiveKit.
            timeouts: Timeouts {
                probe: Duration::from_secs(8),
                recreate: Duration::from_secs(8),
                answer: Duration::from_secs(8),
            },
            pace: Pace { quick: Duration::from_secs(8), ..Pace::default() },
            clock: Clock::default(),
        }
    }

    /// A replica without its loops. The test calls each step.
    pub async fn rooms(&self) -> Replica {
        self.rooms_with(|_| {}).await
    }

    pub async fn rooms_with(&self, amend: impl FnOnce(&mut Config)) -> Replica {
        let mut config = self.config();
        amend(&mut config);
        let lifecycle = Lifecycle::new();
        let pool = self.pool_options(ROLE).connect_lazy_with(self.connect.clone());
        Replica { rooms: Rooms::new(&config, pool, &lifecycle).await.unwrap(), lifecycle }
    }

    /// A replica whose connections the test recognizes by their application name.
    pub async fn rooms_named(&self, name: &str) -> Replica {
        let lifecycle = Lifecycle::new();
        let connect = self.connect.clone().application_name(name);
        let pool = self.pool_options(ROLE).connect_lazy_with(connect);
        Replica { rooms: Rooms::new(&self.config(), pool, &lifecycle).await.unwrap(), lifecycle }
    }

    /// A replica that reaches the database only while the wire exists.
    pub async fn rooms_on_a_wire(&self) -> (Replica, Wire) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let database = (self.connect.get_host().to_owned(), self.connect.get_port());
        let wire = tokio::spawn(async move {
            let mut open = JoinSet::new();
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut far = TcpStream::connect(&database).await.unwrap();
                open.spawn(async move { tokio::io::copy_bidirectional(&mut near, &mut far).await });
            }
        });
        let lifecycle = Lifecycle::new();
        let connect = self.connect.clone().host("127.0.0.1").port(port);
        let timeout = Duration::from_secs(2);
        let pool = self.pool_options(ROLE).acquire_timeout(timeout).connect_lazy_with(connect);
        let rooms = Rooms::new(&self.config(), pool, &lifecycle).await.unwrap();
        (Replica { rooms, lifecycle }, Wire(wire))
    }
}
