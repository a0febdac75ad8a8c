//! Whatever happens, live rooms come to rest: random people do random things in live rooms over two replicas of every
//! service while everything around them fails at random; then it is quiet, and the invariants hold (I2-I6, I8).
//!
//! A round is one seed: people and rooms of its own, a phase in which nothing fails and answers are foretold, then
//! phases with faults. `MODEL_SEED=7` plays that round alone, `MODEL_SECONDS` or `MODEL_ROUNDS` as many as they allow
//! (`make soak`). The seed decides what is tried and in which order; how parallel requests meet is the machine's.

mod acts;
mod checks;
mod dice;
mod expect;
mod faults;
mod stage;

use std::{
    env,
    time::{Duration, Instant},
};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use self::{dice::Dice, stage::Stage};

/// Rounds that are always played; one that found something joins them.
const KNOWN: [u64; 2] = [1, 2];
/// A round that nobody asked for is not begun later than this.
const USUAL: Duration = Duration::from_secs(30);
/// Phases of a round; in the first one nothing fails.
const PHASES: u64 = 2;
const STEPS: u64 = 40;

/// Which rounds are played, and for how long.
struct Budget {
    seeds: Vec<u64>,
    fresh: u64,
    time: Duration,
}

impl Budget {
    fn from_env() -> Self {
        let setting = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let number = |name: &str| setting(name).map(|value| value.parse::<u64>().expect("a number"));
        let fresh = |rounds, time| Self { seeds: KNOWN.to_vec(), fresh: rounds, time };
        match (number("MODEL_SEED"), number("MODEL_ROUNDS"), number("MODEL_SECONDS")) {
            (Some(seed), rounds, _) => {
                let rounds = usize::try_from(rounds.unwrap_or(1)).unwrap();
                Self { seeds: vec![seed; rounds], fresh: 0, time: Duration::MAX }
            }
            (None, Some(rounds), _) => fresh(rounds, Duration::MAX),
            (None, None, Some(seconds)) => fresh(u64::MAX, Duration::from_secs(seconds)),
            (None, None, None) => fresh(1, USUAL),
        }
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whatever_happens_live_rooms_come_to_rest(_: PgPoolOptions, connect: PgConnectOptions) {
    let Some(mut stage) = Stage::new(&connect).await else { return };
    let (started, budget) = (Instant::now(), Budget::from_env());
    let mut first = rand::random::<u32>();
    let fresh = std::iter::from_fn(|| {
        first = first.wrapping_add(1);
        Some(u64::from(first))
    });
    let rounds = usize::try_from(budget.fresh).unwrap_or(usize::MAX);
    for seed in fresh.take(rounds.min(1)).chain(budget.seeds).collect::<Vec<_>>() {
        if started.elapsed() < budget.time {
            round(&mut stage, seed).await;
        }
    }
    for _ in 1..rounds {
        if started.elapsed() >= budget.time {
            break;
        }
        round(&mut stage, rand::random::<u32>().into()).await;
    }
    stage.close().await;
}

async fn round(stage: &mut Stage, seed: u64) {
    let started = Instant::now();
    println!("model: round MODEL_SEED={seed}");
    let mut dice = Dice::new(seed);
    stage.begin(seed).await;
    for phase in 0..PHASES {
        stage.say(format!("phase {phase}"));
        for _ in 0..STEPS {
            if phase > 0 && dice.one_in(4) {
                stage.befall(&mut dice).await;
            } else {
                stage.step(&mut dice).await;
            }
        }
        stage.come_to_rest(&mut dice).await;
    }
    stage.end_all().await;
    println!("model: round MODEL_SEED={seed} went well in {:?}", started.elapsed());
}
