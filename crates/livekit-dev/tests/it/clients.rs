//! Clients of a served livekit-dev.

use std::time::Duration;

use livekit_api::services::room::RoomClient;
use livekit_dev::Config;
use livekit_protocol::{
    DisconnectReason, WebhookEvent, leave_request::Action, participant_info, signal_request,
    signal_response::Message,
};
use rtc_client::{Client, Options, SignalPath};
use serde_json::{Value, json};

use crate::{
    support::{KEY, SECRET, Served, eventually},
    tokens,
};

pub const PATHS: [SignalPath; 2] = [SignalPath::V1, SignalPath::V0];

/// A server that announces changes within milliseconds.
pub async fn served() -> Served {
    served_with(|_| {}).await
}

pub async fn served_with(configure: impl FnOnce(&mut Config)) -> Served {
    Served::with(|config| {
        config.rtc.presence = Duration::from_millis(50);
        config.rtc.room = Duration::from_millis(100);
        configure(config);
    })
    .await
}

pub fn token_with(room: &str, identity: &str, extra: &Value) -> String {
    let mut video = json!({"roomJoin": true, "room": room});
    if let (Some(video), Some(extra)) = (video.as_object_mut(), extra.as_object()) {
        video.extend(extra.clone());
    }
    tokens::sign(SECRET, &tokens::claims(KEY, identity, &video))
}

impl Served {
    pub fn options(&self, room: &str, identity: &str) -> Options {
        self.options_with(room, identity, &json!({}))
    }

    pub fn options_with(&self, room: &str, identity: &str, grants: &Value) -> Options {
        Options::new(&self.url, &token_with(room, identity, grants))
    }

    pub async fn client(&self, room: &str, identity: &str) -> Client {
        self.active(room, self.options(room, identity)).await
    }

    pub async fn client_over(&self, path: SignalPath, room: &str, identity: &str) -> Client {
        self.active(room, self.options(room, identity).over(path)).await
    }

    pub async fn client_with(&self, path: SignalPath, room: &str, identity: &str, grants: &Value) -> Client {
        self.active(room, self.options_with(room, identity, grants).over(path)).await
    }

    /// Connects, and waits until the server has noticed it too: the client notices its connection a moment earlier.
    async fn active(&self, room: &str, options: Options) -> Client {
        let client = Client::connect(options).await.unwrap();
        let sid = client.sid();
        // By SID: an older session of the same identity may still be there.
        eventually("the participant is active", || {
            let listed = self.server.connected(room).into_iter().find(|one| one.sid == sid);
            listed.is_some_and(|one| one.state() == participant_info::State::Active)
        })
        .await;
        client
    }

    pub fn api(&self) -> RoomClient {
        RoomClient::with_api_key(&self.url, KEY, SECRET)
    }

    /// The names of the events about one participant of a room so far.
    pub fn events_of(&self, room: &str, identity: &str) -> Vec<String> {
        let about = |event: &&WebhookEvent| {
            event.room.as_ref().is_some_and(|in_room| in_room.name == room)
                && event.participant.as_ref().is_some_and(|participant| participant.identity == identity)
        };
        self.server.events().iter().filter(about).map(|event| event.event.clone()).collect()
    }
}

/// Waits for the end of the socket, and returns the reason and the action of its `leave`.
pub async fn left(client: &Client) -> (DisconnectReason, Action) {
    client.until("the end", |seen| seen.closed).await.unwrap();
    let leave = client.seen(|seen| seen.end.as_ref().and_then(|end| end.leave.clone()));
    let leave = leave.expect("a leave before the close");
    (leave.reason(), leave.action())
}

/// The number of messages of this kind that have arrived.
pub fn count(client: &Client, is: impl Fn(&Message) -> bool) -> usize {
    client.seen(|seen| seen.messages.iter().filter(|(_, message)| is(message)).count())
}

/// Waits until new frames of the track have arrived.
pub async fn more_frames(client: &Client, track: &str) {
    let before = client.seen(|seen| seen.frames(track));
    client.until("more frames", |seen| seen.frames(track) > before + 2).await.unwrap();
}

pub async fn more_packets(client: &Client, track: &str) {
    let before = client.seen(|seen| seen.packets(track));
    client.until("more packets", |seen| seen.packets(track) > before + 5).await.unwrap();
}

/// Waits until the server has handled all earlier requests of the client.
pub async fn settled(client: &Client) {
    let pongs = |messages: &[(u32, Message)]| {
        messages.iter().filter(|(_, message)| matches!(message, Message::Pong(_))).count()
    };
    let before = client.seen(|seen| pongs(&seen.messages));
    // Requests of one socket are handled in order, so the answer to this one comes last.
    client.request(signal_request::Message::Ping(1));
    client.until("a pong", |seen| pongs(&seen.messages) > before).await.unwrap();
}

/// Asserts that a track stops while another one continues.
pub async fn stops(client: &Client, track: &str, running: &str) {
    // Packets that were on their way have arrived when new ones of the other track have.
    settled(client).await;
    more_packets(client, running).await;
    let before = client.seen(|seen| seen.packets(track));
    for _ in 0..5 {
        more_packets(client, running).await;
    }
    assert_eq!(client.seen(|seen| seen.packets(track)), before, "packets of {track}");
}
