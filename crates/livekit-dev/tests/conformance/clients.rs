//! Participants with media, for livekit-dev and for a real server, and waiting for what the API lists.

use std::time::Duration;

use livekit_protocol::{ParticipantInfo, participant_info::State};
use rtc_client::{Client, Options, SignalPath};
use serde_json::Value;

use crate::target::Target;
use crate::tokens;

pub const BOTH: [SignalPath; 2] = [SignalPath::V1, SignalPath::V0];

/// A test that waits longer than this for the API has failed.
const LIMIT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(20);

impl Target {
    pub fn options(&self, token: &str) -> Options {
        Options::new(&self.url, token)
    }

    /// A participant with all rights, connected over `/rtc/v1`.
    pub async fn enter(&self, identity: &str, room: &str) -> Client {
        self.enter_over(SignalPath::V1, identity, room).await
    }

    pub async fn enter_over(&self, path: SignalPath, identity: &str, room: &str) -> Client {
        self.enter_with(path, identity, &tokens::joining(room)).await
    }

    /// A participant with these grants, when the server has observed that its media is connected.
    pub async fn enter_with(&self, path: SignalPath, identity: &str, video: &Value) -> Client {
        let client = Client::connect(self.options(&self.token(identity, video)).over(path)).await.unwrap();
        let active = |info: &ParticipantInfo| {
            (info.sid == client.sid() && info.state() == State::Active).then_some(())
        };
        self.listed(video["room"].as_str().unwrap_or_default(), identity, active).await;
        client
    }

    /// Waits until the API lists the participant in a way that `picks` accepts.
    pub async fn listed<T>(
        &self,
        room: &str,
        identity: &str,
        picks: impl Fn(&ParticipantInfo) -> Option<T>,
    ) -> T {
        let check = async || {
            let listed = self.rooms().list_participants(room).await.unwrap();
            listed.iter().find(|info| info.identity == identity).and_then(&picks)
        };
        eventually(&format!("{identity} listed as expected"), check).await
    }

    /// Waits until no participant with this identity is listed.
    pub async fn gone(&self, room: &str, identity: &str) {
        let check = async || {
            let listed = self.rooms().list_participants(room).await.unwrap();
            listed.iter().all(|info| info.identity != identity).then_some(())
        };
        eventually(&format!("{identity} is not listed"), check).await;
    }
}

pub async fn eventually<T>(what: &str, check: impl AsyncFn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = check().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}
