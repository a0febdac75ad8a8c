//! Replicas of the service, each with its own connections to the database.

use std::{ops::Deref, time::Duration};

use chassis::{clock::Clock, lifecycle::Lifecycle};
use room_lifecycle::{
    Config, Error, RoomLifecycle, RoomRpcs,
    admin::Admin,
    config::{Pace, Policy, ROLE, Timeouts, WebhookKey},
    diagnosis::Diagnoses,
    live::LiveRooms,
    nests::{Nests, link::EventKind},
    recordings::Recordings,
    rooms::Rooms,
    stale_participants::StaleParticipants,
    webhook::Webhooks,
};
use sqlx::PgPool;
use testkit::Wire;

use super::World;

/// The features of one replica. As a core it has the methods of [`Rooms`].
#[derive(Clone)]
pub struct Service {
    whole: RoomLifecycle,
    pub live: LiveRooms,
    pub nests: Nests,
    pub recordings: Recordings,
    pub diagnoses: Diagnoses,
    pub webhooks: Webhooks,
    pub stale_participants: StaleParticipants,
    pub admin: Admin,
    pub rpcs: RoomRpcs,
}

impl Service {
    /// Boxed, because a future that holds some of them by value would be too large.
    async fn new(config: &Config, pool: PgPool, lifecycle: &Lifecycle) -> Box<Self> {
        let whole = RoomLifecycle::new(config, pool, lifecycle).await.unwrap();
        Box::new(Self {
            live: whole.live.clone(),
            nests: whole.nests.clone(),
            recordings: whole.recordings.clone(),
            diagnoses: whole.diagnoses.clone(),
            webhooks: whole.webhooks.clone(),
            stale_participants: whole.stale_participants.clone(),
            admin: whole.admin.clone(),
            rpcs: whole.room_rpcs(),
            whole,
        })
    }

    /// Runs one whole pass over all features.
    pub async fn pass(&self) -> Result<(), Error> {
        self.whole.pass().await
    }
}

impl Deref for Service {
    type Target = Rooms;

    fn deref(&self) -> &Rooms {
        &self.whole.rooms
    }
}

/// One replica. Its background work ends when it is dropped.
pub struct Replica {
    service: Box<Service>,
    lifecycle: Lifecycle,
}

impl Deref for Replica {
    type Target = Service;

    fn deref(&self) -> &Service {
        &self.service
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.lifecycle.kill();
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
        Replica { service: Service::new(&config, pool, &lifecycle).await, lifecycle }
    }

    /// A replica whose connections the test recognizes by their application name.
    pub async fn rooms_named(&self, name: &str) -> Replica {
        let lifecycle = Lifecycle::new();
        let connect = self.connect.clone().application_name(name);
        let pool = self.pool_options(ROLE).connect_lazy_with(connect);
        Replica { service: Service::new(&self.config(), pool, &lifecycle).await, lifecycle }
    }

    /// A replica that reaches the database only while the wire exists.
    pub async fn rooms_on_a_wire(&self) -> (Replica, Wire) {
        let wire = Wire::to(format!("{}:{}", self.connect.get_host(), self.connect.get_port())).await;
        let lifecycle = Lifecycle::new();
        let connect = self.connect.clone().host("127.0.0.1").port(wire.address.port());
        let timeout = Duration::from_secs(2);
        let pool = self.pool_options(ROLE).acquire_timeout(timeout).connect_lazy_with(connect);
        let service = Service::new(&self.config(), pool, &lifecycle).await;
        (Replica { service, lifecycle }, wire)
    }
}
