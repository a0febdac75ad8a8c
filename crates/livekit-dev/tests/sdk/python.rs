//! The Python SDK: one participant in a separate process (py/participant.py).

use serde_json::{Value, json};
use tokio::{process::Command, sync::Mutex};

use crate::{
    driver::{self, Driver, file, in_repository},
    server::{Server, token},
};

pub struct Python(Mutex<Driver>);

impl Python {
    /// A participant that has joined and publishes a picture and a sound.
    pub async fn publishing(server: &Server, room: &str, identity: &str, single: bool) -> Self {
        let python = Self::joined(server, room, identity, single).await;
        python.call("publish", json!({})).await;
        python
    }

    pub async fn joined(server: &Server, room: &str, identity: &str, single: bool) -> Self {
        driver::installed().await;
        let mut command = Command::new(in_repository("target/sdk/venv/bin/python"));
        command.arg(file("py/participant.py"));
        let python = Self(Mutex::new(Driver::start(&mut command)));
        let token = token(room, identity);
        python.call("join", json!({"url": server.url, "token": token, "single": single})).await;
        python
    }

    /// Calls a method of the participant; the test fails with its error.
    pub async fn call(&self, method: &str, with: Value) -> Value {
        let answer = self.0.lock().await.call(&json!({"call": method, "with": with})).await;
        answer.unwrap_or_else(|error| panic!("python {error}"))
    }

    /// Waits for more frames of a picture, or for more sound.
    pub async fn arrives(&self, identity: &str, source: &str) {
        self.call("arrives", json!({"identity": identity, "source": source})).await;
    }

    pub async fn mute(&self, source: &str, muted: bool) {
        self.call("mute", json!({"source": source, "muted": muted})).await;
    }

    /// Waits until the participant is, or is not, among the active speakers.
    pub async fn speaks(&self, identity: &str, active: bool) {
        self.call("speaks", json!({"identity": identity, "active": active})).await;
    }
}
