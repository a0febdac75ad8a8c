//! Real clients on livekit-dev: the cost of their media for the server, and the time to the first frame.
//!
//! The load is `rtc-client` in this process. The server is a separate process, new for each case. Only its CPU time and
//! memory count. With `--livekit-server` the same load goes to a real server in the same run.

mod crowd;
mod server;

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::runtime::Handle;

use self::{
    crowd::{Case, Crowd},
    server::Server,
};
use crate::{fixture::Fixture, load::Load, table::Table};

const CASES: [Case; 4] = [Case::Video, Case::Audio(1), Case::Audio(10), Case::Audio(30)];
/// How often the memory is read while a load lasts.
const READINGS: u32 = 10;
/// How long publishers need to choose their layers.
const SETTLE_TIME: Duration = Duration::from_secs(3);
const KIB: f64 = 1024.0;

pub async fn measure(fixture: &Fixture) -> Result<String> {
    // 30 clients receive more packets than one thread has time for.
    let runtime = tokio::runtime::Runtime::new()?;
    let measured = tables(runtime.handle(), fixture).await;
    runtime.shutdown_background();
    measured
}

async fn tables(load: &Handle, fixture: &Fixture) -> Result<String> {
    let seconds = fixture.settings.steady.as_secs();
    let columns =
        ["", "server", "packets/s out", "Mbit/s out", "lost ‰", "CPU, % of a core", "wanted", "ratio"];
    let mut costs = Table::new(&format!("{seconds} s of media"), &columns);
    let columns = ["", "server", "at the start", "after a tenth", "half", "all", "bytes a packet"];
    let mut memory = Table::new("Memory, MiB resident", &columns);
    for case in CASES {
        let mut first = None;
        for server in Server::all(fixture).await? {
            let flow = flow(load, &server, case, fixture.settings.steady).await?;
            costs.row(&progress(flow.costs(case, server.name, first)));
            memory.row(&progress(flow.memory(case, server.name)));
            first.get_or_insert(flow.cores());
            server.stop().await?;
        }
    }
    let columns =
        ["server", "joins", "connected, p50 ms", "p99 ms", "first frame, p50 ms", "p99 ms", "wanted"];
    let mut joins = Table::new("From a join to the first frame of a camera, one after the other", &columns);
    for server in Server::all(fixture).await? {
        let access = server.access.clone();
        let (connected, first) = load.spawn(crowd::join_times(access)).await??;
        let of = |load: &Load, percent| format!("{:.0}", load.percentile(percent));
        joins.row(&progress(vec![
            server.name.to_owned(),
            first.count().to_string(),
            of(&connected, 50),
            of(&connected, 99),
            of(&first, 50),
            format!("**{}**", of(&first, 99)),
            "≤ 300".to_owned(),
        ]));
        server.stop().await?;
    }
    Ok(format!("## Media\n\n{}\n{}\n{}", costs.finish(), memory.finish(), joins.finish()))
}

/// Prints a row to stderr at once, as the progress of a long run. Returns the row.
fn progress(row: Vec<String>) -> Vec<String> {
    eprintln!("{}", row.join(" | "));
    row
}

/// The traffic during a load, and its cost for the server.
struct Flow {
    seconds: f64,
    packets: u64,
    bytes: u64,
    lost: u64,
    cpu: Duration,
    /// In KiB: before the first client, when all clients are connected, and then at each reading.
    memory: Vec<u64>,
}

async fn flow(load: &Handle, server: &Server, case: Case, time: Duration) -> Result<Flow> {
    let idle = server.usage().memory_kib;
    let crowd = load.spawn(Crowd::gather(server.access.clone(), case)).await?;
    let crowd = crowd.with_context(|| format!("{case} on {}", server.name))?;
    tokio::time::sleep(SETTLE_TIME).await;
    let (before, usage, started) = (crowd.received(), server.usage(), Instant::now());
    let mut memory = vec![idle, usage.memory_kib];
    for _ in 0..READINGS {
        tokio::time::sleep(time / READINGS).await;
        memory.push(server.usage().memory_kib);
    }
    let (seconds, after) = (started.elapsed().as_secs_f64(), crowd.received());
    let cpu = server.usage().cpu.saturating_sub(usage.cpu);
    crowd.complete().with_context(|| format!("{case} on {}", server.name))?;
    Ok(Flow {
        seconds,
        packets: after.packets - before.packets,
        bytes: after.bytes - before.bytes,
        lost: after.lost.saturating_sub(before.lost),
        cpu,
        memory,
    })
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
impl Flow {
    /// How many cores the server kept busy.
    fn cores(&self) -> f64 {
        self.cpu.as_secs_f64() / self.seconds
    }

    /// `first`: the cores of the first server with the same load.
    fn costs(&self, case: Case, server: &str, first: Option<f64>) -> Vec<String> {
        let packets = self.packets as f64;
        vec![
            case.to_string(),
            server.to_owned(),
            format!("{:.0}", packets / self.seconds),
            format!("{:.1}", self.bytes as f64 * 8.0 / 1e6 / self.seconds),
            format!("{:.2}", self.lost as f64 * 1000.0 / packets.max(1.0)),
            format!("**{:.1}**", self.cores() * 100.0),
            if matches!(case, Case::Video) { "≤ 25" } else { "" }.to_owned(),
            first.map_or(String::new(), |first| format!("{:.2}", self.cores() / first)),
        ]
    }

    fn memory(&self, case: Case, server: &str) -> Vec<String> {
        let mib = |at: usize| format!("{:.1}", self.memory.get(at).map_or(0.0, |kib| *kib as f64 / KIB));
        // Growth counts from the first reading: memory that a server takes once is not growth.
        let last = self.memory.len() - 1;
        let grown = self.memory[last].saturating_sub(self.memory[2]) as f64 * KIB;
        let packets = self.packets as f64 * 0.9;
        let each = if self.packets == 0 { String::new() } else { format!("{:.2}", grown / packets) };
        vec![case.to_string(), server.to_owned(), mib(0), mib(2), mib(last.midpoint(1)), mib(last), each]
    }
}
