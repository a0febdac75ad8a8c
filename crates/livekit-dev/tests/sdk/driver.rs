//! A program with an official client: it reads one command per line and writes one answer per line.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::OnceCell,
};

/// Longer than any timeout of the programs.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(2);

pub struct Driver {
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    /// Not killed: it ends when its input ends, and then closes what it started.
    _child: Child,
}

impl Driver {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { input: child.stdin.take().unwrap(), output, _child: child }
    }

    /// Sends a command. Returns its answer, or why it failed.
    pub async fn call(&mut self, command: &Value) -> Result<Value, String> {
        self.input.write_all(format!("{command}\n").as_bytes()).await.map_err(|error| error.to_string())?;
        let line = tokio::time::timeout(ANSWER_TIMEOUT, self.output.next_line()).await;
        let line = line.map_err(|_| format!("no answer to {command}"))?.map_err(|error| error.to_string())?;
        let mut reply: Value = serde_json::from_str(&line.ok_or_else(|| format!("ended at {command}"))?)
            // An error of the client is an answer too: tests compare it.
            .map_err(|error| error.to_string())?;
        match reply.get("error") {
            Some(error) => Err(error.as_str().unwrap_or_default().to_owned()),
            None => Ok(reply["answer"].take()),
        }
    }
}

/// A file in the directory of these tests.
pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk").join(name)
}

/// A path below the root of the repository.
pub fn in_repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
}

/// Installs the clients if they are missing; `make test` has already installed them.
pub async fn installed() {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let install = async || {
        let status = Command::new(in_repository(".ci/sdk")).status().await.unwrap();
        assert!(status.success(), ".ci/sdk could not install the clients; its message is above");
    };
    INSTALLED.get_or_init(install).await;
}
