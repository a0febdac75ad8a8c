//! The data directory: it admits one `up` at a time, and keeps state from one start to the next.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::environment::Environment;
use crate::livekit_dev::generate;

const LOCK_TIMEOUT: Duration = Duration::from_secs(1);
const RECORDINGS: &str = "recordings";
/// The file with the settings of the running `up`.
pub const ENVIRONMENT: &str = "env";

/// The open data directory. Holds its lock until it is dropped.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    pub kept: Kept,
}

/// Values that are kept so that tokens, and the deployment that the database has recorded, survive a restart.
#[derive(Clone, Deserialize, Serialize)]
pub struct Kept {
    pub internal_token: String,
    pub livekit_api_key: String,
    pub livekit_api_secret: String,
    pub sign_in_secret: String,
    /// The stand-in's port. None before its first start.
    pub livekit_port: Option<u16>,
    /// The UDP port of its media, used again if it is free.
    #[serde(default)]
    pub rtc_port: Option<u16>,
}

/// A data directory whose lock this process has. Nothing in it was read or changed yet.
pub struct Claimed {
    path: PathBuf,
    lock: File,
}

/// Creates the directory and takes its lock. The error says when another `up` has it.
pub fn claim(path: &Path) -> anyhow::Result<Claimed> {
    create(path)?;
    Ok(Claimed { path: path.to_owned(), lock: lock(path)? })
}

/// Whether an `up` has the lock of the directory.
pub fn is_in_use(path: &Path) -> anyhow::Result<bool> {
    let lock = match File::open(path.join("lock")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened.with_context(|| format!("{} cannot be read", path.join("lock").display()))?,
    };
    // Shared: two that ask at the same time do not take each other for an `up`.
    match lock.try_lock_shared() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(error).context("the data directory cannot be locked"),
    }
}

impl Claimed {
    /// Opens the directory. `fresh` discards the kept values.
    pub fn open(self, fresh: bool) -> anyhow::Result<DataDir> {
        let Self { path, lock } = self;
        // Left by an `up` that was killed. Other commands would take its values for ours.
        unless_absent(fs::remove_file(path.join(ENVIRONMENT))).context("the file env cannot be removed")?;
        let file = path.join("kept.json");
        let kept = if file.exists() && !fresh {
            let text = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?
        } else {
            Kept::generate()
        };
        if fresh {
            unless_absent(fs::remove_dir_all(path.join(RECORDINGS)))
                .context("the recordings cannot be removed")?;
        } else {
            // An older version may have created the folder with access for others.
            let private = fs::set_permissions(path.join(RECORDINGS), Permissions::from_mode(0o700));
            unless_absent(private).context("the recordings cannot be closed to others")?;
        }
        let opened = DataDir { path: path.canonicalize()?, _lock: lock, kept };
        // Written at once, so that a start that fails later keeps its secrets.
        opened.keep(&opened.kept)?;
        Ok(opened)
    }
}

impl Kept {
    fn generate() -> Self {
        Self {
            internal_token: generate(),
            livekit_api_key: "devkey".to_owned(),
            livekit_api_secret: generate(),
            sign_in_secret: generate(),
            livekit_port: None,
            rtc_port: None,
        }
    }
}

impl DataDir {
    pub fn keep(&self, kept: &Kept) -> anyhow::Result<()> {
        self.write("kept.json", &serde_json::to_string_pretty(kept)?)
    }

    /// The folder of livekit-dev's recordings.
    pub fn recordings(&self) -> PathBuf {
        self.path.join(RECORDINGS)
    }

    /// Writes the settings of the running `up`, for shells and for other commands.
    pub fn write_environment(&self, environment: &Environment) -> anyhow::Result<()> {
        self.write(ENVIRONMENT, &environment.lines())
    }

    /// Removes the file of settings. The kept values stay.
    pub fn close(self) {
        let _ = fs::remove_file(self.path.join(ENVIRONMENT)); // never written when the start failed
    }

    /// Writes a file atomically. Only its owner can read it.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        // A rename is atomic: a reader gets the old file or the new one.
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        // The mode when it is created, so that the file is never readable by others.
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(new, &path).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// Creates the directory with access for its owner only. An existing directory keeps its mode: it may hold other files.
fn create(path: &Path) -> anyhow::Result<()> {
    let is_absent = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    // Only directories that this call creates are opened for the server's account.
    let created: Vec<&Path> = path.ancestors().take_while(is_absent).collect();
    fs::create_dir_all(path).with_context(|| format!("{} cannot be created", path.display()))?;
    postgres_dev::allow_traversal(&created)
}

/// Treats "not found" as success.
fn unless_absent(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// Takes the file lock of the directory. It retries for a second: a process that was just killed may still hold the
/// lock.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let lock = File::create(dir.join("lock"))
        .and_then(|lock| lock.set_permissions(Permissions::from_mode(0o600)).map(|()| lock))
        .with_context(|| format!("{} cannot be written to (was it created by root?)", dir.display()))?;
    let begun = Instant::now();
    loop {
        // The lock of a file ends with its process, however that ends.
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_TIMEOUT => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => bail!(
                "another `greenroom up` uses the data directory {} (`greenroom status` lists its addresses); stop it, \
                 or give this one another --data-dir",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).context("the data directory cannot be locked");
            }
        }
    }
}
