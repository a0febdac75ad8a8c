//! 5,000 listeners of the listing's changes on one gateway: how long until one change has reached all of them, and what
//! each of them costs the gateway.
//!
//! Only sync and the gateway run. The change is a plain update of a live room. The time counts from before the
//! statement is sent.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Error, Result, ensure};
use sqlx::PgPool;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::JoinSet,
    time::timeout,
};

use crate::{
    events::Events,
    fixture::Fixture,
    live,
    load::{Load, Prepared},
    process::{self, Usage},
    stack::{self, Keys, Stack},
    table::{Table, median},
    users::SignIn,
};

const LISTENERS: u64 = 5_000;
/// Open files of a process in addition to a socket for each listener.
const OTHER_FILES: u64 = 500;
/// Listeners that connect at once.
const CONNECTING: usize = 64;
/// How long a connect may take, and how long a change may take to reach the next listener.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(10);
const SETTLE_TIME: Duration = Duration::from_secs(3);
const PAGE: &str = "/api/v1/live/streams";
/// The start of the changed room's title. The number of the change follows.
const CHANGE: &str = "bench change ";

/// A listener has received a change.
struct Received {
    change: usize,
    at: Instant,
}

pub async fn measure(fixture: &Fixture) -> Result<String> {
    let files = process::allow_files(LISTENERS + OTHER_FILES);
    let wanted = usize::try_from(LISTENERS.min(files.saturating_sub(OTHER_FILES)))?;
    ensure!(wanted > 1, "only {files} open files are allowed here");
    live::seed(&fixture.database.pool, 1).await?;
    live::align_all(&fixture.database.pool).await?;
    let secret = SignIn::hs256();
    let services = ["sync", "gateway"];
    let stack = Stack::some(&fixture.greenroom, &fixture.shared, Keys::Secret(&secret), &services).await?;
    let page = Prepared::get(PAGE.to_owned(), Some(secret.token("first-reader")?));
    stack::wait_until(stack.address, &page, |_| true).await?;

    let (sender, mut received) = unbounded_channel();
    let mut crowd = Crowd { address: stack.address, sender, listening: JoinSet::new(), refused: None };
    crowd.grow(&secret, 1).await?; // the gateway subscribes to sync with the first listener
    tokio::time::sleep(SETTLE_TIME).await;
    let gateway = stack.process("gateway")?;
    let before = gateway.usage();
    crowd.grow(&secret, wanted - 1).await?;
    tokio::time::sleep(SETTLE_TIME).await;
    let silent = gateway.usage();
    let mut rounds = Vec::new();
    for change in 0..fixture.settings.rounds.max(1) {
        rounds.push(reach_all(&fixture.database.pool, change, &mut crowd, &mut received).await?);
    }
    let text = crowd.report(&rounds, [before, silent, gateway.usage()], gateway.files())?;
    crowd.listening.shutdown().await;
    stack.stop().await?;
    Ok(text)
}

/// The listeners.
struct Crowd {
    address: SocketAddr,
    sender: UnboundedSender<Received>,
    listening: JoinSet<Error>,
    /// Why no more listeners could connect.
    refused: Option<Error>,
}

impl Crowd {
    /// Adds this many listeners, each a different user. Adds fewer if the gateway accepts no more.
    async fn grow(&mut self, secret: &SignIn, more: usize) -> Result<()> {
        let there = self.listening.len();
        let (mut opening, mut next) = (JoinSet::new(), there);
        loop {
            while opening.len() < CONNECTING && next < there + more && self.refused.is_none() {
                let (address, bearer) = (self.address, secret.token(&format!("listener-{next}"))?);
                opening.spawn(async move {
                    let opened = timeout(LISTENER_TIMEOUT, Events::open(address, &bearer)).await;
                    opened.with_context(|| format!("no answer within {} s", LISTENER_TIMEOUT.as_secs()))?
                });
                next += 1;
            }
            let Some(opened) = opening.join_next().await else { break };
            match opened? {
                Ok(events) => {
                    self.listening.spawn(listen(events, self.sender.clone()));
                }
                Err(error) => self.refused = Some(error),
            }
            if self.listening.len().is_multiple_of(1000) {
                eprintln!("{} listeners", self.listening.len());
            }
        }
        match &self.refused {
            Some(error) if self.listening.is_empty() => anyhow::bail!("no listener could connect: {error:#}"),
            Some(error) => eprintln!("{} listeners and no more: {error:#}", self.listening.len()),
            None => {}
        }
        Ok(())
    }

    fn report(&self, rounds: &[Load], memory: [Usage; 3], files: usize) -> Result<String> {
        let listeners = self.listening.len();
        let [before, silent, after] = memory;
        ensure!(after.memory_kib > 0, "the gateway has ended; BENCH_LOGS=1 shows why");
        let others = f64::from(u32::try_from(listeners.saturating_sub(1).max(1))?);
        let each = |kib: u64| {
            let more = u32::try_from(kib.saturating_sub(before.memory_kib)).unwrap_or(u32::MAX);
            format!("{:.1}", f64::from(more) / others)
        };
        let of = |value: fn(&Load) -> f64| format!("{:.0}", median(rounds.iter().map(value)));
        let longest = rounds.iter().map(Load::longest).fold(0.0, f64::max);
        let mut table = Table::new(
            &format!("{listeners} listeners ({LISTENERS} wanted), {} changes", rounds.len()),
            &["", "", "wanted"],
        );
        let mut row = |name: &str, value: String, wanted: &str| {
            table.row(&[name.to_owned(), value, wanted.to_owned()]);
        };
        row("all have the change, ms, the slowest change", format!("**{longest:.0}**"), "< 1,000");
        row("the median change", of(Load::longest), "");
        row("half of the listeners have it, ms", of(|load| load.percentile(50)), "");
        row("of the gateway for each listener, KiB, while nothing happens", each(silent.memory_kib), "");
        row("after the changes", format!("**{}**", each(after.memory_kib)), "< 20");
        row("at most", each(after.peak_kib), "");
        row("open files of the gateway", files.to_string(), "");
        let why = match &self.refused {
            Some(error) => format!("\nNo more than {listeners} could listen: {error:#}\n"),
            None => String::new(),
        };
        Ok(format!("## Listeners\n\n{}{why}", table.finish()))
    }
}

/// Listens until the gateway or an error ends the stream.
async fn listen(mut events: Events, sender: UnboundedSender<Received>) -> Error {
    let mut last = None;
    loop {
        let data = match events.next().await {
            Ok(data) => data,
            Err(error) => return error,
        };
        let at = Instant::now();
        if let Some(change) = number(&data).filter(|change| last != Some(*change)) {
            last = Some(change);
            let _ = sender.send(Received { change, at }); // fails only after the measurement has ended
        }
    }
}

/// The number of the change in a row.
fn number(data: &[u8]) -> Option<usize> {
    let begin = data.windows(CHANGE.len()).position(|window| window == CHANGE.as_bytes())? + CHANGE.len();
    let digits = data[begin..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&data[begin..begin + digits]).ok()?.parse().ok()
}

/// Makes one change, and waits until all listeners have received it. Returns their latencies.
async fn reach_all(
    pool: &PgPool,
    change: usize,
    crowd: &mut Crowd,
    received: &mut UnboundedReceiver<Received>,
) -> Result<Load> {
    eprintln!("change {change}");
    let sent = Instant::now();
    sqlx::query!("update live_rooms set title = $1", format!("{CHANGE}{change}")).execute(pool).await?;
    let (mut times, listeners) = (Vec::new(), crowd.listening.len());
    while times.len() < listeners {
        tokio::select! {
            Some(one) = received.recv() => {
                if one.change == change {
                    times.push(one.at - sent);
                }
            }
            Some(lost) = crowd.listening.join_next() => {
                return Err(lost?.context(format!("one of {listeners} listeners was disconnected")));
            }
            () = tokio::time::sleep(LISTENER_TIMEOUT) => {
                anyhow::bail!("after {} s {} of {listeners} had change {change}", LISTENER_TIMEOUT.as_secs(), times.len());
            }
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    Ok(Load::of(times, 0, sent.elapsed()))
}
