//! Going live and ending, 100 times a second: how long after the 201 a broadcast is in the listing, and what is left in
//! the database at the end.
//!
//! Pairs begin at fixed times, whether or not earlier ones have ended. A row counts as visible when a listener of the
//! listing's changes has received its event, which is later than the row itself. For every 20th pair `GET /streams` is
//! polled too, until it has the row.

mod board;
pub mod pair;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use self::{
    board::Board,
    pair::{Host, Pair, Stage},
};
use crate::{
    fixture::{self, Fixture},
    live,
    load::Load,
    stack::{Keys, Stack},
    table::Table,
    users::SignIn,
};

const PER_SECOND: u32 = 100;
/// Pairs in flight at once. If pairs are slower than that allows, the run falls behind its rate.
const WORKERS: usize = 64;
/// Hosts of a worker. They go live in turn.
const HOSTS: usize = 8;
/// How long the listing may take to become equal at the end.
const ALIGNMENT_TIMEOUT: Duration = Duration::from_secs(30);

/// The results of the pairs at one stack.
#[derive(Default)]
struct Measured {
    answered: Load,
    notified: Load,
    listed: Load,
    missed: usize,
}

/// What the pairs leave in the database.
struct Leftovers {
    aligned_after: f64,
    unaligned: i64,
    stuck: i64,
    open: i64,
    duplicates: i64,
}

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let columns =
        ["", "pairs/s (100)", "201, p50 ms", "p99", "failed", "event, p50 ms (≤ 20)", "p99 (≤ 100)"];
    let columns = [&columns[..], &["listed, p50 ms (≤ 20)", "p99 (≤ 100)", "never seen (0)"]].concat();
    let title =
        format!("Go live and end for {} s: from the 201 to the listing", fixture.settings.steady.as_secs());
    let mut speed = Table::new(&title, &columns);
    let columns =
        ["", "s until equal", "rows unequal (0)", "stuck (0)", "open (0)", "duplicate sessions (0)"];
    let mut left = Table::new("What is left", &columns);

    let split = Stack::split(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret)).await?;
    one(fixture, &split, ("split", "services in their own processes"), &secret, (&mut speed, &mut left))
        .await?;
    split.stop().await?;
    let directory = fixture::directory("golive")?;
    let up = Stack::up(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret), &directory).await?;
    one(fixture, &up, ("up", "`greenroom up`"), &secret, (&mut speed, &mut left)).await?;
    up.stop().await?;
    fixture::remove(&directory);
    Ok(format!("## Going live\n\n{}\n{}", speed.finish(), left.finish()))
}

async fn one(
    fixture: &Fixture,
    stack: &Stack,
    (key, name): (&str, &str),
    secret: &SignIn,
    (speed, left): (&mut Table, &mut Table),
) -> Result<()> {
    eprintln!("{name}: {PER_SECOND} pairs a second for {} s", fixture.settings.steady.as_secs());
    let measured = pairs(fixture, stack, key, secret).await.with_context(|| format!("at {name}"))?;
    speed.row(&measured.cells(name));
    left.row(&check_leftovers(fixture, key).await?.cells(name));
    Ok(())
}

async fn pairs(fixture: &Fixture, stack: &Stack, key: &str, secret: &SignIn) -> Result<Measured> {
    eprintln!("creating the rooms of {} hosts", WORKERS * HOSTS);
    let mut hosts = Vec::new();
    for number in 0..WORKERS * HOSTS {
        hosts.push(Host::with_room(stack.address, secret, &format!("{key}-host-{number}")).await?);
    }
    let (board, watching) = Board::open(stack.address, &secret.token("listener")?).await?;
    let stage = Arc::new(Stage::new(stack.address, key, board, fixture.settings.steady, PER_SECOND));
    let mut workers = tokio::task::JoinSet::new();
    while !hosts.is_empty() {
        let own = hosts.split_off(hosts.len().saturating_sub(HOSTS));
        workers.spawn(pair::work(Arc::clone(&stage), own));
    }
    let started = Instant::now();
    let working = async {
        let mut pairs = Vec::new();
        while let Some(worker) = workers.join_next().await {
            pairs.extend(worker??);
        }
        anyhow::Ok(pairs)
    };
    let pairs = tokio::select! {
        pairs = working => pairs?,
        ended = watching => return Err(ended?.context("the listener of changes")),
    };
    Measured::of(pairs, started.elapsed())
}

impl Measured {
    fn of(pairs: Vec<Pair>, time: Duration) -> Result<Self> {
        let started = pairs.len();
        let (mut answered, mut notified, mut listed, mut missed) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut failed = 0;
        for pair in pairs {
            let Pair::Completed(completed) = pair else {
                failed += 1;
                continue;
            };
            answered.push(completed.answered);
            notified.extend(completed.notified);
            listed.extend(completed.listed);
            failed += usize::from(!completed.ended);
            missed += usize::from(completed.missed);
        }
        ensure!(
            !notified.is_empty(),
            "none of the {started} broadcasts appeared in the listing ({failed} failed)"
        );
        Ok(Self {
            answered: Load::of(answered, failed, time),
            notified: Load::of(notified, missed, time),
            listed: Load::of(listed, 0, time),
            missed,
        })
    }

    fn cells(&self, name: &str) -> Vec<String> {
        let percentile = |load: &Load, percent| format!("{:.1}", load.percentile(percent));
        vec![
            name.to_owned(),
            format!("{:.1}", self.answered.per_second()),
            percentile(&self.answered, 50),
            percentile(&self.answered, 99),
            self.answered.failed.to_string(),
            format!("**{}**", percentile(&self.notified, 50)),
            format!("**{}**", percentile(&self.notified, 99)),
            percentile(&self.listed, 50),
            percentile(&self.listed, 99),
            self.missed.to_string(),
        ]
    }
}

/// Waits until the listing is equal and no mark is left, at most [`ALIGNMENT_TIMEOUT`]. Then counts what is left.
async fn check_leftovers(fixture: &Fixture, key: &str) -> Result<Leftovers> {
    let (pool, started) = (&fixture.database.pool, Instant::now());
    let mut unaligned = live::count_unaligned(pool).await?;
    while (unaligned > 0 || live::is_marked(pool).await?) && started.elapsed() < ALIGNMENT_TIMEOUT {
        tokio::time::sleep(Duration::from_millis(20)).await;
        unaligned = live::count_unaligned(pool).await?;
    }
    let aligned_after = started.elapsed().as_secs_f64();
    let sessions = sqlx::query!(
        r#"select count(*) filter (where status in ('scheduled', 'lobby', 'live')) as "open!",
                  count(*) - count(distinct session_title) as "duplicates!"
           from live_room_sessions where session_title like $1"#,
        format!("{key}-broadcast-%")
    );
    let sessions = sessions.fetch_one(pool).await?;
    let stuck = sqlx::query_scalar!(r#"select count(*) as "stuck!" from stale_live_rooms"#);
    Ok(Leftovers {
        aligned_after,
        unaligned,
        stuck: stuck.fetch_one(pool).await?,
        open: sessions.open,
        duplicates: sessions.duplicates,
    })
}

impl Leftovers {
    fn cells(&self, name: &str) -> Vec<String> {
        let counts = [self.unaligned, self.stuck, self.open, self.duplicates];
        let first = [name.to_owned(), format!("{:.2}", self.aligned_after)];
        first.into_iter().chain(counts.map(|count| format!("**{count}**"))).collect()
    }
}
