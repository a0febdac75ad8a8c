//! Load: a bounded number of keep-alive connections that send requests without a pause, for a bounded time.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// A request that can be sent repeatedly.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub method: Method,
    pub path: String,
    /// The value of the header.
    pub authorization: Option<String>,
    pub body: Bytes,
}

impl Prepared {
    pub fn get(path: String, bearer: Option<String>) -> Self {
        let authorization = bearer.map(|token| format!("Bearer {token}"));
        Self { method: Method::GET, path, authorization, body: Bytes::new() }
    }

    pub fn post(path: String, bearer: Option<String>, body: String) -> Self {
        Self { method: Method::POST, body: Bytes::from(body), ..Self::get(path, bearer) }
    }

    fn request(&self, address: SocketAddr) -> Result<Request<Full<Bytes>>> {
        let mut request =
            Request::builder().method(&self.method).uri(&self.path).header(header::HOST, address.to_string());
        if let Some(authorization) = &self.authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !self.body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        Ok(request.body(Full::new(self.body.clone()))?)
    }
}

/// The requests of a load. All connections take them from one sequence.
pub struct Requests {
    prepared: Vec<Prepared>,
    /// The sequence repeats. Otherwise the load ends after the last request.
    repeats: bool,
    next: AtomicUsize,
}

impl Requests {
    pub fn repeated(prepared: Vec<Prepared>) -> Arc<Self> {
        Arc::new(Self { prepared, repeats: true, next: AtomicUsize::new(0) })
    }

    pub fn once(prepared: Vec<Prepared>) -> Arc<Self> {
        Arc::new(Self { prepared, repeats: false, next: AtomicUsize::new(0) })
    }

    pub fn first(&self) -> Option<&Prepared> {
        self.prepared.first()
    }

    fn next(&self) -> Option<&Prepared> {
        let index = self.next.fetch_add(1, Ordering::Relaxed);
        let index = if self.repeats { index % self.prepared.len().max(1) } else { index };
        self.prepared.get(index)
    }
}

/// The result of a load.
#[derive(Clone, Debug, Default)]
pub struct Load {
    pub seconds: f64,
    pub failed: usize,
    /// The latencies of successful requests, in ascending order.
    latencies: Vec<Duration>,
}

impl Load {
    pub fn of(mut latencies: Vec<Duration>, failed: usize, time: Duration) -> Self {
        latencies.sort_unstable();
        Self { seconds: time.as_secs_f64(), failed, latencies }
    }

    #[expect(clippy::cast_precision_loss, reason = "counts of a benchmark")]
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.seconds
    }

    pub fn count(&self) -> usize {
        self.latencies.len()
    }

    /// The longest latency, in ms.
    pub fn longest(&self) -> f64 {
        self.latencies.last().map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }

    /// The latency at this percentile, in ms.
    pub fn percentile(&self, percent: usize) -> f64 {
        let index = self.latencies.len() * percent / 100;
        self.latencies.get(index).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Sends requests over `connections` connections for `time`. An answer with a status other than `expected` counts as
/// failed.
pub async fn run(
    address: SocketAddr,
    requests: &Arc<Requests>,
    connections: usize,
    time: Duration,
    expected: StatusCode,
) -> Result<Load> {
    let started = Instant::now();
    let mut workers = tokio::task::JoinSet::new();
    for _ in 0..connections {
        workers.spawn(work(address, Arc::clone(requests), started + time, expected));
    }
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while let Some(worker) = workers.join_next().await {
        let (own, refused) = worker??;
        latencies.extend(own);
        failed += refused;
    }
    let load = Load::of(latencies, failed, started.elapsed());
    ensure!(!load.latencies.is_empty(), "no request to {address} succeeded ({} failed)", load.failed);
    Ok(load)
}

async fn work(
    address: SocketAddr,
    requests: Arc<Requests>,
    until: Instant,
    expected: StatusCode,
) -> Result<(Vec<Duration>, usize)> {
    let mut connection = Connection::open(address).await?;
    let (mut latencies, mut failed) = (Vec::new(), 0);
    while Instant::now() < until {
        let Some(prepared) = requests.next() else { break };
        let started = Instant::now();
        if connection.ask(prepared).await?.0 == expected {
            latencies.push(started.elapsed());
        } else {
            failed += 1;
        }
    }
    Ok((latencies, failed))
}

/// A keep-alive connection.
pub struct Connection {
    address: SocketAddr,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream =
            TcpStream::connect(address).await.with_context(|| format!("no server answers at {address}"))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { address, sender })
    }

    pub async fn ask(&mut self, prepared: &Prepared) -> Result<(StatusCode, Bytes)> {
        self.sender.ready().await?;
        let answer = self.sender.send_request(prepared.request(self.address)?).await?;
        let status = answer.status();
        Ok((status, answer.into_body().collect().await?.to_bytes()))
    }
}

/// Sends one request over a new connection.
pub async fn once(address: SocketAddr, prepared: &Prepared) -> Result<(StatusCode, Bytes)> {
    Connection::open(address).await?.ask(prepared).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Load, Prepared, Requests};

    #[test]
    fn percentiles_are_latencies_of_the_load() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let load = Load::of(latencies, 0, Duration::from_secs(2));
        let rounded =
            [load.percentile(0), load.percentile(50), load.percentile(99), load.longest(), load.per_second()]
                .map(|value| format!("{value:.0}"));
        assert_eq!(rounded, ["1", "51", "100", "100", "50"]);
    }

    #[test]
    fn requests_end_unless_they_are_repeated() {
        let paths =
            |requests: &Requests| [(); 3].map(|()| requests.next().map(|request| request.path.clone()));
        let prepared = || ["/a", "/b"].map(|path| Prepared::get(path.to_owned(), None)).to_vec();
        let [a, b] = ["/a", "/b"].map(|path| Some(path.to_owned()));
        assert_eq!(paths(&Requests::once(prepared())), [a.clone(), b.clone(), None]);
        assert_eq!(paths(&Requests::repeated(prepared())), [a.clone(), b, a]);
    }
}
