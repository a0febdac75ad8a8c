//! The settings of sync.

use std::net::SocketAddr;

use chassis::{
    config::{Problems, ServiceArgs},
    db, grpc,
};

/// The database role of this service.
pub const ROLE: &str = "greenroom_sync";

#[derive(clap::Args, Clone, Default)]
pub struct Args {
    #[command(flatten)]
    pub service: ServiceArgs,
    /// Address of the gRPC port [default: `0.0.0.0:50054`]
    #[arg(long, env = "SYNC_LISTEN")]
    pub sync_listen: Option<String>,
}

#[derive(Clone, Debug)]
pub struct Config {
    pub database: db::Settings,
    pub grpc: grpc::Settings,
    pub listen: SocketAddr,
}

impl Args {
    pub fn check(self, problems: &mut Problems) -> Option<Config> {
        let listen = problems.listen("SYNC_LISTEN", self.sync_listen.as_deref(), 50054);
        let (database, grpc) = self.service.check(ROLE, problems)?;
        Some(Config { database, grpc, listen })
    }
}
