//! A measured process, with its CPU time and memory as the kernel counts them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context, Result};
use rustix::process::{Resource, getrlimit, setrlimit};

/// A child of this program. It is killed when this is dropped.
pub struct Process {
    pub name: String,
    child: tokio::process::Child,
}

impl Process {
    /// Starts it with only `PATH`, `HOME` and `RUST_LOG` of our environment. Its log is dropped, or goes to this
    /// program's stderr with `BENCH_LOGS=1`.
    pub fn start(name: &str, program: &Path, arguments: &[&str], env: &[(String, String)]) -> Result<Self> {
        let mut command = Command::new(program);
        let ours =
            ["PATH", "HOME", "RUST_LOG"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
        command.args(arguments).env_clear().envs(ours).envs(env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        if std::env::var_os("BENCH_LOGS").is_none() {
            command.stderr(Stdio::null());
        }
        let child = tokio::process::Command::from(command).kill_on_drop(true).spawn();
        let child = child.with_context(|| format!("{} does not start", program.display()))?;
        Ok(Self { name: name.to_owned(), child })
    }

    pub fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.child.stdout.take()
    }

    pub fn usage(&self) -> Usage {
        self.child.id().map_or_else(Usage::default, Usage::of)
    }

    /// The number of its open files and sockets.
    pub fn files(&self) -> usize {
        let files = self.child.id().and_then(|id| fs::read_dir(format!("/proc/{id}/fd")).ok());
        files.map_or(0, Iterator::count)
    }

    /// Sends SIGTERM, and waits until it has stopped.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(id) = self.child.id() {
            tokio::process::Command::new("kill").arg(id.to_string()).status().await?;
        }
        tokio::time::timeout(Duration::from_secs(30), self.child.wait()).await??;
        Ok(())
    }
}

/// Raises the limit of open files, also for processes that are started later. Returns the new limit.
pub fn allow_files(wanted: u64) -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    if limit.current.is_some_and(|current| current < allowed) {
        limit.current = Some(allowed);
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            eprintln!("the limit of open files could not be raised: {error}");
        }
    }
    getrlimit(Resource::Nofile).current.unwrap_or(wanted)
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu: Duration,
    /// The resident memory.
    pub memory_kib: u64,
    /// The peak of the resident memory.
    pub peak_kib: u64,
}

/// Resets this process's [`Usage::peak_kib`].
pub fn reset_peak() -> Result<()> {
    fs::write("/proc/self/clear_refs", "5").context("the kernel does not reset the peak of memory")
}

impl Usage {
    /// The usage of a process. Zero if it has ended or its numbers may not be read.
    pub fn of(pid: u32) -> Self {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        // utime and stime are the fields 14 and 15. The name (2) may contain blanks, so the count starts after it.
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks: u64 = behind_name
            .split_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or_default()
        };
        Self {
            cpu: Duration::from_millis(ticks * 10), // the kernel's unit for user space is 1/100 s
            memory_kib: kib("VmRSS"),
            peak_kib: kib("VmHWM"),
        }
    }
}
