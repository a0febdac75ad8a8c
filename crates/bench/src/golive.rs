//! Going live and ending, 100 times a second: how long after its 201 a broadcast stands in the listing, and what is
//! left when all is over.
//!
//! Pairs begin at fixed times, whatever became of those before. A row has become visible when one listener of the
//! listing's changes has been told of it, which is later than the row itself; of every 20th pair `GET /streams` is
//! asked too, again and again, until it has the row.

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
    ground::{self, Ground},
    live,
    load::Load,
    people::SignIn,
    stack::{Keys, Stack},
    table::Table,
};

const PER_SECOND: u32 = 100;
/// Pairs under way at once: what is slower than that falls behind the rate.
const WORKERS: usize = 64;
/// Each of a worker's hosts goes live in turn.
const HOSTS: usize = 8;
/// How long the listing may take to be equal at the end.
const AT_THE_END: Duration = Duration::from_secs(30);

/// What the pairs at one stack came to.
#[derive(Default)]
struct Measured {
    answered: Load,
    told: Load,
    listed: Load,
    unseen: usize,
}

/// What is left of them in the database.
struct Left {
    aligned_after: f64,
    unaligned: i64,
    stuck: i64,
    open: i64,
    duplicates: i64,
}

pub async fn measure(ground: &Ground) -> Result<String> {
    let secret = SignIn::hs256();
    let columns =
        ["", "pairs/s (100)", "201, p50 ms", "p99", "failed", "event, p50 ms (≤ 20)", "p99 (≤ 100)"];
    let columns = [&columns[..], &["listed, p50 ms (≤ 20)", "p99 (≤ 100)", "never seen (0)"]].concat();
    let title =
        format!("Go live and end for {} s: from the 201 to the listing", ground.asked.steady.as_secs());
    let mut speed = Table::new(&title, &columns);
    let columns =
        ["", "s until equal", "rows unequal (0)", "stuck (0)", "open (0)", "duplicate sessions (0)"];
    let mut left = Table::new("What is left", &columns);

    let split = Stack::split(&ground.greenroom, &ground.shared, Keys::Secret(&secret)).await?;
    one(ground, &split, ("split", "services in their own processes"), &secret, (&mut speed, &mut left))
        .await?;
    split.stop().await?;
    let directory = ground::directory("golive")?;
    let up = Stack::up(&ground.greenroom, &ground.shared, Keys::Secret(&secret), &directory).await?;
    one(ground, &up, ("up", "`greenroom up`"), &secret, (&mut speed, &mut left)).await?;
    up.stop().await?;
    ground::remove(&directory);
    Ok(format!("## Going live\n\n{}\n{}", speed.finish(), left.finish()))
}

async fn one(
    ground: &Ground,
    stack: &Stack,
    (key, name): (&str, &str),
    secret: &SignIn,
    (speed, left): (&mut Table, &mut Table),
) -> Result<()> {
    eprintln!("{name}: {PER_SECOND} pairs a second for {} s", ground.asked.steady.as_secs());
    let measured = pairs(ground, stack, key, secret).await.with_context(|| format!("at {name}"))?;
    speed.row(&measured.cells(name));
    left.row(&look(ground, key).await?.cells(name));
    Ok(())
}

async fn pairs(ground: &Ground, stack: &Stack, key: &str, secret: &SignIn) -> Result<Measured> {
    eprintln!("{} hosts get their rooms", WORKERS * HOSTS);
    let mut hosts = Vec::new();
    for number in 0..WORKERS * HOSTS {
        hosts.push(Host::with_room(stack.address, secret, &format!("{key}-host-{number}")).await?);
    }
    let (board, watching) = Board::open(stack.address, &secret.token("listener")?).await?;
    let stage = Arc::new(Stage::new(stack.address, key, board, ground.asked.steady, PER_SECOND));
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
        let asked = pairs.len();
        let (mut answered, mut told, mut listed, mut unseen) = (Vec::new(), Vec::new(), Vec::new(), 0);
        let mut failed = 0;
        for pair in pairs {
            let Pair::Went(went) = pair else {
                failed += 1;
                continue;
            };
            answered.push(went.answered);
            told.extend(went.told);
            listed.extend(went.listed);
            failed += usize::from(!went.ended);
            unseen += usize::from(went.unseen);
        }
        ensure!(!told.is_empty(), "of {asked} broadcasts not one was seen in the listing ({failed} failed)");
        Ok(Self {
            answered: Load::of(answered, failed, time),
            told: Load::of(told, unseen, time),
            listed: Load::of(listed, 0, time),
            unseen,
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
            format!("**{}**", percentile(&self.told, 50)),
            format!("**{}**", percentile(&self.told, 99)),
            percentile(&self.listed, 50),
            percentile(&self.listed, 99),
            self.unseen.to_string(),
        ]
    }
}

/// Looks until nothing more happens, at most [`AT_THE_END`].
async fn look(ground: &Ground, key: &str) -> Result<Left> {
    let (pool, started) = (&ground.database.pool, Instant::now());
    let mut unaligned = live::count_unaligned(pool).await?;
    while (unaligned > 0 || live::is_marked(pool).await?) && started.elapsed() < AT_THE_END {
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
    Ok(Left {
        aligned_after,
        unaligned,
        stuck: stuck.fetch_one(pool).await?,
        open: sessions.open,
        duplicates: sessions.duplicates,
    })
}

impl Left {
    fn cells(&self, name: &str) -> Vec<String> {
        let counts = [self.unaligned, self.stuck, self.open, self.duplicates];
        let first = [name.to_owned(), format!("{:.2}", self.aligned_after)];
        first.into_iter().chain(counts.map(|count| format!("**{count}**"))).collect()
    }
}
