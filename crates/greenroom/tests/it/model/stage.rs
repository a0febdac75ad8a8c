//! Where a round is played: one LiveKit, one database behind a wire per replica, two replicas, the people and rooms of
//! the round, and what has been done so far, which is told when something is wrong.

use std::{
    env,
    time::{Duration, Instant},
};

use chassis::clock::Clock;
use gateway::Rate;
use livekit_dev::{LiveKitDev, Mishap, Order, Store, Switches};
use reqwest::Client;
use serde_json::Value;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::Wire;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{acts::Key, checks, dice::Dice, expect::On, standing::Standing, tabs::Tabs};
use crate::world::{Replica, World};

pub const ROOMS: usize = 3;
const PEOPLE: usize = 7;
/// Those who have clients with media: a host, and two others.
const WITH_CLIENTS: [usize; 3] = [0, 5, 6];
/// Connections that were cut are asked before they are used when they were idle for 5 s: until then one fails.
const CONVALESCENCE: Duration = Duration::from_secs(6);
/// Leases, back-offs, held seats and lingering people are over after it.
const REST: time::Duration = time::Duration::seconds(61);
/// "Two passes", presence that needs two looks 5 s apart, an announced end of 20 s; on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub struct Stage {
    world: World,
    pub livekit: LiveKitDev,
    connect: PgConnectOptions,
    pub pool: PgPool,
    pub wires: Vec<Wire>,
    replicas: Vec<Replica>,
    pub http: Client,
    offset: time::Duration,
    cut_at: Option<Instant>,
    /// Something was made to fail since it was quiet.
    pub troubled: bool,
    pub people: Vec<String>,
    pub rooms: Vec<Room>,
    pub tokens: Vec<Token>,
    pub tabs: Tabs,
    journal: Journal,
}

/// A live room of the round; its host is the person of the same number.
pub struct Room {
    pub id: Uuid,
    pub on: On,
    pub keys: Vec<Key>,
    /// Of each of the people.
    pub standing: Vec<Standing>,
}

/// A token that somebody got.
#[derive(Clone)]
pub struct Token {
    pub room: usize,
    pub room_name: String,
    pub identity: String,
    pub text: String,
    pub given: OffsetDateTime,
}

/// What was done; told when the test stops before its end, or when `MODEL_JOURNAL` is set.
#[derive(Default)]
struct Journal {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() || env::var_os("MODEL_JOURNAL").is_some() {
            println!("model: what was done in this round:\n  {}", self.lines.join("\n  "));
            println!("model: again with MODEL_SEED={}", self.seed);
        }
    }
}

impl Stage {
    /// None against a real LiveKit server, which has no faults.
    pub async fn new(connect: &PgConnectOptions, store: Store) -> Option<Self> {
        let database = format!("{}:{}", connect.get_host(), connect.get_port());
        let wires = vec![Wire::to(database.clone()).await, Wire::to(database).await];
        let mut world = match store {
            Store::Memory => World::new(connect).await,
            Store::RedisLike => World::redis_like(connect).await,
        };
        let livekit = world.stand_in()?.clone();
        // Three hosts do all that is done to people, as fast as they are answered.
        world.services.gateway.rates.moderation = Rate::new(1_000, 1_000);
        let mut stage = Self {
            world,
            livekit,
            connect: connect.clone(),
            pool: pool(connect).await,
            wires,
            replicas: Vec::new(),
            http: Client::new(),
            offset: time::Duration::ZERO,
            cut_at: None,
            troubled: false,
            people: Vec::new(),
            rooms: Vec::new(),
            tokens: Vec::new(),
            tabs: Tabs::default(),
            journal: Journal::default(),
        };
        for at in 0..stage.wires.len() {
            let replica = stage.start(at).await;
            stage.replicas.push(replica);
        }
        Some(stage)
    }

    /// A replica at the end of this wire.
    async fn start(&mut self, at: usize) -> Replica {
        let through = self.connect.clone().host("127.0.0.1").port(self.wires[at].address.port());
        let services = &mut self.world.services;
        services.booking.database = testkit::database(&through, "greenroom_booking");
        services.room.database = testkit::database(&through, room_lifecycle::config::ROLE);
        services.token.database = testkit::database(&through, token::config::ROLE);
        services.sync.database = testkit::database(&through, sync::ROLE);
        self.world.replica().await
    }

    pub fn say(&mut self, line: String) {
        self.journal.lines.push(line);
    }

    pub fn replica(&self, at: usize) -> &Replica {
        &self.replicas[at]
    }

    /// The database's now, nearly.
    pub fn now(&self) -> OffsetDateTime {
        Clock::default().now() + self.offset
    }

    /// Whether every request should be answered as if nothing had ever failed.
    pub fn is_calm(&self) -> bool {
        !self.troubled && self.cut_at.is_none_or(|at| at.elapsed() > CONVALESCENCE)
    }

    /// New people, and a room for each of the first of them.
    pub async fn begin(&mut self, seed: u64) {
        self.journal = Journal { seed, lines: Vec::new() };
        let number = Uuid::new_v4().simple().to_string();
        self.people = (0..PEOPLE).map(|n| format!("p{n}-{seed}-{}", &number[..6])).collect();
        (self.rooms, self.tokens, self.tabs) = (Vec::new(), Vec::new(), Tabs::default());
        for host in &self.people[..ROOMS] {
            let id = testkit::eventually("a room of one's own", || async {
                let (status, told) = self.replica(0).get(host, "/api/v1/live/rooms/me").await;
                told["room"]["id"].as_str().map(ToOwned::to_owned).ok_or((status, told))
            })
            .await;
            let standing = vec![Standing::default(); PEOPLE];
            self.rooms.push(Room { id: id.parse().unwrap(), on: On::Idle, keys: Vec::new(), standing });
        }
    }

    /// Enters with a client, if the token's owner has one.
    pub fn open_tab(&mut self, held: &Token) -> bool {
        let has_client = WITH_CLIENTS.iter().any(|who| self.people[*who] == held.identity);
        if has_client {
            self.tabs.open(&self.world.services.room.livekit, held);
        }
        has_client
    }

    /// The replica dies, and another one takes its place.
    pub async fn kill(&mut self, at: usize) {
        self.livekit.faults().clear(); // who starts waits until everything answers
        self.wires[at].join();
        self.replicas.remove(at).kill();
        let replica = self.start(at).await;
        self.livekit.set_webhook_urls(vec![format!("{}/api/v1/livekit/webhook", replica.url)]);
        self.replicas.insert(at, replica);
        self.rooms.iter_mut().for_each(|room| room.on = On::Unknown);
    }

    /// The database's clock jumps; only new connections see it.
    pub async fn jump(&mut self, by: time::Duration) {
        self.offset += by;
        self.wires.iter().for_each(Wire::cut);
        testkit::advance_database_clock(&self.pool, self.offset).await;
        self.pool.close().await;
        self.pool = pool(&self.connect).await;
        self.wires.iter().for_each(Wire::join);
        self.was_cut();
    }

    pub fn was_cut(&mut self) {
        self.cut_at = Some(Instant::now());
    }

    /// Nothing fails any more, though webhooks may stay lost; soon everything is as it should be, and stays so.
    pub async fn come_to_rest(&mut self, dice: &mut Dice) {
        self.livekit.faults().clear();
        self.livekit.set_switches(Switches::default());
        self.livekit.clear_mishaps();
        if dice.one_in(2) {
            self.say("quiet, and no webhook comes".to_owned());
            self.livekit.inject_mishap(Mishap::Drop);
        } else {
            self.say("quiet".to_owned());
        }
        self.livekit.release_webhooks(Order::Shuffled);
        self.jump(REST).await;
        self.unwelcome_return();
        self.settle().await;
        self.livekit.clear_mishaps();
        self.look_again().await;
        self.recall_standing().await;
    }

    async fn settle(&mut self) {
        let (started, mut well) = (Instant::now(), 0);
        loop {
            let wrong = checks::violations(&self.pool, &self.livekit).await;
            well = if wrong.is_empty() { well + 1 } else { 0 };
            if well == 2 {
                break;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "MODEL_SEED={}: not at rest after {PATIENCE:?}:\n{}",
                self.journal.seed,
                wrong.join("\n")
            );
            let pause = if well == 0 { Duration::from_millis(200) } else { Duration::from_millis(1_500) };
            tokio::time::sleep(pause).await;
        }
        self.say(format!("at rest after {:?}", started.elapsed()));
        self.troubled = false;
    }

    /// The model learns what is on from what everybody is told.
    async fn look_again(&mut self) {
        let now = self.now();
        for at in 0..self.rooms.len() {
            let (host, path) = (&self.people[at], format!("/api/v1/live/rooms/{}/state", self.rooms[at].id));
            let told = testkit::eventually("the state of a room", || async {
                let (status, told) = self.replica(at % 2).get(host, &path).await;
                if status.is_success() { Ok(told) } else { Err((status, told)) }
            })
            .await;
            assert_eq!(told["room"]["current_session_id"], told["session"]["id"], "{told}");
            self.rooms[at].on = On::told(&told, now);
        }
    }

    /// Everything ends: then nothing is left on LiveKit, and no token opens anything.
    pub async fn end_all(&mut self) {
        for at in 0..self.rooms.len() {
            let (host, path) = (&self.people[at], format!("/api/v1/live/rooms/{}/reset", self.rooms[at].id));
            testkit::eventually("a reset", || async {
                let (status, told) = self.replica(at % 2).post(host, &path, Value::Null).await;
                if status.is_success() { Ok(()) } else { Err((status, told)) }
            })
            .await;
        }
        self.settle().await;
        assert_eq!(self.livekit.rooms(), [], "MODEL_SEED={}: rooms that nobody needs", self.journal.seed);
        let living = self.livekit.living_rooms();
        assert_eq!(living, [], "MODEL_SEED={}: rooms that Redis has lost", self.journal.seed);
        for held in &self.tokens {
            let joined = self.livekit.join(&held.text);
            assert!(joined.is_err(), "MODEL_SEED={}: an old token: {joined:?}", self.journal.seed);
        }
    }

    /// No background task has panicked.
    pub async fn close(mut self) {
        for replica in self.replicas.drain(..) {
            assert_eq!(replica.stop().await, 0, "a background task panicked");
        }
    }

    pub fn seed(&self) -> u64 {
        self.journal.seed
    }
}

async fn pool(connect: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new().max_connections(2).connect_with(connect.clone()).await.unwrap()
}
