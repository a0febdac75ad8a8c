//! A server process: started on a free loopback port, watched until it is ready, stopped when dropped.
//!
//! The child gets the parent-death signal, which follows the *thread* that started it: so one thread starts it and runs
//! until it has ended. The child has its own process group, so that Ctrl-C does not stop it before our services.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Durability,
    binaries::Binaries,
    cluster::{Cluster, private_file},
};

const START_BUDGET: Duration = Duration::from_mins(1); // recovery after a crash may take a while
const STOP_BUDGET: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Running {
    port: u16,
    pid: Pid,
    ended: mpsc::Receiver<std::io::Result<ExitStatus>>,
}

impl Running {
    pub fn start(cluster: &Cluster, binaries: &Binaries, durability: Durability) -> anyhow::Result<Self> {
        stop_other_server(&cluster.data())?;
        let port = free_port()?;
        match Self::start_on(port, cluster, binaries, durability) {
            // Between `free_port` and the start another process may take the port. Once more is enough.
            Err(error) if is_taken(port) => {
                tracing::warn!(%error, port, "the port of Postgres was taken; using another one");
                Self::start_on(free_port()?, cluster, binaries, durability)
            }
            started => started,
        }
    }

    fn start_on(
        port: u16,
        cluster: &Cluster,
        binaries: &Binaries,
        durability: Durability,
    ) -> anyhow::Result<Self> {
        let mut command = command(cluster, binaries, durability, port)?;
        let (pid_sender, pid) = mpsc::channel();
        let (end_sender, ended) = mpsc::channel();
        thread::Builder::new().name("postgres".into()).spawn(move || {
            let child = command.spawn();
            // The thread must not end before the child, so it reports the id and then waits.
            let _ = pid_sender.send(child.as_ref().map(Child::id).map_err(ToString::to_string));
            if let Ok(mut child) = child {
                let _ = end_sender.send(child.wait()); // fails when the server was dropped first
            }
        })?;
        let pid = pid.recv()?.map_err(|error| anyhow!("Postgres cannot be started: {error}"))?;
        let pid = Pid::from_raw(pid.try_into()?).context("a process has no id")?;
        let running = Self { port, pid, ended };
        running.wait_until_ready(cluster)?;
        Ok(running)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait_until_ready(&self, cluster: &Cluster) -> anyhow::Result<()> {
        let begun = Instant::now();
        let file = cluster.data().join("postmaster.pid");
        loop {
            match self.ended.recv_timeout(POLL) {
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                // A message or a closed channel: the server ended before it was ready.
                _ => bail!("Postgres did not start:\n{}", tail(&cluster.log())),
            }
            // The id is compared, because the file may still be that of the previous server.
            if PidFile::read(&file).is_some_and(|file| file.pid == self.pid && file.ready) {
                return Ok(());
            }
            if begun.elapsed() > START_BUDGET {
                bail!("Postgres was not ready within 60 s:\n{}", tail(&cluster.log()));
            }
        }
    }
}

impl Drop for Running {
    /// Stops the server. SIGINT is Postgres' fast stop: it ends sessions and keeps committed data. SIGQUIT is the
    /// last resort.
    fn drop(&mut self) {
        // SIGQUIT loses nothing that is committed: the next start recovers as after a crash.
        for signal in [Signal::INT, Signal::QUIT] {
            if !matches!(self.ended.try_recv(), Err(mpsc::TryRecvError::Empty)) {
                return;
            }
            let _ = kill_process(self.pid, signal); // fails only when the process has ended: the wait below sees it
            if self.ended.recv_timeout(STOP_BUDGET).is_ok() {
                return;
            }
        }
        tracing::warn!(pid = %self.pid, "Postgres did not stop");
    }
}

fn command(
    cluster: &Cluster,
    binaries: &Binaries,
    durability: Durability,
    port: u16,
) -> anyhow::Result<Command> {
    let server = binaries.program("postgres");
    let mut command = if has_setpriv() {
        let mut command = cluster.command(Path::new("setpriv"));
        command.args(["--pdeathsig", "INT"]).arg(server);
        command
    } else {
        cluster.command(&server) // not Linux: it survives a killed parent, and the next start stops it
    };
    command.arg("-D").arg(cluster.data()).arg("-p").arg(port.to_string());
    let mut settings = vec![
        "listen_addresses=127.0.0.1",
        "unix_socket_directories=",
        "timezone=UTC",
        "log_timezone=UTC",
        // Tests run in parallel, and each service of a test has a pool of its own.
        "max_connections=400",
        "jit=off", // compiling takes longer than any statement of ours; this also covers psql
    ];
    if durability == Durability::ThrowAway {
        settings.extend(["fsync=off", "synchronous_commit=off", "full_page_writes=off"]);
    }
    for setting in settings {
        command.args(["-c", setting]);
    }
    let log = private_file(&cluster.log())?;
    command.stdout(Stdio::null()).stderr(log).process_group(0);
    Ok(command)
}

fn has_setpriv() -> bool {
    let tried = Command::new("setpriv").args(["--pdeathsig", "INT", "true"]).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

/// Stops a server of this data directory that survived its parent, and removes a stale `postmaster.pid`. Its process id
/// may belong to another process by now, and Postgres would not start. The caller holds the lock of the data directory,
/// so no other user has it.
fn stop_other_server(data: &Path) -> anyhow::Result<()> {
    let file = data.join("postmaster.pid");
    let begun = Instant::now();
    while let Some(other) = PidFile::read(&file) {
        if !is_server_of(other.pid, data) {
            return fs::remove_file(&file).context("a stale postmaster.pid cannot be removed");
        }
        if begun.elapsed() > STOP_BUDGET {
            bail!("another Postgres (process {}) uses {}", other.pid, data.display());
        }
        // In each round: the first signal may arrive before the server handles signals.
        let _ = kill_process(other.pid, Signal::INT);
        thread::sleep(POLL);
    }
    Ok(())
}

/// Whether this process is the server of `data`. On Linux: whether its working directory is the data directory. On
/// other systems: whether it runs.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    if cfg!(target_os = "linux") {
        // The server changes to its data directory; another process with this id would not be there.
        fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data)
    } else {
        rustix::process::test_kill_process(pid).is_ok()
    }
}

/// The content of postmaster.pid: the process id in line 1; `ready`, or `standby` in recovery, in line 8.
struct PidFile {
    pid: Pid,
    ready: bool,
}

impl PidFile {
    fn read(path: &Path) -> Option<Self> {
        let text = fs::read_to_string(path).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.trim().parse().ok()?)?;
        let state = text.lines().nth(7).map_or("", str::trim);
        Some(Self { pid, ready: ["ready", "standby"].contains(&state) })
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn is_taken(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err()
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
