//! A participant with media, on livekit-dev or on a real server.

use chassis::config;
use livekit_protocol::DisconnectReason;
use rtc_client::{Client, Error, Options, Track};

/// A client in a room. When it is dropped, it disconnects without leaving.
pub struct Participant(pub Client);

impl Participant {
    /// Joins, and returns when its connections are up.
    pub async fn join(livekit: &config::LiveKit, token: &str) -> Self {
        let participant = Self::try_join(livekit, token).await.expect("LiveKit accepts the join");
        participant.0.until("connected", |seen| seen.connected).await.expect("the participant connects");
        participant
    }

    /// Joins, and returns as soon as LiveKit has accepted or refused the join.
    pub async fn try_join(livekit: &config::LiveKit, token: &str) -> Result<Self, Error> {
        Ok(Self(Client::join(Options::new(&livekit.url, token)).await?))
    }

    /// Publishes a synthetic track. Returns its sid.
    pub async fn publish(&self, track: Track) -> String {
        self.0.publish(track).await.expect("a track may be published").sid
    }

    /// Waits until more frames or audio of this track arrive.
    pub async fn receives(&self, track_sid: &str) {
        let before = self.0.seen(|seen| seen.frames(track_sid));
        // Frames may still be on their way when this is called, so one more would prove nothing.
        let more = self.0.until("more frames", |seen| seen.frames(track_sid) > before + 2).await;
        more.expect("frames arrive");
    }

    /// Waits until the server has closed the socket. Returns the server's reason, if it sent one.
    pub async fn ended(&self) -> Option<DisconnectReason> {
        self.0.until("the end", |seen| seen.closed).await.expect("the server closes the socket");
        self.0.seen(|seen| Some(seen.end.as_ref()?.leave.as_ref()?.reason()))
    }

    /// Leaves with a leave request, as a client does.
    pub async fn leave(self) {
        self.0.leave().await.expect("the server closes the socket");
    }
}
