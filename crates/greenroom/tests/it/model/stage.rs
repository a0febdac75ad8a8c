//! The fixture of a round: one LiveKit, one database, two replicas that reach it over a wire each, the users and rooms
//! of the round, and a journal that is printed when an assertion fails.

use std::{
    env,
    time::{Duration, Instant},
};

use chassis::clock::Clock;
use gateway::Rate;
use livekit_dev::{LiveKitDev, Order, Redis, Store, Switches, WebhookFault};
use reqwest::Client;
use serde_json::Value;
use sqlx::{PgPool, postgres::PgConnectOptions};
use testkit::Wire;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{acts::Key, checks, dice::Dice, expect::On, membership::Membership, tabs::Tabs};
use crate::world::{Replica, World};

pub const ROOMS: usize = 3;
const USERS: usize = 7;
/// The users with clients that have media: a host, and two others.
const WITH_CLIENTS: [usize; 3] = [0, 5, 6];
/// Pools test a connection before use once it was idle for 5 s. Until then a request may fail on a connection that was
/// cut.
const RECONNECT_TIME: Duration = Duration::from_secs(6);
/// A jump of the clock after which leases, back-offs, held seats and stale participants have expired.
const EXPIRY_JUMP: time::Duration = time::Duration::seconds(61);
/// Bounds two passes, presence that needs two checks 5 s apart, and an announced end of 20 s, on a busy machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_mins(1);

pub struct Stage {
    world: World,
    pub livekit: LiveKitDev,
    pub wires: Vec<Wire>,
    replicas: Vec<Replica>,
    pub http: Client,
    offset: time::Duration,
    cut_at: Option<Instant>,
    /// A fault was injected since the last recovery.
    pub has_faults: bool,
    pub users: Vec<String>,
    pub rooms: Vec<Room>,
    pub tokens: Vec<Token>,
    pub tabs: Tabs,
    journal: Journal,
}

/// A live room of the round. Its host is the user with the same number.
pub struct Room {
    pub id: Uuid,
    pub on: On,
    pub keys: Vec<Key>,
    /// The state of each user in the room.
    pub membership: Vec<Membership>,
}

/// A token that a user received.
#[derive(Clone)]
pub struct Token {
    pub room: usize,
    pub room_name: String,
    pub identity: String,
    pub text: String,
    pub given: OffsetDateTime,
}

/// What was done in the round. It is printed when the test panics, or when `MODEL_JOURNAL` is set.
#[derive(Default)]
struct Journal {
    seed: u64,
    lines: Vec<String>,
}

impl Drop for Journal {
    fn drop(&mut self) {
        if std::thread::panicking() || env::var_os("MODEL_JOURNAL").is_some() {
            println!("model: the steps of this round:\n  {}", self.lines.join("\n  "));
            println!("model: repeat it with MODEL_SEED={}", self.seed);
        }
    }
}

impl Stage {
    /// Starts the replicas. Returns None against a real LiveKit server, into which no faults can be injected.
    pub async fn new(connect: &PgConnectOptions, store: Store) -> Option<Self> {
        let database = format!("{}:{}", connect.get_host(), connect.get_port());
        let wires = vec![Wire::to(database.clone()).await, Wire::to(database).await];
        let mut world = match store {
            Store::Memory => World::new(connect).await,
            Store::RedisLike => World::redis_like(connect).await,
        };
        let livekit = world.stand_in()?.clone();
        // Three hosts send all requests of moderation, without pauses.
        world.services.gateway.rates.moderation = Rate::new(1_000, 1_000);
        let mut stage = Self {
            world,
            livekit,
            wires,
            replicas: Vec::new(),
            http: Client::new(),
            offset: time::Duration::ZERO,
            cut_at: None,
            has_faults: false,
            users: Vec::new(),
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

    /// Starts a replica that reaches the database over this wire.
    async fn start(&mut self, at: usize) -> Replica {
        let through = self.world.connect.clone().host("127.0.0.1").port(self.wires[at].address.port());
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

    /// Reaches the database without a wire.
    pub fn pool(&self) -> &PgPool {
        &self.world.pool
    }

    pub fn replica(&self, at: usize) -> &Replica {
        &self.replicas[at]
    }

    /// Approximately the database's current time.
    pub fn now(&self) -> OffsetDateTime {
        Clock::default().now() + self.offset
    }

    /// Whether every request should succeed: no fault is active, and no cut connection is left in a pool.
    pub fn is_calm(&self) -> bool {
        !self.has_faults && self.cut_at.is_none_or(|at| at.elapsed() > RECONNECT_TIME)
    }

    /// Begins a round with new users, and a room for each of the first [`ROOMS`] users.
    pub async fn begin(&mut self, seed: u64) {
        self.journal = Journal { seed, lines: Vec::new() };
        let number = Uuid::new_v4().simple().to_string();
        self.users = (0..USERS).map(|n| format!("p{n}-{seed}-{}", &number[..6])).collect();
        (self.rooms, self.tokens, self.tabs) = (Vec::new(), Vec::new(), Tabs::default());
        for host in &self.users[..ROOMS] {
            let id = testkit::eventually("the host's room", || async {
                let (status, answer) = self.replica(0).get(host, "/api/v1/live/rooms/me").await;
                answer["room"]["id"].as_str().map(ToOwned::to_owned).ok_or((status, answer))
            })
            .await;
            let membership = vec![Membership::default(); USERS];
            self.rooms.push(Room { id: id.parse().unwrap(), on: On::Idle, keys: Vec::new(), membership });
        }
    }

    /// Joins with a client if the token's user has one. Returns whether they have one.
    pub fn open_tab(&mut self, held: &Token) -> bool {
        let has_client = WITH_CLIENTS.iter().any(|who| self.users[*who] == held.identity);
        if has_client {
            self.tabs.open(&self.world.services.room.livekit, held);
        }
        has_client
    }

    /// Ends the faults that LiveKit's API shows. The other switches are faults of webhooks, and end with the phase.
    pub fn make_livekit_answer(&self) {
        self.livekit.faults().clear();
        self.livekit.set_switches(Switches { redis: Redis::Works, ..self.livekit.switches() });
    }

    /// Kills a replica and starts another one in its place.
    pub async fn kill(&mut self, at: usize) {
        self.make_livekit_answer(); // a starting replica waits until LiveKit answers
        // Before the replica starts, because it needs the database.
        self.wires[at].join();
        self.replicas.remove(at).kill();
        let replica = self.start(at).await;
        self.livekit.set_webhook_urls(vec![format!("{}/api/v1/livekit/webhook", replica.url)]);
        self.replicas.insert(at, replica);
        self.rooms.iter_mut().for_each(|room| room.on = On::Unknown);
    }

    /// Moves the database's clock forward. Only new connections of services observe it, so theirs are cut.
    pub async fn jump(&mut self, by: time::Duration) {
        self.offset += by;
        self.wires.iter().for_each(Wire::cut);
        testkit::advance_database_clock(self.pool(), self.offset).await;
        self.world.advance(by);
        self.wires.iter().for_each(Wire::join);
        self.was_cut();
    }

    pub fn was_cut(&mut self) {
        self.cut_at = Some(Instant::now());
    }

    /// Ends all faults, though webhooks may stay lost, and waits until the invariants hold.
    pub async fn recover(&mut self, dice: &mut Dice) {
        self.livekit.faults().clear();
        // Faults end before the clock jumps: what waited for LiveKit can then go on.
        self.livekit.set_switches(Switches::default());
        self.livekit.clear_mishaps();
        if dice.one_in(2) {
            self.say("no more faults, but webhooks are lost".to_owned());
            self.livekit.inject_webhook_fault(WebhookFault::Drop);
        } else {
            self.say("no more faults".to_owned());
        }
        self.livekit.release_webhooks(Order::Shuffled);
        self.jump(EXPIRY_JUMP).await;
        self.excluded_users_return();
        self.await_invariants().await;
        self.livekit.clear_mishaps();
        self.read_states().await;
        self.check_memberships().await;
    }

    /// Waits until two checks in a row find no violation.
    async fn await_invariants(&mut self) {
        let (started, mut passed) = (Instant::now(), 0);
        loop {
            let wrong = checks::violations(self.pool(), &self.livekit).await;
            // Two, because a violation may be between two passes when the first check looks.
            passed = if wrong.is_empty() { passed + 1 } else { 0 };
            if passed == 2 {
                break;
            }
            assert!(
                started.elapsed() < RECOVERY_TIMEOUT,
                "MODEL_SEED={}: violations after {RECOVERY_TIMEOUT:?}:\n{}",
                self.journal.seed,
                wrong.join("\n")
            );
            let pause = if passed == 0 { Duration::from_millis(200) } else { Duration::from_millis(1_500) };
            tokio::time::sleep(pause).await;
        }
        self.say(format!("recovered after {:?}", started.elapsed()));
        self.has_faults = false;
    }

    /// Learns the state of each room from the answers to its host.
    async fn read_states(&mut self) {
        let now = self.now();
        for at in 0..self.rooms.len() {
            let (host, path) = (&self.users[at], format!("/api/v1/live/rooms/{}/state", self.rooms[at].id));
            let answer = testkit::eventually("the state of a room", || async {
                let (status, answer) = self.replica(at % 2).get(host, &path).await;
                if status.is_success() { Ok(answer) } else { Err((status, answer)) }
            })
            .await;
            assert_eq!(answer["room"]["current_session_id"], answer["session"]["id"], "{answer}");
            self.rooms[at].on = On::from_body(&answer, now);
        }
    }

    /// Ends all sessions, and checks that no room is left on LiveKit and that no token opens one.
    pub async fn end_all(&mut self) {
        for at in 0..self.rooms.len() {
            let (host, path) = (&self.users[at], format!("/api/v1/live/rooms/{}/reset", self.rooms[at].id));
            testkit::eventually("a reset", || async {
                let (status, answer) = self.replica(at % 2).post(host, &path, Value::Null).await;
                if status.is_success() { Ok(()) } else { Err((status, answer)) }
            })
            .await;
        }
        self.await_invariants().await;
        assert_eq!(self.livekit.rooms(), [], "MODEL_SEED={}: rooms without an owner", self.journal.seed);
        let living = self.livekit.living_rooms();
        assert_eq!(living, [], "MODEL_SEED={}: rooms that Redis has lost", self.journal.seed);
        for held in &self.tokens {
            let joined = self.livekit.join(&held.text);
            assert!(joined.is_err(), "MODEL_SEED={}: an old token: {joined:?}", self.journal.seed);
        }
    }

    /// Stops the replicas, and checks that no background task has panicked.
    pub async fn close(mut self) {
        for replica in self.replicas.drain(..) {
            assert_eq!(replica.stop().await, 0, "a background task panicked");
        }
    }

    pub fn seed(&self) -> u64 {
        self.journal.seed
    }
}
