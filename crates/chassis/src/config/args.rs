//! The settings that several services share.

use std::{net::SocketAddr, time::Duration};

use clap::Args;
use secrecy::SecretString;

use super::{Problems, non_blank};
use crate::{db, grpc};

/// The settings of every process: logs, traces, the operations port, the time to stop.
#[derive(Args, Clone, Debug, Default)]
pub struct ProcessArgs {
    /// Format of the logs on stderr: `json` or `pretty` [default: `json`]
    #[arg(long, env = "LOG_FORMAT")]
    pub log_format: Option<String>,
    /// Where traces go, OTLP over gRPC: `http://collector:4317` or `https://…` [default: no traces]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT")]
    pub otel_exporter_otlp_endpoint: Option<String>,
    /// A PEM file with the certificates that verify an `https://` endpoint [default: the system's authorities]
    #[arg(long, env = "OTEL_EXPORTER_OTLP_CERTIFICATE")]
    pub otel_exporter_otlp_certificate: Option<String>,
    /// Address of `/metrics`, `/livez` and `/readyz` [default: `0.0.0.0:9090`]
    #[arg(long, env = "OPS_LISTEN")]
    pub ops_listen: Option<String>,
    /// How long a stop waits for work in progress [default: `20s`]
    #[arg(long, env = "SHUTDOWN_GRACE")]
    pub shutdown_grace: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Process {
    pub json_logs: bool,
    pub otlp: Option<Otlp>,
    pub ops_listen: SocketAddr,
    pub grace: Duration,
}

impl ProcessArgs {
    pub fn check(self, problems: &mut Problems) -> Process {
        let json_logs = match self.log_format.as_deref() {
            // An empty variable counts as absent: compose files cannot leave one out conditionally.
            None | Some("json" | "") => true,
            Some("pretty") => false,
            Some(_) => {
                problems.add("LOG_FORMAT", "must be json or pretty");
                // The value does not matter: the process does not start. Going on finds the other problems.
                true
            }
        };
        Process {
            json_logs,
            otlp: otlp(self.otel_exporter_otlp_endpoint, self.otel_exporter_otlp_certificate, problems),
            ops_listen: problems.listen("OPS_LISTEN", self.ops_listen.as_deref(), 9090),
            grace: problems.duration(
                "SHUTDOWN_GRACE",
                self.shutdown_grace.as_deref(),
                Duration::from_secs(20),
            ),
        }
    }
}

/// Where traces go.
#[derive(Clone, Debug)]
pub struct Otlp {
    pub endpoint: String,
    /// PEM. None: the system's authorities.
    pub certificate: Option<Vec<u8>>,
}

fn otlp(endpoint: Option<String>, certificate: Option<String>, problems: &mut Problems) -> Option<Otlp> {
    // A blank endpoint returns before the check, because it is no problem.
    let url = problems.url("OTEL_EXPORTER_OTLP_ENDPOINT", Some(non_blank(endpoint)?), &["http", "https"])?;
    let certificate = match non_blank(certificate) {
        Some(file) => match std::fs::read(&file) {
            Ok(pem) => Some(pem),
            Err(error) => {
                problems.add("OTEL_EXPORTER_OTLP_CERTIFICATE", format_args!("{file}: {error}"));
                None
            }
        },
        None => None,
    };
    Some(Otlp { endpoint: url.to_string(), certificate })
}

/// The database of a service.
#[derive(Args, Clone, Default)]
pub struct DatabaseArgs {
    /// `postgres://user:password@host:port/database`; the user must be a member of the service's role [always required]
    #[arg(long, env = "DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// The file that has `DATABASE_URL`
    #[arg(long, env = "DATABASE_URL_FILE")]
    pub database_url_file: Option<String>,
    /// Connections of this service, 2-50: a pass holds one while it uses another [default: `8`]
    #[arg(long, env = "DATABASE_POOL")]
    pub database_pool: Option<String>,
}

impl DatabaseArgs {
    /// `role` is the database role of the service (`deploy/postgres/roles.sql`).
    pub fn check(mut self, role: &'static str, problems: &mut Problems) -> Option<db::Settings> {
        problems.secret_file("DATABASE_URL", &mut self.database_url, &mut self.database_url_file);
        let max_connections = problems.parse("DATABASE_POOL", self.database_pool.as_deref(), 8);
        // With a pool of one, a pass that holds a connection would wait for itself until the acquire times
        // out.
        if !(2..=50).contains(&max_connections) {
            problems.add("DATABASE_POOL", "must be 2 to 50");
        }
        let url = problems.url("DATABASE_URL", self.database_url, &["postgres", "postgresql"])?;
        Some(db::Settings { url: SecretString::from(url.to_string()), role: Some(role), max_connections })
    }
}

/// How our services authenticate each other.
#[derive(Args, Clone, Default)]
pub struct InternalArgs {
    /// The token that the services share, at least 32 bytes of visible ASCII; `new,old` during a rotation [always required]
    #[arg(long, env = "INTERNAL_TOKEN", hide_env_values = true)]
    pub internal_token: Option<String>,
    /// The file that has `INTERNAL_TOKEN`
    #[arg(long, env = "INTERNAL_TOKEN_FILE")]
    pub internal_token_file: Option<String>,
    /// Whether gRPC reflection is served (docs/grpc.md) [default: `false`]
    #[arg(long, env = "GRPC_REFLECTION")]
    pub grpc_reflection: Option<String>,
}

impl InternalArgs {
    /// Reads `INTERNAL_TOKEN_FILE`, for callers that use the token before the check.
    pub fn read_file(&mut self, problems: &mut Problems) {
        problems.secret_file("INTERNAL_TOKEN", &mut self.internal_token, &mut self.internal_token_file);
    }

    pub fn check(mut self, problems: &mut Problems) -> Option<grpc::Settings> {
        self.read_file(problems);
        let reflection = problems.parse("GRPC_REFLECTION", self.grpc_reflection.as_deref(), false);
        let tokens = problems.required("INTERNAL_TOKEN", self.internal_token)?;
        match grpc::InternalTokens::parse(&tokens) {
            // Messages have at most 1 MiB, so this also bounds the memory of all calls.
            Ok(tokens) => Some(grpc::Settings { tokens, reflection, max_in_flight: 1024 }),
            Err(problem) => {
                problems.add("INTERNAL_TOKEN", problem);
                None
            }
        }
    }
}

/// The settings of every service with a database.
#[derive(Args, Clone, Default)]
pub struct ServiceArgs {
    #[command(flatten)]
    pub database: DatabaseArgs,
    #[command(flatten)]
    pub internal: InternalArgs,
}

impl ServiceArgs {
    /// `role` as in [`DatabaseArgs::check`].
    pub fn check(
        self,
        role: &'static str,
        problems: &mut Problems,
    ) -> Option<(db::Settings, grpc::Settings)> {
        // Both are checked before either is used, so that one start lists the problems of both.
        let database = self.database.check(role, problems);
        let internal = self.internal.check(problems);
        Some((database?, internal?))
    }
}

/// The key and the addresses of our LiveKit server.
#[derive(Args, Clone, Default)]
pub struct LiveKitArgs {
    /// The id of LiveKit's API key [always required]
    #[arg(long, env = "LIVEKIT_API_KEY")]
    pub livekit_api_key: Option<String>,
    /// The secret of LiveKit's API key, at least 32 bytes [always required]
    #[arg(long, env = "LIVEKIT_API_SECRET", hide_env_values = true)]
    pub livekit_api_secret: Option<String>,
    /// The file that has `LIVEKIT_API_SECRET`
    #[arg(long, env = "LIVEKIT_API_SECRET_FILE")]
    pub livekit_api_secret_file: Option<String>,
    /// Where browsers reach LiveKit: `wss://…` or `ws://…` [always required]
    #[arg(long, env = "LIVEKIT_WS_URL")]
    pub livekit_ws_url: Option<String>,
    /// Where our servers reach LiveKit: `https://…` or `http://…`. Part of the deployment's identity
    /// (docs/decisions/0005) [default: `LIVEKIT_WS_URL` with http(s)]
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
    /// Reads `LIVEKIT_API_SECRET_FILE`, for callers that use the secret before the check.
    pub fn read_file(&mut self, problems: &mut Problems) {
        let (secret, file) = (&mut self.livekit_api_secret, &mut self.livekit_api_secret_file);
        problems.secret_file("LIVEKIT_API_SECRET", secret, file);
    }

    pub fn check(mut self, problems: &mut Problems) -> Option<LiveKit> {
        self.read_file(problems);
        let api_key = problems.required("LIVEKIT_API_KEY", self.livekit_api_key);
        let api_secret = problems.secret("LIVEKIT_API_SECRET", self.livekit_api_secret, 32);
        let ws_url = problems.base_url("LIVEKIT_WS_URL", self.livekit_ws_url, &["ws", "wss"]);
        let url = match non_blank(self.livekit_url) {
            Some(url) => problems.base_url("LIVEKIT_URL", Some(url), &["http", "https"]),
            // Replaces only the first `ws`: `wss` becomes `https`, and a host with `ws` in its name is kept.
            None => ws_url.as_ref().map(|url| url.replacen("ws", "http", 1)),
        };
        Some(LiveKit { api_key: api_key?, api_secret: api_secret?, ws_url: ws_url?, url: url? })
    }
}

/// `TOKEN_TTL`: how long the token service's tokens are valid, and how long room-lifecycle watches a kicked user.
pub fn token_ttl(value: Option<&str>, problems: &mut Problems) -> Duration {
    let bounds = Duration::from_mins(1)..=Duration::from_hours(24);
    problems.duration_in("TOKEN_TTL", value, Duration::from_hours(1), bounds, "1min to 24h")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::check;

    #[test]
    fn pool_has_2_to_50_connections() {
        let pool = |size: &str| {
            let url = Some("postgres://localhost/greenroom".to_owned());
            let args = DatabaseArgs {
                database_url: url,
                database_pool: Some(size.to_owned()),
                ..DatabaseArgs::default()
            };
            check(|problems| args.check("greenroom_token", problems)).map(|settings| settings.max_connections)
        };
        assert_eq!((pool("2").unwrap(), pool("50").unwrap()), (2, 50));
        assert!(pool("1").is_err() && pool("51").is_err() && pool("-1").is_err());
    }

    #[test]
    fn livekit_url_is_derived_from_the_websocket_url() {
        let livekit = check(|problems| {
            LiveKitArgs {
                livekit_api_key: Some("key".into()),
                livekit_api_secret: Some("x".repeat(32)),
                livekit_ws_url: Some("wss://live.example.org/".into()),
                ..LiveKitArgs::default()
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
