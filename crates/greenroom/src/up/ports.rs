//! The HTTP port and the operations port, bound before anything is created: a taken port is an error at once.

use std::{io::ErrorKind, net::SocketAddr};

use anyhow::{Context, bail};
use tokio::net::TcpListener;

use super::Checked;
use crate::serve::bind;

pub struct Ports {
    pub http: TcpListener,
    pub operations: TcpListener,
}

impl Ports {
    pub async fn bind(listen: SocketAddr, checked: &Checked) -> anyhow::Result<Self> {
        Ok(Self { http: http(listen).await?, operations: operations(checked).await? })
    }
}

async fn http(listen: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(listen).await {
        Err(error) if error.kind() == ErrorKind::AddrInUse => {
            let next = SocketAddr::new(listen.ip(), listen.port().checked_add(1).unwrap_or(0));
            bail!(
                "cannot listen on {listen}: another program has this port. Stop it, or choose another port: \
                 --listen {next} (make run ARGS=\"--listen {next}\"); port 0 is any free one"
            )
        }
        bound => bound.with_context(|| format!("cannot listen on {listen}; choose an address with --listen")),
    }
}

/// Binds the operations port. Another program may have the default port: then any free port is used. A port that was
/// set must be free.
async fn operations(checked: &Checked) -> anyhow::Result<TcpListener> {
    match bind(checked.process.ops_listen).await {
        Err(_) if !checked.ops_is_chosen => bind(SocketAddr::from(([127, 0, 0, 1], 0))).await,
        bound => bound.context("choose another port with --ops-listen"),
    }
}
