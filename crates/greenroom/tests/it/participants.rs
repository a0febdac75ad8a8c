//! Rooms, and participants with media, through APIs that livekit-dev and a real server both have.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chassis::config;
use livekit_api::services::{ServerError, ServiceError, room::RoomClient};
use livekit_protocol::{DisconnectReason, ParticipantPermission, participant_info::State};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use testkit::Participant;

use crate::world::World;

/// How long a test waits until participants are active or have left.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(20);

/// The real server of `LIVEKIT_URL`, if the suite runs against one.
pub fn real_livekit() -> Option<config::LiveKit> {
    let url = setting("LIVEKIT_URL")?.trim_end_matches('/').to_owned();
    let url = url.replacen("ws", "http", usize::from(url.starts_with("ws")));
    Some(config::LiveKit {
        api_key: setting("LIVEKIT_API_KEY").expect("LIVEKIT_URL needs LIVEKIT_API_KEY"),
        api_secret: setting("LIVEKIT_API_SECRET").expect("LIVEKIT_URL needs LIVEKIT_API_SECRET").into(),
        ws_url: url.replacen("http", "ws", 1),
        url,
    })
}

/// The port of the first replica: any free port, or the one to which the real server sends its webhooks.
pub fn gateway_port() -> u16 {
    let port = setting("GATEWAY_PORT").filter(|_| setting("LIVEKIT_URL").is_some());
    port.map_or(0, |port| port.parse().expect("GATEWAY_PORT is a port"))
}

/// Deletes the rooms that the previous test left. Panics if the server is in use, because passes delete rooms.
pub async fn prepare(livekit: &config::LiveKit) {
    static CHECKED: AtomicBool = AtomicBool::new(false);
    let api = rooms_api(livekit);
    let rooms = api.list_rooms(Vec::new()).await.unwrap();
    // Once: later rooms belong to this run, and may have participants.
    if !CHECKED.swap(true, Ordering::Relaxed) {
        let empty = rooms.iter().all(|room| room.num_participants == 0);
        assert!(empty, "{} has participants: this suite needs its own LiveKit", livekit.url);
    }
    for room in rooms {
        api.delete_room(&room.name).await.unwrap();
    }
}

/// The names of the room and of the participant.
fn names(participant: &Participant) -> (String, String) {
    participant.0.seen(|seen| (seen.room.name.clone(), seen.participant.identity.clone()))
}

fn rooms_api(livekit: &config::LiveKit) -> RoomClient {
    RoomClient::with_api_key(&livekit.url, &livekit.api_key, livekit.api_secret.expose_secret())
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl World {
    /// Joins with this token, and returns when LiveKit lists the participant as active.
    pub async fn join(&self, token: &str) -> Participant {
        let participant = Participant::join(&self.services.room.livekit, token).await;
        let (room, identity) = names(&participant);
        self.await_participants(&room, &format!("{identity} is active"), |present| {
            present.contains(&identity)
        })
        .await;
        participant
    }

    /// Joins with a token that LiveKit accepts, and returns when the participant has been removed.
    pub async fn join_and_be_removed(&self, token: &str) {
        assert_eq!(self.validate(token).await.0, StatusCode::OK, "LiveKit accepts the token");
        let participant = Participant::try_join(&self.services.room.livekit, token).await.unwrap();
        assert_eq!(participant.ended().await, Some(DisconnectReason::ParticipantRemoved), "why they left");
        let (room, identity) = names(&participant);
        self.await_participants(&room, "they are gone", |present| !present.contains(&identity)).await;
    }

    /// The identities of a room's active participants in LiveKit's list. Empty for an unknown room.
    pub async fn participants(&self, room: &str) -> Vec<String> {
        let listed = self.rooms_api().list_participants(room).await.unwrap();
        let active = listed.into_iter().filter(|participant| participant.state() == State::Active);
        active.map(|participant| participant.identity).collect()
    }

    /// The permissions of a participant on LiveKit.
    pub async fn permission(&self, room: &str, identity: &str) -> ParticipantPermission {
        let listed = self.rooms_api().get_participant(room, identity).await.unwrap();
        listed.permission.expect("a permission")
    }

    /// Waits until LiveKit lists no participants in this room.
    pub async fn empty(&self, room: &str) {
        self.await_participants(room, "the room is empty", <[String]>::is_empty).await;
    }

    async fn await_participants(&self, room: &str, what: &str, is_reached: impl Fn(&[String]) -> bool) {
        let mut present = Vec::new();
        let poll = async {
            loop {
                present = self.participants(room).await;
                if is_reached(&present) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(CLIENT_TIMEOUT, poll).await.is_ok();
        assert!(in_time, "waited {CLIENT_TIMEOUT:?} for: {what}; last observed: {present:?}");
    }

    /// The names of the rooms on LiveKit that contain this id.
    pub async fn rooms_of(&self, id: &str) -> Vec<String> {
        let rooms = self.rooms_api().list_rooms(Vec::new()).await.unwrap();
        rooms.into_iter().map(|room| room.name).filter(|name| name.contains(id)).collect()
    }

    /// Makes LiveKit lose this room as a restart does, without a request of our services.
    pub async fn lose(&self, room: &str) {
        match self.rooms_api().delete_room(room).await {
            Err(ServiceError::Twirp(ServerError::Twirp(error))) if error.code == "not_found" => {}
            outcome => outcome.unwrap(),
        }
    }

    fn rooms_api(&self) -> RoomClient {
        rooms_api(&self.services.room.livekit)
    }
}
