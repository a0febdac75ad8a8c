//! The fixture of a measurement: the database, livekit-dev, the keys, and how long to measure.

use std::{
    env,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result};

use crate::{
    baseline::{LISTEN, PEER},
    database::Database,
    process::Process,
    stack::{self, Shared},
    users,
};

/// The settings of the command line.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a load lasts.
    pub time: Duration,
    /// How long a load lasts that must be steady for longer.
    pub steady: Duration,
    pub rounds: usize,
    /// The rows of the large cases.
    pub history: i64,
    /// The open rooms of a pass.
    pub rooms: i32,
}

pub struct Fixture {
    pub greenroom: PathBuf,
    /// The executable of a real LiveKit server.
    pub livekit_server: Option<PathBuf>,
    pub settings: Settings,
    pub database: Database,
    pub shared: Shared,
    livekit: Process,
}

/// The `greenroom` in this program's directory.
pub fn default_executable() -> Result<PathBuf> {
    let path = env::current_exe()?.with_file_name("greenroom");
    anyhow::ensure!(path.exists(), "{} is missing: cargo build --release --workspace", path.display());
    Ok(path)
}

impl Fixture {
    /// Creates the database and starts livekit-dev. `name` distinguishes the databases of this process.
    pub async fn prepare(greenroom: PathBuf, settings: Settings, name: &str) -> Result<Self> {
        let database = Database::create(name).await?;
        let shared = Shared {
            database_url: database.url.clone(),
            livekit: stack::free_port()?,
            livekit_key: "benchkey".to_owned(),
            livekit_secret: users::secret(),
            internal_token: users::secret(),
        };
        let env = [
            (LISTEN.to_owned(), shared.livekit.to_string()),
            ("LIVEKIT_API_KEY".to_owned(), shared.livekit_key.clone()),
            ("LIVEKIT_API_SECRET".to_owned(), shared.livekit_secret.clone()),
        ];
        let livekit = Process::start("livekit-dev", &env::current_exe()?, &["child", "livekit"], &env)?;
        stack::wait_for(shared.livekit, "/").await?;
        Ok(Self { greenroom, livekit_server: None, settings, database, shared, livekit })
    }

    /// Starts a child of this program that serves a baseline, and waits until it listens.
    pub async fn baseline(&self, name: &str, peer: Option<SocketAddr>) -> Result<(Process, SocketAddr)> {
        let address = stack::free_port()?;
        let mut env = vec![
            (LISTEN.to_owned(), address.to_string()),
            ("DATABASE_URL".to_owned(), self.shared.database_url.clone()),
        ];
        env.extend(peer.map(|peer| (PEER.to_owned(), peer.to_string())));
        let process = Process::start(name, &env::current_exe()?, &["child", name], &env)?;
        for _ in 0..500 {
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok((process, address));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        anyhow::bail!("{name} does not listen")
    }

    pub async fn describe(&self) -> Result<String> {
        let version = sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#);
        let fsync = sqlx::query_scalar!(r#"select current_setting('fsync') as "fsync!""#);
        let (version, fsync) =
            (version.fetch_one(&self.database.pool).await?, fsync.fetch_one(&self.database.pool).await?);
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
        Ok(format!(
            "{} × {}, PostgreSQL {version} (fsync {fsync}), {} rounds of {} s, everything on this machine.\n",
            std::thread::available_parallelism()?,
            model.unwrap_or("CPU"),
            self.settings.rounds,
            self.settings.time.as_secs(),
        ))
    }

    pub async fn clear(self) -> Result<()> {
        self.livekit.stop().await?;
        self.database.remove().await
    }
}

/// Creates a directory for `greenroom up`, which may run its Postgres as another user.
pub fn directory(name: &str) -> Result<PathBuf> {
    let path = env::temp_dir().join(format!("greenroom-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).with_context(|| format!("{} cannot be created", path.display()))?;
    Ok(path)
}

/// Removes a directory that `directory` created. A server that still writes there does not fail the run.
pub fn remove(directory: &Path) {
    if let Err(error) = std::fs::remove_dir_all(directory) {
        eprintln!("{} was not removed: {error}", directory.display());
    }
}
