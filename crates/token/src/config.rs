//! The settings of token.

use std::{net::SocketAddr, time::Duration};

use chassis::{
    config::{LiveKit, LiveKitArgs, Problems, ServiceArgs, token_ttl},
    db, grpc,
};
use tonic::transport::Endpoint;

/// The database role of this service.
pub const ROLE: &str = "greenroom_token";

#[derive(clap::Args, Clone, Default)]
pub struct Args {
    #[command(flatten)]
    pub service: ServiceArgs,
    #[command(flatten)]
    pub livekit: LiveKitArgs,
    /// Address of the gRPC port [default: `0.0.0.0:50053`]
    #[arg(long, env = "TOKEN_LISTEN")]
    pub token_listen: Option<String>,
    /// Where the room-lifecycle service is, `http://host:port` [always required]
    #[arg(long, env = "ROOM_URL")]
    pub room_url: Option<String>,
    /// How long an access token lives, 1 min to 24 h; never past the end of the window [default: `1h`]
    #[arg(long, env = "TOKEN_TTL")]
    pub token_ttl: Option<String>,
    /// Whether tokens of a nest's admins carry LiveKit's `roomAdmin`, for clients that need it (docs/nests.md)
    /// [default: `false`]
    ///
    /// With it a browser can change the room on LiveKit without Greenroom, also after its user lost the admin role.
    #[arg(long, env = "NESTS_ROOM_ADMIN_GRANT")]
    pub nests_room_admin_grant: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub database: db::Settings,
    pub grpc: grpc::Settings,
    pub livekit: LiveKit,
    pub listen: SocketAddr,
    /// Used by `serve` only: `start` receives the transport to room-lifecycle.
    pub room_url: Endpoint,
    pub ttl: Duration,
    pub nests_room_admin_grant: bool,
}

impl Args {
    pub fn check(self, problems: &mut Problems) -> Option<Config> {
        let service = self.service.check(ROLE, problems);
        let livekit = self.livekit.check(problems);
        let listen = problems.listen("TOKEN_LISTEN", self.token_listen.as_deref(), 50053);
        let room_url = problems.peer("ROOM_URL", self.room_url);
        let ttl = token_ttl(self.token_ttl.as_deref(), problems);
        let nests_room_admin_grant =
            problems.parse("NESTS_ROOM_ADMIN_GRANT", self.nests_room_admin_grant.as_deref(), false);
        let (database, grpc) = service?;
        Some(Config {
            database,
            grpc,
            livekit: livekit?,
            listen,
            room_url: room_url?,
            ttl,
            nests_room_admin_grant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_wrong_settings_are_listed_at_once() {
        let args = Args { token_ttl: Some("25h".into()), ..Args::default() };
        let problems = chassis::config::check(|problems| args.check(problems)).unwrap_err().to_string();
        for setting in ["DATABASE_URL", "INTERNAL_TOKEN", "LIVEKIT_API_SECRET", "ROOM_URL", "TOKEN_TTL"] {
            assert!(problems.contains(setting), "{setting} is not in: {problems}");
        }
    }
}
