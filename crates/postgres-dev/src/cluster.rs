//! The files of a server: `<home>/{data, password, log}`. The account that runs the server owns all of them.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};
use rand::distr::{Alphanumeric, SampleString};

use crate::{Durability, account::Account, binaries::Binaries};

#[derive(Debug)]
pub struct Cluster {
    home: PathBuf,
    account: Option<Account>,
    password: String,
}

impl Cluster {
    /// Opens the cluster in `home`. Generates its password when it has none yet.
    pub fn at(home: PathBuf, account: Option<Account>) -> anyhow::Result<Self> {
        fs::create_dir_all(&home).with_context(|| format!("{} cannot be created", home.display()))?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).with_context(|| {
            format!("{} belongs to another user (was it created by root?)", home.display())
        })?;
        let password = home.join("password");
        if !password.exists() {
            private_file(&password)?
                .write_all(Alphanumeric.sample_string(&mut rand::rng(), 40).as_bytes())?;
        }
        // Root wrote these files, but the server reads them under its own account.
        if let Some(account) = &account {
            account.own(&home)?;
            account.own(&password)?;
        }
        Ok(Self {
            password: fs::read_to_string(&password)
                .with_context(|| format!("{} cannot be read", password.display()))?,
            home,
            account,
        })
    }

    pub fn account(&self) -> Option<&Account> {
        self.account.as_ref()
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    pub fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    pub fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// The major version that created the data directory.
    pub fn version(&self) -> Option<u32> {
        fs::read_to_string(self.data().join("PG_VERSION")).ok()?.trim().parse().ok()
    }

    /// Creates the data directory unless it exists. It appears by a rename, so it is never incomplete.
    pub fn initialise(&self, binaries: &Binaries, durability: Durability) -> anyhow::Result<()> {
        if self.version().is_some() {
            return Ok(());
        }
        let unfinished = self.home.join("data.unfinished");
        // Left by a run that was killed during `initdb`.
        if unfinished.exists() {
            fs::remove_dir_all(&unfinished)?;
        }
        let mut initdb = self.command(&binaries.program("initdb"));
        initdb
            // Locale C: the order of texts does not depend on the machine.
            .args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"])
            .args(["--no-instructions", "--pwfile"])
            .arg(self.home.join("password"))
            .arg("--pgdata")
            .arg(&unfinished)
            .stdout(Stdio::null());
        if durability == Durability::ThrowAway {
            initdb.arg("--no-sync");
        }
        let output = initdb.output().context("initdb cannot be run")?;
        if !output.status.success() {
            bail!("initdb failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        fs::rename(unfinished, self.data()).context("the new data directory cannot be moved to its place")
    }

    /// Builds a command that runs as the account, without the environment variables that Postgres would read.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        // PGDATA, PGPORT and others of the caller's environment would change what is started.
        command.current_dir("/").env_clear().env("LC_ALL", "C").stdin(Stdio::null());
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        if let Some(account) = &self.account {
            account.run(&mut command);
        }
        command
    }
}

/// Creates an empty file that only its owner can read, also when it replaces a file that others could read.
pub fn private_file(path: &Path) -> anyhow::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    let private = file.and_then(|file| {
        // `mode` above applies only to a new file.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        Ok(file)
    });
    private.with_context(|| format!("{} cannot be written", path.display()))
}
