//! Whatever happens, live rooms come to rest: random people do random things in live rooms over two replicas of every
//! service while everything around them fails at random; then it is quiet, and the invariants hold (I2-I6, I8, I9).
//!
//! A round is one seed: people and rooms of its own, a phase in which nothing fails and answers are foretold, then
//! phases with faults. `MODEL_SEED=7` plays that round alone, `MODEL_SECONDS` or `MODEL_ROUNDS` as many as they allow
//! (`make soak`). Some of the people are simulated on LiveKit, others have clients with media. The seed and who is inside by then decide what is tried; when that is, and how parallel requests
//! meet, is the machine's. Each step has dice of its own, so that a difference stays within its step.

mod acts;
mod checks;
mod deeds;
mod dice;
mod expect;
mod faults;
mod stage;
mod standing;
mod tabs;

use std::{
    env,
    time::{Duration, Instant},
};

use livekit_dev::Store;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::{dice::Dice, stage::Stage};

/// Rounds that are played again and again, after one that nobody has seen yet.
const KNOWN: [u64; 2] = [1, 2];
/// Of those few no round is begun later than this.
const USUAL: Duration = Duration::from_secs(35);
/// Phases of a round; in the first one nothing fails.
const PHASES: u64 = 2;
const STEPS: u64 = 60;

/// Which rounds are played, and for how long.
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
            None if rounds.is_none() && seconds.is_none() => Self { seed: None, rounds: 3, time: USUAL },
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

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whatever_happens_live_rooms_come_to_rest(_: PgPoolOptions, connect: PgConnectOptions) {
    play(&connect, Store::Memory).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whatever_happens_beside_redis_they_come_to_rest(_: PgPoolOptions, connect: PgConnectOptions) {
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
                stage.befall(&mut dice).await;
            } else {
                stage.step(&mut dice).await;
            }
            if dice.one_in(3) {
                // Passes come once a second: some of them come in between.
                tokio::time::sleep(Duration::from_millis(20) * u32::try_from(dice.roll(12)).unwrap()).await;
            }
        }
        stage.come_to_rest(&mut Dice::of(seed, phase, STEPS)).await;
    }
    stage.end_all().await;
    println!("model: round MODEL_SEED={seed} went well in {:?}", started.elapsed());
}
