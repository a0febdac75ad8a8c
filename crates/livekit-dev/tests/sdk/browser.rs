//! Chromium and its pages: each page is a participant with livekit-client (js/page.mjs).

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    process::Command,
    sync::{Mutex, OnceCell, Semaphore, SemaphorePermit},
};

use crate::{
    driver::{self, Driver, file, in_repository},
    server::{Server, token},
};

/// The values of `singlePeerConnection`: true is `/rtc/v1`, false is `/rtc`.
pub const PATHS: [bool; 2] = [true, false];

const BUNDLE: &str = "target/sdk/page.js";

/// Limit of concurrent browsers: more would only wait for each other.
static BROWSERS: Semaphore = Semaphore::const_new(2);

pub struct Browser {
    driver: Arc<Mutex<Driver>>,
    _permit: SemaphorePermit<'static>,
}

impl Browser {
    pub async fn start() -> Self {
        bundled().await;
        let permit = BROWSERS.acquire().await.unwrap();
        let mut command = Command::new("node");
        command
            .arg(file("js/drive.mjs"))
            .arg(in_repository(BUNDLE))
            .env("CHROMIUM", in_repository("target/sdk/chromium"));
        Self { driver: Arc::new(Mutex::new(Driver::start(&mut command))), _permit: permit }
    }

    /// Returns a page, which is opened when it is first used.
    pub fn page(&self, name: &str) -> Page {
        Page { driver: self.driver.clone(), name: name.to_owned() }
    }

    /// Returns a page whose participant has joined.
    pub async fn joined(&self, server: &Server, room: &str, identity: &str, single: bool) -> Page {
        self.joined_with(server, room, identity, &json!({"singlePeerConnection": single})).await
    }

    pub async fn joined_with(&self, server: &Server, room: &str, identity: &str, options: &Value) -> Page {
        let page = self.page(&format!("{room}/{identity}"));
        let token = token(room, identity);
        page.call("join", json!({"url": server.url, "token": token, "options": options})).await;
        page
    }
}

/// Bundles the page once for all tests.
async fn bundled() {
    static BUNDLED: OnceCell<()> = OnceCell::const_new();
    let bundle = async || {
        driver::installed().await;
        let mut command = Command::new("node");
        command.arg(file("js/bundle.mjs")).arg(in_repository(BUNDLE));
        assert!(command.status().await.unwrap().success(), "the page cannot be bundled");
    };
    BUNDLED.get_or_init(bundle).await;
}

pub struct Page {
    driver: Arc<Mutex<Driver>>,
    name: String,
}

impl Page {
    /// Calls a function of the page; the test fails with the page's error.
    pub async fn call(&self, function: &str, with: Value) -> Value {
        self.attempt(function, with).await.unwrap_or_else(|error| panic!("{error}"))
    }

    pub async fn attempt(&self, function: &str, with: Value) -> Result<Value, String> {
        let command = json!({"page": self.name, "call": function, "with": with});
        self.driver.lock().await.call(&command).await
    }

    pub async fn sid(&self) -> Value {
        self.call("sid", Value::Null).await
    }

    /// Waits until the page has joined again with another session than this one. Returns its SID.
    pub async fn joins_again(&self, before: Value) -> Value {
        self.call("joinsAgain", before).await
    }

    /// Turns sources on and off.
    pub async fn publish(&self, sources: Value) {
        self.call("publish", sources).await;
    }

    /// Waits for more frames of a picture, or for more sound.
    pub async fn arrives(&self, identity: &str, source: &str) {
        self.call("arrives", json!({"identity": identity, "source": source})).await;
    }

    /// Waits for pictures and sound of all these participants, at the same time.
    pub async fn all_arrive(&self, identities: &[&str]) {
        self.call("allArrive", json!(identities)).await;
    }

    /// Waits for packets of pictures and sound of all these participants. After a full reconnect a page shows no more.
    pub async fn all_flow(&self, identities: &[&str]) {
        self.call("allFlow", json!(identities)).await;
    }

    /// Waits until a track stops while another one of the participant continues.
    pub async fn stops(&self, identity: &str, source: &str, beside: &str) {
        self.call("stops", json!({"identity": identity, "source": source, "beside": beside})).await;
    }

    pub async fn happens(&self, event: &str, about: &str) {
        self.call("happens", json!({"event": event, "about": about})).await;
    }

    pub async fn happens_times(&self, event: &str, times: usize) {
        self.call("happens", json!({"event": event, "times": times})).await;
    }

    pub async fn gone(&self, identity: &str, source: &str) {
        self.call("gone", json!({"identity": identity, "source": source})).await;
    }

    /// Waits for a text. Returns all messages so far.
    pub async fn hears(&self, text: &str) -> Vec<Value> {
        self.call("hears", json!(text)).await.as_array().unwrap().clone()
    }

    /// Closes the page as a user closes a tab.
    pub async fn close(&self) {
        self.call("close", Value::Null).await;
    }
}
