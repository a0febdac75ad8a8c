//! Live rooms recover from random faults. Random users make random requests in live rooms over two replicas of every
//! service, while LiveKit, the database and the replicas fail at random. Then the faults end, and the invariants must
//! hold (I2-I6, I8, I9).
//!
//! A round has one seed and its own users and rooms. In its first phase nothing fails and the model predicts the
//! answers. Later phases have faults. `MODEL_SEED=7` plays only that round. `MODEL_SECONDS` and `MODEL_ROUNDS` limit
//! the number of rounds (`make soak`). Some users are simulated on LiveKit, others have clients with media. The seed
//! and the current participants decide what is tried. The machine decides the timing and the order of parallel
//! requests. Each step has its own dice, so that a difference does not spread to later steps.

mod acts;
mod checks;
mod dice;
mod expect;
mod faults;
mod membership;
mod moderation;
mod stage;
mod tabs;

use std::{
    env,
    time::{Duration, Instant},
};

use livekit_dev::Store;
use sqlx::postgres::PgConnectOptions;

use self::{dice::Dice, stage::Stage};

/// Seeds that every run plays, after one random seed.
const KNOWN: [u64; 2] = [1, 2];
/// Without settings, no round begins later than this.
const DEFAULT_TIME: Duration = Duration::from_secs(35);
/// Phases of a round. In the first one nothing fails.
const PHASES: u64 = 2;
const STEPS: u64 = 60;

/// The rounds that are played, and for how long.
struct Budget {
    seed: Option<u64>,
    rounds: u64,
    time: Duration,
}

impl Budget {
    fn from_env() -> Self {
        let setting = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str| setting(name).map(|value| value.parse::<u64>().expect("a number"));
        let (rounds, seconds) = (number("MODEL_ROUNDS"), number("MODEL_SECONDS").map(Duration::from_secs));
        match number("MODEL_SEED") {
            Some(seed) => Self { seed: Some(seed), rounds: rounds.unwrap_or(1), time: Duration::MAX },
            None if rounds.is_none() && seconds.is_none() => {
                Self { seed: None, rounds: 3, time: DEFAULT_TIME }
            }
            None => {
                let (rounds, time) = (rounds.unwrap_or(u64::MAX), seconds.unwrap_or(Duration::MAX));
                Self { seed: None, rounds, time }
            }
        }
    }

    fn seed_of(&self, round: u64) -> u64 {
        let known = usize::try_from(round).ok().and_then(|round| KNOWN.get(round.checked_sub(1)?));
        self.seed.or(known.copied()).unwrap_or_else(|| rand::random::<u32>().into())
    }
}

#[testkit::test]
async fn live_rooms_recover_from_random_faults(connect: PgConnectOptions) {
    play(&connect, Store::Memory).await;
}

#[testkit::test]
async fn live_rooms_recover_from_random_faults_with_redis(connect: PgConnectOptions) {
    play(&connect, Store::RedisLike).await;
}

async fn play(connect: &PgConnectOptions, store: Store) {
    let Some(mut stage) = Box::pin(Stage::new(connect, store)).await else { return };
    let (started, budget) = (Instant::now(), Budget::from_env());
    for number in 0..budget.rounds {
        if number > 0 && started.elapsed() >= budget.time {
            break;
        }
        round(&mut stage, budget.seed_of(number)).await;
    }
    stage.close().await;
}

async fn round(stage: &mut Stage, seed: u64) {
    let started = Instant::now();
    println!("model: round MODEL_SEED={seed}");
    stage.begin(seed).await;
    for phase in 0..PHASES {
        stage.say(format!("phase {phase}"));
        for step in 0..STEPS {
            let mut dice = Dice::of(seed, phase, step);
            if phase > 0 && dice.one_in(4) {
                stage.inject_fault(&mut dice).await;
            } else {
                stage.step(&mut dice).await;
            }
            if dice.one_in(3) {
                // Passes run once a second: the pause lets some of them run between steps.
                tokio::time::sleep(Duration::from_millis(20) * u32::try_from(dice.roll(12)).unwrap()).await;
            }
        }
        stage.recover(&mut Dice::of(seed, phase, STEPS)).await;
    }
    stage.end_all().await;
    println!("model: round MODEL_SEED={seed} passed in {:?}", started.elapsed());
}
