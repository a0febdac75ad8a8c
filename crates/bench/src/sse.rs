//! 5,000 listeners of the listing's changes on one gateway: how long until one change has reached all of them, and what
//! each of them costs the gateway.
//!
//! Only sync and the gateway run. The change is an update of a live room by hand; it is over when the statement has
//! been answered, and the time counts from before it was asked.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use sqlx::PgPool;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
    time::timeout,
};

use crate::{
    events::Events,
    ground::Ground,
    live,
    people::SignIn,
    process::{self, Usage},
    stack::{self, Keys, Stack},
    table::{Table, median},
};

const LISTENERS: u64 = 5_000;
/// Files of a process besides a socket for each listener.
const OTHER_FILES: u64 = 500;
/// Listeners who connect at once.
const CONNECTING: usize = 64;
/// How long the gateway may take for one who connects, and a change for the last one.
const PATIENCE: Duration = Duration::from_secs(10);
const SETTLED: Duration = Duration::from_secs(3);
