//! Settings: command line or environment, checked at start with every problem listed at once.
//!
//! A service's `Args` derive `clap::Args` with a documented `Option<String>` per setting, so that clap itself
//! never stops at the first one; `check` turns them into a typed `Config` and collects what is wrong.

use std::{fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::Args;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::{db, grpc};

/// What is wrong with the settings, one line each.
#[derive(Debug, Default)]
pub struct Problems(Vec<String>);

/// All problems of the settings; `Display` lists them.
#[derive(Debug, thiserror::Error)]
pub struct Invalid(Vec<String>);

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} problem(s) with the settings:", self.0.len())?;
        self.0.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
    }
}

impl Problems {
    pub fn add(&mut self, setting: &str, problem: impl fmt::Display) {
        let line = format!("{setting}: {problem}");
        if !self.0.contains(&line) {
            self.0.push(line); // services of one process share settings: say it once
        }
    }

    /// A setting that must be there; blank counts as missing.
    pub fn required(&mut self, setting: &str, value: Option<String>) -> Option<String> {
        let value = value.filter(|value| !value.trim().is_empty());
        if value.is_none() {
            self.add(setting, "is missing");
        }
        value
    }

    /// A setting with a default; the value is parsed with `FromStr`.
    pub fn parse<T: FromStr>(&mut self, setting: &str, value: Option<&str>, default: T) -> T
    where
        T::Err: fmt::Display,
    {
        match value.map(str::trim).filter(|value| !value.is_empty()).map(str::parse) {
            None => default,
            Some(Ok(parsed)) => parsed,
            Some(Err(error)) => {
                self.add(setting, error);
                default
            }
        }
    }

    /// `90s`, `15min`, `2h` …
    pub fn duration(&mut self, setting: &str, value: Option<&str>, default: Duration) -> Duration {
        self.parse(setting, value, humantime::Duration::from(default)).into()
    }

    /// A required secret of at least `least` bytes. The value never appears in the problem.
    pub fn secret(&mut self, setting: &str, value: Option<String>, least: usize) -> Option<SecretString> {
        let value = SecretString::from(self.required(setting, value)?);
        if value.expose_secret().len() < least {
            self.add(setting, format_args!("must have at least {least} bytes"));
        }
        Some(value)
    }

    /// A required absolute URL with one of `schemes`.
    pub fn url(&mut self, setting: &str, value: Option<String>, schemes: &[&str]) -> Option<Url> {
        let value = self.required(setting, value)?;
        match Url::parse(&value) {
            Ok(url) if schemes.contains(&url.scheme()) && url.has_host() => return Some(url),
            Ok(_) => {
                self.add(setting, format_args!("must be a URL that starts with {}", schemes.join(" or ")));
            }
            Err(error) => self.add(setting, error),
        }
        None
    }

    /// `Ok` when nothing was added.
    pub fn into_result(self) -> Result<(), Invalid> {
        if self.0.is_empty() { Ok(()) } else { Err(Invalid(self.0)) }
    }
}

/// Checks `args` and either gives the settings or every problem.
pub fn check<T>(check: impl FnOnce(&mut Problems) -> Option<T>) -> Result<T, Invalid> {
    let mut problems = Problems::default();
    let checked = check(&mut problems);
    problems.into_result()?;
    checked.ok_or_else(|| Invalid(vec!["a setting is missing".to_owned()]))
}

/// What every process has: logs, traces, the operations port, how long it may take to stop.
#[derive(Args, Clone, Debug, Default)]
pub struct ProcessArgs {
    /// `json` or `pretty` [default: json]
    #[arg(long, env = "LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Where OpenTelemetry traces go (OTLP over gRPC); none: no traces
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// Address of /metrics, /livez and /readyz [default: 0.0.0.0:9090]
    #[arg(long, env = "OPS_LISTEN")]
    pub ops_listen: Option<String>,
    /// How long a stop may wait for work under way [default: 20s]
    #[arg(long, env = "SHUTDOWN_GRACE")]
    pub shutdown_grace: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub json_logs: bool,
    pub otlp_endpoint: Option<String>,
    pub ops_listen: SocketAddr,
    pub grace: Duration,
}

impl ProcessArgs {
    pub fn check(self, problems: &mut Problems) -> Process {
        let json_logs = match self.log_format.as_deref() {
            None | Some("json" | "") => true,
            Some("pretty") => false,
            Some(_) => {
                problems.add("LOG_FORMAT", "must be json or pretty");
                true
            }
        };
        Process {
            json_logs,
            otlp_endpoint: self.otel_exporter_otlp_endpoint.filter(|endpoint| !endpoint.is_empty()),
            ops_listen: problems.parse("OPS_LISTEN", self.ops_listen.as_deref(), ([0, 0, 0, 0], 9090).into()),
            grace: problems.duration(
                "SHUTDOWN_GRACE",
                self.shutdown_grace.as_deref(),
                Duration::from_secs(20),
            ),
        }
    }
}

/// The database of a service.
#[derive(Args, Clone, Default)]
pub struct DatabaseArgs {
    /// postgres://user:password@host:port/database
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// Connections of this service, 2-50: a pass holds one while it uses another [default: 8]
    #[arg(long, env = "DATABASE_POOL")]
    pub database_pool: Option<String>,
}

impl DatabaseArgs {
    /// `role` is the database role of the service (`deploy/postgres/roles.sql`).
    pub fn check(self, role: &'static str, problems: &mut Problems) -> Option<db::Settings> {
        let max_connections = problems.parse("DATABASE_POOL", self.database_pool.as_deref(), 8);
        if !(2..=50).contains(&max_connections) {
            problems.add("DATABASE_POOL", "must be 2 to 50");
        }
        let url = problems.url("DATABASE_URL", self.database_url, &["postgres", "postgresql"])?;
        Some(db::Settings { url: SecretString::from(url.to_string()), role: Some(role), max_connections })
    }
}

/// How our services trust each other.
#[derive(Args, Clone, Default)]
pub struct InternalArgs {
    /// Shared token of the services, at least 32 bytes; `new,old` while it is being replaced
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<String>,
    /// Serve gRPC reflection [default: false]
    #[arg(long, env = "GRPC_REFLECTION")]
    pub grpc_reflection: Option<String>,
}

impl InternalArgs {
    pub fn check(self, problems: &mut Problems) -> Option<grpc::Settings> {
        let reflection = problems.parse("GRPC_REFLECTION", self.grpc_reflection.as_deref(), false);
        let tokens = problems.required("INTERNAL_TOKEN", self.internal_token)?;
        match grpc::InternalTokens::parse(&tokens) {
            Ok(tokens) => Some(grpc::Settings { tokens, reflection, max_in_flight: 1024 }),
            Err(problem) => {
                problems.add("INTERNAL_TOKEN", problem);
                None
            }
        }
    }
}

/// The key of our LiveKit server and where it is.
#[derive(Args, Clone, Default)]
pub struct LiveKitArgs {
    #[arg(long, env = "LIVEKIT_API_KEY")]
    pub livekit_api_key: Option<String>,
    /// At least 32 bytes
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    pub livekit_api_secret: Option<String>,
    /// Where browsers reach LiveKit: ws:// or wss://
    #[arg(long, env = "LIVEKIT_WS_URL")]
    pub livekit_ws_url: Option<String>,
    /// Where our servers reach LiveKit: http:// or https:// [default: that of browsers, with the scheme changed]
    #[arg(long, env = "LIVEKIT_URL")]
    pub livekit_url: Option<String>,
}

#[derive(Clone, Debug)]
pub struct LiveKit {
    pub api_key: String,
    pub api_secret: SecretString,
    /// As browsers get it, without a slash at the end.
    pub ws_url: String,
    /// As our servers use it, without a slash at the end.
    pub url: String,
}

impl LiveKitArgs {
    pub fn check(self, problems: &mut Problems) -> Option<LiveKit> {
        let api_key = problems.required("LIVEKIT_API_KEY", self.livekit_api_key);
        let api_secret = problems.secret("LIVEKIT_API_SECRET", self.livekit_api_secret, 32);
        let ws_url = problems.url("LIVEKIT_WS_URL", self.livekit_ws_url, &["ws", "wss"]);
        let bare = |url: &Url| url.as_str().trim_end_matches('/').to_owned();
        let url = match self.livekit_url.filter(|url| !url.trim().is_empty()) {
            Some(url) => problems.url("LIVEKIT_URL", Some(url), &["http", "https"]).as_ref().map(bare),
            None => ws_url.as_ref().map(|url| bare(url).replacen("ws", "http", 1)),
        };
        Some(LiveKit { api_key: api_key?, api_secret: api_secret?, ws_url: bare(&ws_url?), url: url? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_listed_at_once_and_no_secret_is_printed() {
        let args = LiveKitArgs {
            livekit_api_secret: Some("short-secret".into()),
            livekit_ws_url: Some("http://wrong".into()),
            ..LiveKitArgs::default()
        };
        let error = check(|problems| {
            problems.duration("TOKEN_TTL", Some("soon"), Duration::ZERO);
            let _ = DatabaseArgs::default().check("greenroom_token", problems);
            args.check(problems)
        })
        .unwrap_err()
        .to_string();
        for setting in
            ["TOKEN_TTL", "DATABASE_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_WS_URL"]
        {
            assert!(error.contains(setting), "{setting} is not in: {error}");
        }
        assert!(!error.contains("short-secret"));
    }

    #[test]
    fn a_pool_has_a_connection_beside_the_one_that_a_pass_holds() {
        let pool = |size: &str| {
            let url = Some("postgres://localhost/greenroom".to_owned());
            let args = DatabaseArgs { database_url: url, database_pool: Some(size.to_owned()) };
            check(|problems| args.check("greenroom_token", problems)).map(|settings| settings.max_connections)
        };
        assert_eq!((pool("2").unwrap(), pool("50").unwrap()), (2, 50));
        assert!(pool("1").is_err() && pool("51").is_err() && pool("-1").is_err());
    }

    #[test]
    fn the_servers_url_follows_from_the_browsers() {
        let livekit = check(|problems| {
            LiveKitArgs {
                livekit_api_key: Some("key".into()),
                livekit_api_secret: Some("x".repeat(32)),
                livekit_ws_url: Some("wss://live.example.org/".into()),
                livekit_url: None,
            }
            .check(problems)
        })
        .unwrap();
        assert_eq!(
            (livekit.ws_url.as_str(), livekit.url.as_str()),
            ("wss://live.example.org", "https://live.example.org")
        );
        assert!(!format!("{livekit:?}").contains("xxx"));
    }
}
