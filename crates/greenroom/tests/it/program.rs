//! The executable in its own process, with only the environment that a test gives it.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

pub struct CommandResult {
    pub code: i32,
    pub out: String,
    pub err: String,
}

pub fn command(arguments: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_greenroom"));
    // Only these settings: the variables of the machine that runs the tests must not change a result.
    command.args(arguments).env_clear().kill_on_drop(true).stdin(Stdio::null());
    for name in ["PATH", "HOME"] {
        command.env(name, std::env::var_os(name).unwrap_or_default());
    }
    command.envs(environment.iter().copied());
    command
}

/// Runs a command to its end.
pub async fn greenroom(arguments: &[&str], environment: &[(&str, &str)]) -> CommandResult {
    let output = command(arguments, environment).output().await.unwrap();
    CommandResult {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A directory that the user `postgres` can enter, for tests that run as root.
pub fn open_directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    dir
}

const LOG: &str = "log";

/// A running `up` on free ports.
pub struct Up {
    child: Child,
    out: Lines<BufReader<ChildStdout>>,
    /// The folder of its log.
    log: TempDir,
    pub url: String,
}

impl Up {
    pub async fn start(data_dir: &Path, environment: &[(&str, &str)]) -> Self {
        Self::start_with(data_dir, &[], environment).await
    }

    pub async fn start_with(data_dir: &Path, more: &[&str], environment: &[(&str, &str)]) -> Self {
        let data_dir = data_dir.to_str().unwrap();
        let usual = ["up", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir", data_dir];
        let arguments = [&usual, more].concat();
        let log = tempfile::tempdir().unwrap();
        // Into a file: a pipe that is not read would block `up`.
        let stderr = fs::File::create(log.path().join(LOG)).unwrap();
        let mut child =
            command(&arguments, environment).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first =
            tokio::time::timeout(Duration::from_secs(30), lines.next_line()).await.expect("ready in time");
        let mut up = Self { child, out: lines, log, url: String::new() };
        let line = first.unwrap().unwrap_or_else(|| panic!("nothing on stdout: {}", up.log()));
        line.strip_prefix("ready ").expect("the first line says ready").clone_into(&mut up.url);
        up
    }

    /// What it prints on stdout after its first line, up to the line that says how to stop it.
    pub async fn screen(&mut self) -> String {
        let mut screen = String::new();
        while !screen.contains("Stop: ") {
            let line = tokio::time::timeout(Duration::from_secs(30), self.out.next_line()).await;
            screen += &(line.expect("a line in time").unwrap().expect("it says how to stop") + "\n");
        }
        screen
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log.path().join(LOG)).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub async fn stop(mut self, signal: Signal) -> ExitStatus {
        let pid = Pid::from_raw(self.child.id().unwrap().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        self.child.wait().await.unwrap()
    }
}
