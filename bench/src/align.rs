//! Aligning the listing: one sync process writes an empty listing completely. Then a large listing is compared, in the
//! background and by `repair listing` while another client writes.

mod writer;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::AsyncReadExt;

use self::writer::Writer;
use crate::{
    fixture::Fixture,
    live,
    load::Load,
    process::{Process, Usage},
    stack::{Keys, Stack},
    table::Table,
    users::SignIn,
};

const ROOMS: i64 = 100_000;
/// How long an idle process needs to open its connections and to run its first passes.
const SETTLE_TIME: Duration = Duration::from_secs(3);
/// Bounds every step of this part.
const TIMEOUT: Duration = Duration::from_mins(5);
/// How long the background comparison is measured. It runs all the time, over at most 5,000 rows a second.
const WINDOW: Duration = Duration::from_secs(30);

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let secret = SignIn::hs256();
    let keys = Keys::Secret(&secret);
    let stack = Stack::some(&fixture.greenroom, &fixture.shared, keys, &["sync"]).await?;
    let aligned = from_nothing(fixture, stack.process("sync")?).await?;
    stack.stop().await?;

    let rows = fixture.settings.history.max(ROOMS);
    live::seed_more(&fixture.database.pool, ROOMS, rows - ROOMS).await?;
    live::align_all(&fixture.database.pool).await?;
    let stack = Stack::some(&fixture.greenroom, &fixture.shared, keys, &["sync"]).await?;
    let background = background(fixture, stack.process("sync")?, rows).await?;
    let by_hand = by_hand(fixture, rows).await?;
    stack.stop().await?;
    Ok(format!("## Aligning the listing\n\n{aligned}\n{background}\n{by_hand}"))
}

/// The peak of a process's resident memory above its memory `before`, in MiB.
fn extra(before: Usage, after: Usage) -> Result<f64> {
    let extra = after.peak_kib.saturating_sub(before.memory_kib);
    Ok(f64::from(u32::try_from(extra)?) / 1024.0)
}

/// Measures a process that is idle when all marks are committed at once.
async fn from_nothing(fixture: &Fixture, sync: &Process) -> Result<String> {
    let pool = &fixture.database.pool;
    tokio::time::sleep(SETTLE_TIME).await;
    let before = sync.usage();
    let started = live::seed_marked(pool, ROOMS).await?;
    let half = written(pool, ROOMS / 2).await?;
    let in_between = sync.usage();
    written(pool, ROOMS).await?;
    while live::is_marked(pool).await? {
        ensure!(started.elapsed() < TIMEOUT, "marks are left after {} s", TIMEOUT.as_secs());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = started.elapsed();
    let (after, unaligned) = (sync.usage(), live::count_unaligned(pool).await?);
    ensure!(unaligned == 0, "{unaligned} rows are not equal and nothing is marked");
    ensure!(after.peak_kib > 0, "sync has ended; BENCH_LOGS=1 shows why");
    let title = format!("{ROOMS} live rooms, marked, and an empty listing: one process until all are equal");
    let columns = ["s (< 10)", "rows/s", "first half, s", "extra memory at the half, MiB", "at most (< 64)"];
    let mut table = Table::new(&title, &columns);
    #[expect(clippy::cast_precision_loss, reason = "a count of a benchmark")]
    let rate = ROOMS as f64 / took.as_secs_f64();
    table.row(&[
        format!("**{:.2}**", took.as_secs_f64()),
        format!("{rate:.0}"),
        format!("{:.2}", half.saturating_duration_since(started).as_secs_f64()),
        format!("{:.1}", extra(before, in_between)?),
        format!("**{:.1}**", extra(before, after)?),
    ]);
    Ok(table.finish())
}

/// Waits until this many rows are written. It reads the sequence of versions, which costs almost nothing.
async fn written(pool: &sqlx::PgPool, rows: i64) -> Result<Instant> {
    let started = Instant::now();
    loop {
        let version = sqlx::query_scalar!(r#"select last_value as "last_value!" from live_stream_version"#);
        let version = version.fetch_one(pool).await?;
        if version >= rows {
            return Ok(Instant::now());
        }
        if started.elapsed() > TIMEOUT {
            bail!("only {version} of {rows} rows after {} s", TIMEOUT.as_secs());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Measures the CPU time of sync and of its connections while it compares and nothing else runs.
async fn background(fixture: &Fixture, sync: &Process, rows: i64) -> Result<String> {
    eprintln!("the background comparison of {rows} rows for {} s", WINDOW.as_secs());
    tokio::time::sleep(SETTLE_TIME).await;
    let connections = sqlx::query_scalar!(
        r#"select pid as "pid!" from pg_stat_activity
           where datname = current_database() and application_name = $1"#,
        sync::ROLE
    );
    let connections = connections.fetch_all(&fixture.database.pool).await?;
    ensure!(!connections.is_empty(), "sync has no connection");
    let usage = || {
        let pids = connections.iter().filter_map(|&pid| u32::try_from(pid).ok());
        (sync.usage().cpu, pids.map(|pid| Usage::of(pid).cpu).sum::<Duration>())
    };
    let (before, started) = (usage(), Instant::now());
    tokio::time::sleep(WINDOW).await;
    let (after, took) = (usage(), started.elapsed());
    let percent = |after: Duration, before: Duration| {
        format!("{:.2}", after.saturating_sub(before).as_secs_f64() / took.as_secs_f64() * 100.0)
    };
    let title = format!("The background comparison of {rows} rows, with all else that sync does when idle");
    let mut table = Table::new(&title, &["", "% of a core", "wanted"]);
    table.row(&["sync".to_owned(), format!("**{}**", percent(after.0, before.0)), "< 2".to_owned()]);
    table.row(&["its connections in Postgres".to_owned(), percent(after.1, before.1), String::new()]);
    Ok(table.finish())
}

/// Measures `greenroom repair listing` while sync runs and another client writes live rooms all the time.
async fn by_hand(fixture: &Fixture, rows: i64) -> Result<String> {
    let pool = &fixture.database.pool;
    let writer = Writer::start(pool).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let alone = writer.stop().await?;
    let writer = Writer::start(pool).await?;
    eprintln!("repair listing over {rows} rows");
    let started = Instant::now();
    let (output, peak_kib) = repair(fixture).await?;
    let took = started.elapsed().as_secs_f64();
    let meanwhile = writer.stop().await?;
    let compared = format!("Compared {rows} rows\n");
    ensure!(output.starts_with(&compared), "`repair listing` printed {output:?}");
    ensure!(
        output.contains("Marked 0 rows"),
        "the listing was equal, but `repair listing` printed {output:?}"
    );
    let mut table = Table::new(
        &format!("`greenroom repair listing` over {rows} aligned rows, and a writer of live rooms"),
        &["", "s (< 20)", "most memory, MiB", "writes", "write p50 ms", "p99 ms", "longest ms"],
    );
    let mut row = |name: &str, took: String, memory: String, load: &Load| {
        let percentile = |percent| format!("{:.2}", load.percentile(percent));
        let (half, most) = (percentile(50), percentile(99));
        let cells = [name.to_owned(), took, memory, load.count().to_string(), half, most];
        table.row(&cells.into_iter().chain([format!("{:.2}", load.longest())]).collect::<Vec<_>>());
    };
    row("the writer alone, beside sync", String::new(), String::new(), &alone);
    let memory = f64::from(u32::try_from(peak_kib)?) / 1024.0;
    row("while it compares", format!("**{took:.2}**"), format!("{memory:.1}"), &meanwhile);
    Ok(table.finish())
}

/// Runs `repair listing`. Returns its output and its peak of resident memory, sampled every 20 ms.
async fn repair(fixture: &Fixture) -> Result<(String, u64)> {
    let env = [("DATABASE_URL".to_owned(), fixture.shared.database_url.clone())];
    let mut process = Process::start("repair", &fixture.greenroom, &["repair", "listing"], &env)?;
    let mut stdout = process.stdout().context("no stdout")?;
    let (mut output, mut peak_kib) = (String::new(), 0);
    let mut samples = tokio::time::interval(Duration::from_millis(20));
    {
        let mut reading = std::pin::pin!(tokio::time::timeout(TIMEOUT, stdout.read_to_string(&mut output)));
        loop {
            tokio::select! {
                read = &mut reading => {
                    read.with_context(|| format!("not done after {} s", TIMEOUT.as_secs()))??;
                    break;
                }
                _ = samples.tick() => peak_kib = peak_kib.max(process.usage().peak_kib),
            }
        }
    }
    process.stop().await?;
    ensure!(!output.is_empty(), "`repair listing` failed; BENCH_LOGS=1 shows why");
    Ok((output, peak_kib))
}
