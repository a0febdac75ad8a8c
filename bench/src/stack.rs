//! The processes of Greenroom as deployments run them: five, or one. Also livekit-dev.

use std::{
    env,
    net::{SocketAddr, TcpListener as StdListener},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use http::StatusCode;
use livekit_dev::{Config, LiveKitDev};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    baseline::LISTEN,
    load::{self, Prepared},
    process::Process,
    users::{self, AUDIENCE, ISSUER, SignIn},
};

/// The URL of the gateway for Nostr clients.
pub const PUBLIC_URL: &str = "http://bench.example.org";

const SERVICES: [&str; 5] = ["room-lifecycle", "booking", "token", "sync", "gateway"];

/// The addresses and keys that all processes share.
#[derive(Clone, Debug)]
pub struct Shared {
    pub database_url: String,
    pub livekit: SocketAddr,
    pub livekit_key: String,
    pub livekit_secret: String,
    pub internal_token: String,
}

/// The keys with which a gateway verifies users' tokens.
#[derive(Clone, Copy)]
pub enum Keys<'a> {
    Secret(&'a SignIn),
    /// The address of a key set.
    Set(SocketAddr),
}

/// The processes behind one HTTP address, with their operations ports.
pub struct Stack {
    pub address: SocketAddr,
    pub processes: Vec<(Process, SocketAddr)>,
    /// The addresses of its services, as settings.
    pub addresses: Env,
}

pub type Env = Vec<(String, String)>;

fn pair(name: &str, value: impl std::fmt::Display) -> (String, String) {
    (name.to_owned(), value.to_string())
}

/// A loopback address whose port is free now.
pub fn free_port() -> Result<SocketAddr> {
    Ok(StdListener::bind("127.0.0.1:0")?.local_addr()?)
}

impl Shared {
    pub fn env(&self, keys: Keys<'_>) -> Env {
        let mut env = vec![
            pair("DATABASE_URL", &self.database_url),
            pair("LIVEKIT_URL", format_args!("http://{}", self.livekit)),
            pair("LIVEKIT_WS_URL", format_args!("ws://{}", self.livekit)),
            pair("LIVEKIT_API_KEY", &self.livekit_key),
            pair("LIVEKIT_API_SECRET", &self.livekit_secret),
            pair("INTERNAL_TOKEN", &self.internal_token),
            pair("APP_URL", "http://app.example.org"),
            pair("LINK_SECRET", &self.internal_token),
            pair("AUTH_ISSUER", ISSUER),
            pair("AUTH_AUDIENCE", AUDIENCE),
            // A few users here send the load of thousands.
            pair("RATE_LIMIT_USER", "1000000/1000000"),
            pair("RATE_LIMIT_ANONYMOUS", "1000000/1000000"),
            pair("RATE_LIMIT_MODERATION", "1000000/1000000"),
            // Nostr clients sign this URL, whatever the gateway's address is.
            pair("PUBLIC_URLS", PUBLIC_URL),
            pair("NIP98_WINDOW", "120s"),
        ];
        env.push(match keys {
            Keys::Secret(SignIn::Hs256(secret)) => pair("AUTH_HS256_SECRET", secret),
            Keys::Secret(SignIn::Es256 { .. }) => pair("AUTH_HS256_SECRET", users::secret()),
            Keys::Set(address) => pair("AUTH_JWKS_URL", format_args!("http://{address}/jwks.json")),
        });
        env
    }
}

impl Stack {
    /// Starts five processes. The gateway is ready before the others, so this waits until its report shows them ready.
    pub async fn split(greenroom: &Path, shared: &Shared, keys: Keys<'_>) -> Result<Self> {
        let stack = Self::of(greenroom, shared, keys, &SERVICES)?;
        let report = Prepared::get("/readyz".to_owned(), None);
        let is_whole = |body: &[u8]| String::from_utf8_lossy(body).contains(r#""status":"ok""#);
        wait_until(stack.address, &report, is_whole).await?;
        Ok(stack)
    }

    /// Starts some of the five services, each in its own process. The gateway's missing peers are not ready, so only
    /// its liveness is checked.
    pub async fn some(greenroom: &Path, shared: &Shared, keys: Keys<'_>, services: &[&str]) -> Result<Self> {
        let stack = Self::of(greenroom, shared, keys, services)?;
        for (process, operations) in &stack.processes {
            let path = if process.name == "gateway" { "/livez" } else { "/readyz" };
            wait_for(*operations, path).await?;
        }
        if services.contains(&"gateway") {
            stack.ready("/livez").await?;
        }
        Ok(stack)
    }

    fn of(greenroom: &Path, shared: &Shared, keys: Keys<'_>, services: &[&str]) -> Result<Self> {
        let mut addresses = Env::new();
        let mut address = None;
        for service in SERVICES {
            let name = service.split('-').next().unwrap_or(service).to_uppercase();
            let port = free_port()?;
            addresses.push(pair(&format!("{name}_LISTEN"), port));
            addresses.push(pair(&format!("{name}_URL"), format_args!("http://{port}")));
            address = Some(port);
        }
        let env = [shared.env(keys), addresses.clone()].concat();
        let mut stack = Self { address: address.context("no service")?, processes: Vec::new(), addresses };
        for service in services {
            stack.add(greenroom, &["serve", service], &env)?;
        }
        Ok(stack)
    }

    /// Starts another gateway with other keys, in front of services that run already.
    pub async fn gateway(greenroom: &Path, shared: &Shared, keys: Keys<'_>, services: &Env) -> Result<Self> {
        let address = free_port()?;
        let mut env = shared.env(keys);
        env.extend(services.iter().cloned());
        env.push(pair("GATEWAY_LISTEN", address));
        let mut stack = Self { address, processes: Vec::new(), addresses: Env::new() };
        stack.add(greenroom, &["serve", "gateway"], &env)?;
        stack.ready("/readyz").await?;
        Ok(stack)
    }

    /// Starts `greenroom up`.
    pub async fn up(greenroom: &Path, shared: &Shared, keys: Keys<'_>, directory: &Path) -> Result<Self> {
        let address = free_port()?;
        let listen = address.to_string();
        let directory = directory.to_str().context("the path is not UTF-8")?;
        let mut stack = Self { address, processes: Vec::new(), addresses: Env::new() };
        stack.add(greenroom, &["up", "--listen", &listen, "--data-dir", directory], &shared.env(keys))?;
        stack.ready("/readyz").await?;
        Ok(stack)
    }

    fn add(&mut self, greenroom: &Path, arguments: &[&str], env: &Env) -> Result<()> {
        let operations = free_port()?;
        let mut env = env.clone();
        env.push(pair("OPS_LISTEN", operations));
        let name = arguments.get(1).filter(|_| arguments[0] == "serve").unwrap_or(&arguments[0]);
        self.processes.push((Process::start(name, greenroom, arguments, &env)?, operations));
        Ok(())
    }

    async fn ready(&self, path: &str) -> Result<()> {
        wait_for(self.address, path).await
    }

    /// The process of a service.
    pub fn process(&self, name: &str) -> Result<&Process> {
        let process = self.processes.iter().map(|(process, _)| process).find(|process| process.name == name);
        process.with_context(|| format!("{name} was not started"))
    }

    pub async fn stop(self) -> Result<()> {
        for (process, _) in self.processes {
            process.stop().await?;
        }
        Ok(())
    }

    /// The sum and count of a histogram in all processes, over the series that have all of `labels`.
    pub async fn histogram(&self, metric: &str, labels: &[&str]) -> Result<(f64, f64)> {
        let (mut sum, mut count) = (0.0, 0.0);
        for (_, operations) in &self.processes {
            let (_, text) = load::once(*operations, &Prepared::get("/metrics".to_owned(), None)).await?;
            for line in
                String::from_utf8_lossy(&text).lines().filter(|line| labels.iter().all(|l| line.contains(l)))
            {
                let value = || {
                    line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
                };
                match line.strip_prefix(metric) {
                    Some(rest) if rest.starts_with("_sum") => sum += value(),
                    Some(rest) if rest.starts_with("_count") => count += value(),
                    _ => {}
                }
            }
        }
        Ok((sum, count))
    }
}

/// Waits until the path answers 200, at most 30 s.
pub async fn wait_for(address: SocketAddr, path: &str) -> Result<()> {
    wait_until(address, &Prepared::get(path.to_owned(), None), |_| true).await
}

/// Waits until the answer is 200 with a body for which `is_wanted` holds, at most 30 s.
pub async fn wait_until(
    address: SocketAddr,
    request: &Prepared,
    is_wanted: impl Fn(&[u8]) -> bool,
) -> Result<()> {
    let (started, path) = (Instant::now(), &request.path);
    loop {
        let answer = load::once(address, request).await;
        match answer {
            Ok((StatusCode::OK, body)) if is_wanted(&body) => return Ok(()),
            _ if started.elapsed() < Duration::from_secs(30) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok((status, body)) => {
                bail!("{address}{path} answered {status}: {}", String::from_utf8_lossy(&body))
            }
            Err(error) => return Err(error.context(format!("{address}{path} does not answer"))),
        }
    }
}

/// The child that runs livekit-dev.
pub async fn livekit() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind(env::var(LISTEN)?).await?;
    let config = Config::new(env::var("LIVEKIT_API_KEY")?, env::var("LIVEKIT_API_SECRET")?);
    Ok(LiveKitDev::new(config).serve(listener, CancellationToken::new()).await?)
}
