//! A pair: a host goes live, appears in the listing, and ends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use super::board::Board;
use crate::{
    load::{Connection, Prepared, once},
    users::SignIn,
};

/// For every 20th pair, `GET /streams` is polled as well.
const SAMPLE: u32 = 20;
/// A broadcast that takes longer to appear counts as missed.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(10);
const LISTING: &str = "/api/v1/live/streams?status=live&limit=100";

pub struct Host {
    bearer: String,
    room: String,
}

impl Host {
    pub async fn with_room(address: SocketAddr, secret: &SignIn, user: &str) -> Result<Self> {
        let bearer = secret.token(user)?;
        let mine = Prepared::get("/api/v1/live/rooms/me".to_owned(), Some(bearer.clone()));
        let (status, body) = once(address, &mine).await?;
        let text = String::from_utf8_lossy(&body);
        ensure!(status == StatusCode::OK, "the room of {user}: {status} {text}");
        let answer: Value = serde_json::from_slice(&body)?;
        let room = answer["room"]["id"].as_str().context("a room without an id")?.to_owned();
        Ok(Self { bearer, room })
    }

    pub fn post(&self, verb: &str, body: String) -> Prepared {
        let path = format!("/api/v1/live/rooms/{}/{verb}", self.room);
        Prepared::post(path, Some(self.bearer.clone()), body)
    }
}

/// What all workers share: the number of the next pair, and the board.
pub struct Stage {
    address: SocketAddr,
    key: String,
    board: Board,
    started: Instant,
    /// The time between the starts of two pairs.
    interval: Duration,
    pairs: u32,
    next: AtomicU32,
}

pub enum Pair {
    Completed(Completed),
    /// The answer was not 201.
    Refused,
}

pub struct Completed {
    /// From the request to the 201.
    pub answered: Duration,
    /// From the 201 to the event. None if no event came in time.
    pub notified: Option<Duration>,
    /// From the 201 to the row in the listing. None if the listing was not polled, or had no row in time.
    pub listed: Option<Duration>,
    /// The event did not come in time, or the polled listing had no row.
    pub missed: bool,
    pub ended: bool,
}

impl Stage {
    pub fn new(address: SocketAddr, key: &str, board: Board, time: Duration, per_second: u32) -> Self {
        let pairs = per_second.saturating_mul(u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        let (started, next) = (Instant::now(), AtomicU32::new(0));
        let interval = Duration::from_secs(1) / per_second;
        Self { address, key: key.to_owned(), board, started, interval, pairs, next }
    }

    /// Waits until the next pair is due, and returns its number. None after the last one.
    async fn next_number(&self) -> Option<u32> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if number >= self.pairs {
            return None;
        }
        tokio::time::sleep_until((self.started + self.interval * number).into()).await;
        if number.is_multiple_of(1000) {
            eprintln!("pair {number} of {}", self.pairs);
        }
        Some(number)
    }

    async fn pair(&self, connection: &mut Connection, host: &Host, number: u32) -> Result<Pair> {
        let title = format!("{}-broadcast-{number}", self.key);
        let notified = self.board.expect(&title);
        let sent = Instant::now();
        let body = json!({ "session_title": title }).to_string();
        let (status, answer) = connection.ask(&host.post("sessions", body)).await?;
        let answered = Instant::now();
        if status != StatusCode::CREATED {
            eprintln!("{title}: {status} {}", String::from_utf8_lossy(&answer));
            self.board.forget(&title);
            connection.ask(&host.post("end", String::new())).await?; // ends any open session for the next pair
            return Ok(Pair::Refused);
        }
        let is_sample = number.is_multiple_of(SAMPLE);
        let (notified, listed) = tokio::join!(
            async { tokio::time::timeout(VISIBILITY_TIMEOUT, notified).await.ok().and_then(Result::ok) },
            async { if is_sample { listed(connection, host, &title).await } else { Ok(None) } },
        );
        let listed = listed?;
        self.board.forget(&title);
        let (status, _) = connection.ask(&host.post("end", String::new())).await?;
        let since = |at: Instant| at.saturating_duration_since(answered);
        Ok(Pair::Completed(Completed {
            answered: answered - sent,
            missed: notified.is_none() || (is_sample && listed.is_none()),
            notified: notified.map(since),
            listed: listed.map(since),
            ended: status == StatusCode::OK,
        }))
    }
}

/// Polls the live rooms, the latest first, until this one is among them.
async fn listed(connection: &mut Connection, host: &Host, title: &str) -> Result<Option<Instant>> {
    #[derive(Deserialize)]
    struct Page {
        streams: Vec<Row>,
    }
    #[derive(Deserialize)]
    struct Row {
        title: String,
    }
    let (page, started) = (Prepared::get(LISTING.to_owned(), Some(host.bearer.clone())), Instant::now());
    while started.elapsed() < VISIBILITY_TIMEOUT {
        let (status, body) = connection.ask(&page).await?;
        ensure!(status == StatusCode::OK, "{LISTING}: {status} {}", String::from_utf8_lossy(&body));
        let at = Instant::now();
        if serde_json::from_slice::<Page>(&body)?.streams.iter().any(|row| row.title == title) {
            return Ok(Some(at));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(None)
}

/// Runs a worker: its hosts go live in turn, over one connection.
pub async fn work(stage: Arc<Stage>, hosts: Vec<Host>) -> Result<Vec<Pair>> {
    let mut connection = Connection::open(stage.address).await?;
    let mut pairs = Vec::new();
    for host in hosts.iter().cycle() {
        let Some(number) = stage.next_number().await else { break };
        let pair = stage.pair(&mut connection, host, number).await;
        pairs.push(pair.with_context(|| format!("pair {number} of {}", stage.key))?);
    }
    Ok(pairs)
}
