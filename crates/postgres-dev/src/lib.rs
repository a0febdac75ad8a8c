//! The development Postgres: a private server for `greenroom up`, and a throw-away server for tests and benchmarks
//! (`with-postgres`, this crate's program).
//!
//! It uses installed binaries, or else a pinned npm package. The server listens on a free loopback port with a
//! generated password, and ends with this process, however this process ends. This is a separate crate without checked
//! queries: it must build while `.sqlx` is out of date, because it is needed to refresh `.sqlx`.

mod account;
mod binaries;
mod cluster;
mod launch;
mod package;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{AssertSqlSafe, Connection, PgConnection, error::DatabaseError};
use tempfile::TempDir;

use self::{account::Account, binaries::Binaries, cluster::Cluster, launch::Running};

const DUPLICATE_DATABASE: &str = "42P04";

/// Which data must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Durability {
    /// Committed data survives a power cut.
    Kept,
    /// Nothing needs to survive: the server skips all syncs.
    ThrowAway,
}

/// A running server. Dropping it stops the server and waits until it has ended.
#[derive(Debug)]
pub struct Postgres {
    running: Running,
    cluster: Cluster,
    /// Removed after the server has stopped: fields are dropped in this order.
    _throw_away: Option<TempDir>,
}

impl Postgres {
    /// Starts the server with its files in `<data_dir>/postgres`; creates them when there are none. Blocks until it is
    /// ready.
    pub fn kept(data_dir: &Path) -> anyhow::Result<Self> {
        let account = Account::for_server()?;
        // The same path for `kept` and `remove`, so that `--fresh` removes what was started.
        let home = reachable(data_dir, account.as_ref())?.join("postgres");
        Self::start(home, data_dir, Durability::Kept, account, None, None)
    }

    /// Starts a server that leaves no files, of this major version if one is given. Blocks until it is ready.
    pub fn throw_away(data_dir: &Path, major: Option<u32>) -> anyhow::Result<Self> {
        let account = Account::for_server()?;
        let dir = tempfile::Builder::new()
            .prefix("greenroom-postgres-")
            .tempdir_in(temporary(account.as_ref())?)
            .context("no temporary directory can be created")?;
        let home = dir.path().to_owned();
        Self::start(home, data_dir, Durability::ThrowAway, account, major, Some(dir))
    }

    fn start(
        home: PathBuf,
        data_dir: &Path,
        durability: Durability,
        account: Option<Account>,
        major: Option<u32>,
        throw_away: Option<TempDir>,
    ) -> anyhow::Result<Self> {
        let cluster = Cluster::at(home, account)?;
        let account = cluster.account();
        // The version of an existing data directory comes before the wanted one.
        let binaries = Binaries::find(cluster.version().or(major), account, |major| {
            package::unpacked(&reachable(data_dir, account)?.join("cache"), major, account.is_some())
        })?;
        cluster.initialise(&binaries, durability)?;
        let running = Running::start(&cluster, &binaries, durability)?;
        Ok(Self { running, cluster, _throw_away: throw_away })
    }

    /// The URL of `database`, with the password.
    pub fn url(&self, database: &str) -> SecretString {
        let (port, password) = (self.running.port(), self.cluster.password());
        SecretString::from(format!("postgres://postgres:{password}@127.0.0.1:{port}/{database}"))
    }

    /// Creates `database` unless it exists. Returns its URL, with the password.
    pub async fn database(&self, database: &'static str) -> anyhow::Result<SecretString> {
        let mut connection = PgConnection::connect(self.url("postgres").expose_secret()).await?;
        // A name cannot be a parameter of `create database`. It is `'static`, so never input of a user.
        let statement = AssertSqlSafe(format!("create database \"{database}\""));
        match sqlx::raw_sql(statement).execute(&mut connection).await {
            // Two starts at the same time may both try; the database exists then, which is what was asked
            // for.
            Err(error) if !has_code(&error, DUPLICATE_DATABASE) => return Err(error.into()),
            _ => connection.close().await?,
        }
        Ok(self.url(database))
    }
}

/// Lets the account that runs the server pass through directories that were just created. Does nothing when this
/// process runs the server under its own account.
pub fn allow_traversal(made: &[&Path]) -> anyhow::Result<()> {
    let Some(account) = Account::for_server()? else { return Ok(()) };
    for dir in made {
        account.allow_traversal(dir).with_context(|| format!("{} cannot be opened", dir.display()))?;
    }
    Ok(())
}

/// Removes the files of [`Postgres::kept`].
pub fn remove(data_dir: &Path) -> anyhow::Result<()> {
    let home = reachable(data_dir, Account::for_server()?.as_ref())?.join("postgres");
    match fs::remove_dir_all(&home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("{} cannot be removed", home.display()))
        }
        _ => Ok(()),
    }
}

/// Returns `data_dir`, or a directory in /var/tmp when the account that runs the server cannot enter `data_dir` (a
/// checkout below /root).
fn reachable(data_dir: &Path, account: Option<&Account>) -> anyhow::Result<PathBuf> {
    fs::create_dir_all(data_dir).with_context(|| format!("{} cannot be created", data_dir.display()))?;
    let data_dir = data_dir.canonicalize()?;
    let Some(account) = account.filter(|account| !account.can_enter(&data_dir)) else {
        return Ok(data_dir);
    };
    let fallback = Path::new("/var/tmp").join(format!("greenroom{}", data_dir.display()).replace('/', "-"));
    tracing::info!(
        "the user {} cannot enter {}; the files of Postgres are in {}",
        account.name,
        data_dir.display(),
        fallback.display()
    );
    fs::create_dir_all(&fallback)?;
    // /var/tmp is open to all users: another one may have created this name before.
    if !account::is_ours(&fallback)? {
        bail!("{} belongs to another user; give another --data-dir", fallback.display());
    }
    account.allow_traversal(&fallback)?;
    Ok(fallback)
}

fn temporary(account: Option<&Account>) -> anyhow::Result<PathBuf> {
    [std::env::temp_dir(), PathBuf::from("/tmp"), PathBuf::from("/var/tmp")]
        .into_iter()
        .find(|dir| dir.is_dir() && account.is_none_or(|account| account.can_enter(dir)))
        .context("there is no temporary directory that Postgres can use; set TMPDIR")
}

fn has_code(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(DatabaseError::code).as_deref() == Some(code)
}
