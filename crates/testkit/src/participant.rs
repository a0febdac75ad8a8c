//! A participant with media, on livekit-dev or on a real server.

use chassis::config;
use livekit_protocol::DisconnectReason;
use rtc_client::{Client, Error, Options, Track};

/// Dropped, it vanishes without leaving.
pub struct Participant(pub Client);

impl Participant {
    /// Joins, and returns when its connections are up.
    pub async fn join(livekit: &config::LiveKit, token: &str) -> Self {
        let participant = Self::try_join(livekit, token).await.expect("LiveKit lets it in");
        participant.0.until("connected", |seen| seen.connected).await.expect("it connects");
        participant
    }

    /// Joins, and returns as soon as LiveKit has let it in, or has not.
    pub async fn try_join(livekit: &config::LiveKit, token: &str) -> Result<Self, Error> {
        Ok(Self(Client::join(Options::new(&livekit.url, token)).await?))
    }

    /// Publishes a synthetic track; its sid.
    pub async fn publish(&self, track: Track) -> String {
        self.0.publish(track).await.expect("a track may be published").sid
    }

    /// Waits until more frames or sound of this track arrive.
    pub async fn receives(&self, track_sid: &str) {
        let before = self.0.seen(|seen| seen.frames(track_sid));
        let more = self.0.until("more frames", |seen| seen.frames(track_sid) > before + 2).await;
        more.expect("frames arrive");
    }

    /// Waits until the server has closed the socket; why it has, if it has said so.
    pub async fn ended(&self) -> Option<DisconnectReason> {
        self.0.until("the end", |seen| seen.closed).await.expect("the server ends it");
        self.0.seen(|seen| Some(seen.end.as_ref()?.leave.as_ref()?.reason()))
    }

    /// Leaves as a client does that says so.
    pub async fn leave(self) {
        self.0.leave().await.expect("the server closes the socket");
    }
}
