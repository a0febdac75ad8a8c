//! The data directory: one `up` at a time, and what it remembers from start to start.

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

use crate::livekit_dev::generate;

const LOCK_PATIENCE: Duration = Duration::from_secs(1);
const RECORDINGS: &str = "recordings";

/// Holds the lock while it lives.
pub struct DataDir {
    path: PathBuf,
    _lock: File,
    pub kept: Kept,
}

/// Kept so that tokens, and the deployment that the database knows, outlive a restart.
#[derive(Clone, Deserialize, Serialize)]
pub struct Kept {
    pub internal_token: String,
    pub livekit_api_key: String,
    pub livekit_api_secret: String,
    pub sign_in_secret: String,
    /// The stand-in's port; None until it was started once.
    pub livekit_port: Option<u16>,
    /// Where its media flowed, if that port is free again.
    #[serde(default)]
    pub rtc_port: Option<u16>,
}

impl DataDir {
    /// `fresh` forgets what was remembered.
    pub fn open(path: &Path, fresh: bool) -> anyhow::Result<Self> {
        make(path)?;
        let lock = lock(path)?;
        let file = path.join("kept.json");
        let kept = if file.exists() && !fresh {
            let text = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?
        } else {
            Kept {
                internal_token: generate(),
                livekit_api_key: "devkey".to_owned(),
                livekit_api_secret: generate(),
                sign_in_secret: generate(),
                livekit_port: None,
                rtc_port: None,
            }
        };
        if fresh {
            unless_absent(fs::remove_dir_all(path.join(RECORDINGS)))
                .context("the recordings cannot be removed")?;
        } else {
            // Made by an older version, it may be open to others.
            let private = fs::set_permissions(path.join(RECORDINGS), Permissions::from_mode(0o700));
            unless_absent(private).context("the recordings cannot be closed to others")?;
        }
        let opened = Self { path: path.canonicalize()?, _lock: lock, kept };
        opened.keep(&opened.kept)?;
        Ok(opened)
    }

    pub fn keep(&self, kept: &Kept) -> anyhow::Result<()> {
        self.write("kept.json", &serde_json::to_string_pretty(kept)?)
    }

    /// What livekit-dev records.
    pub fn recordings(&self) -> PathBuf {
        self.path.join(RECORDINGS)
    }

    /// Where other commands find the settings of the running `up`.
    pub fn environment(&self) -> PathBuf {
        self.path.join("env")
    }

    pub fn write_environment(&self, settings: &[(&str, String)]) -> anyhow::Result<()> {
        let lines: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("{name}='{}'\n", value.replace('\'', r"'\''")))
            .collect();
        self.write("env", &lines.concat())
    }

    /// The settings end with the process; what is remembered stays.
    pub fn close(self) {
        let _ = fs::remove_file(self.environment()); // never written when the start failed
    }

    /// A file that only its owner can read, there as a whole or not at all.
    fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (new, path) = (self.path.join(format!("{name}.new")), self.path.join(name));
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(text.as_bytes())?;
        fs::rename(new, &path).with_context(|| format!("{} cannot be written", path.display()))
    }
}

/// Makes the directory, private like everything in it. One that was there keeps its mode: it may hold other things.
fn make(path: &Path) -> anyhow::Result<()> {
    let is_absent = |dir: &&Path| !dir.as_os_str().is_empty() && !dir.exists();
    let made: Vec<&Path> = path.ancestors().take_while(is_absent).collect();
    fs::create_dir_all(path).with_context(|| format!("{} cannot be made", path.display()))?;
    postgres_dev::let_through(&made)
}

/// What is not there needs nothing done.
fn unless_absent(outcome: io::Result<()>) -> io::Result<()> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        outcome => outcome,
    }
}

/// A process that was just killed may hold its lock for a moment more.
fn lock(dir: &Path) -> anyhow::Result<File> {
    let lock = File::create(dir.join("lock"))
        .and_then(|lock| lock.set_permissions(Permissions::from_mode(0o600)).map(|()| lock))
        .with_context(|| format!("{} cannot be written to (was it made by root?)", dir.display()))?;
    let begun = Instant::now();
    loop {
        match lock.try_lock() {
            Ok(()) => return Ok(lock),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LOCK_PATIENCE => {
                thread::sleep(Duration::from_millis(20));
            }
            Err(TryLockError::WouldBlock) => bail!(
                "another `greenroom up` uses the data directory {}; stop it, or give this one another --data-dir",
                dir.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).context("the data directory cannot be locked");
            }
        }
    }
}
