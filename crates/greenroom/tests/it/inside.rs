//! What a test asks of LiveKit in a way that livekit-dev and a real server both answer: rooms, and participants.
//!
//! On livekit-dev a participant is a call. On a real server it is a process: the program that `LIVEKIT_CLIENT` names
//! (`.ci/livekit-client`), because only a client with media becomes active there.

use std::{
    process::Stdio,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use chassis::config;
use livekit_api::{
    access_token::TokenVerifier,
    services::{ServerError, ServiceError, room::RoomClient},
};
use livekit_protocol::{ParticipantPermission, participant_info::State};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use tokio::process::{Child, ChildStdin, Command};

use crate::world::World;

/// How long a client may take to become active or to leave; its process has to start first.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(20);

/// A participant; dropped, its process dies without leaving.
pub struct Participant {
    room: String,
    identity: String,
    process: Option<(Child, ChildStdin)>,
}

/// The server that the suite was told to run against.
pub fn real_livekit() -> Option<config::LiveKit> {
    let url = setting("LIVEKIT_URL")?.trim_end_matches('/').to_owned();
    let url = url.replacen("ws", "http", usize::from(url.starts_with("ws")));
    Some(config::LiveKit {
        api_key: setting("LIVEKIT_API_KEY").expect("LIVEKIT_API_KEY beside LIVEKIT_URL"),
        api_secret: setting("LIVEKIT_API_SECRET").expect("LIVEKIT_API_SECRET beside LIVEKIT_URL").into(),
        ws_url: url.replacen("http", "ws", 1),
        url,
    })
}

/// Where the first replica listens: any free port, or the one to which the real server sends its webhooks.
pub fn gateway_port() -> u16 {
    let port = setting("GATEWAY_PORT").filter(|_| setting("LIVEKIT_URL").is_some());
    port.map_or(0, |port| port.parse().expect("GATEWAY_PORT is a port"))
}

/// Removes the rooms that the test before left. Panics once if the server is in use: passes delete rooms.
pub async fn prepare(livekit: &config::LiveKit) {
    static CHECKED: AtomicBool = AtomicBool::new(false);
    let api = rooms_api(livekit);
    let rooms = api.list_rooms(Vec::new()).await.unwrap();
    if !CHECKED.swap(true, Ordering::Relaxed) {
        let empty = rooms.iter().all(|room| room.num_participants == 0);
        assert!(empty, "there are people on {}: this suite needs a LiveKit of its own", livekit.url);
    }
    for room in rooms {
        api.delete_room(&room.name).await.unwrap();
    }
}

fn rooms_api(livekit: &config::LiveKit) -> RoomClient {
    RoomClient::with_api_key(&livekit.url, &livekit.api_key, livekit.api_secret.expose_secret())
}

fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl World {
    /// False, with a word, against a real server without a program for clients.
    pub fn has_clients(&self) -> bool {
        let has = self.livekit.is_some() || setting("LIVEKIT_CLIENT").is_some();
        if !has {
            println!("skipped: people join a real server by the program that LIVEKIT_CLIENT names");
        }
        has
    }

    /// Joins with this token, and returns when LiveKit lists the participant as active.
    pub async fn join(&self, token: &str) -> Participant {
        let participant = self.begin_join(token);
        let Participant { room, identity, .. } = &participant;
        self.await_participants(room, &format!("{identity} is active"), |people| people.contains(identity))
            .await;
        participant
    }

    /// Joins with a token that LiveKit accepts, and returns when the participant has been removed again.
    pub async fn join_and_be_removed(&self, token: &str) {
        assert_eq!(self.validate(token).await.0, StatusCode::OK);
        let Participant { room, process, .. } = self.begin_join(token);
        if let Some((mut child, _stdin)) = process {
            tokio::time::timeout(CLIENT_TIMEOUT, child.wait()).await.expect("it is removed").unwrap();
        }
        self.empty(&room).await;
    }

    fn begin_join(&self, token: &str) -> Participant {
        let livekit = &self.services.room.livekit;
        let verifier = TokenVerifier::with_api_key(&livekit.api_key, livekit.api_secret.expose_secret());
        let claims = verifier.verify(token).unwrap();
        let (room, identity) = (claims.video.room, claims.sub);
        let process = if let Some(dev) = &self.livekit {
            dev.server.join(token).unwrap();
            None
        } else {
            Some(client(&livekit.ws_url, token))
        };
        Participant { room, identity, process }
    }

    /// Leaves as a client does that says so.
    pub async fn leave(&self, participant: Participant) {
        let Participant { room, identity, process } = participant;
        match (&self.livekit, process) {
            (Some(dev), _) => drop(dev.server.leave(&room, &identity)),
            (None, Some((mut child, stdin))) => {
                drop(stdin);
                tokio::time::timeout(CLIENT_TIMEOUT, child.wait()).await.expect("it leaves").unwrap();
            }
            (None, None) => {}
        }
    }

    /// The identities of a room's active participants, by LiveKit's list; none in a room that it does not know.
    pub async fn participants(&self, room: &str) -> Vec<String> {
        let listed = self.rooms_api().list_participants(room).await.unwrap();
        let active = listed.into_iter().filter(|person| person.state() == State::Active);
        active.map(|person| person.identity).collect()
    }

    /// What LiveKit lets a participant do.
    pub async fn permission(&self, room: &str, identity: &str) -> ParticipantPermission {
        let listed = self.rooms_api().get_participant(room, identity).await.unwrap();
        listed.permission.expect("a permission")
    }

    /// Waits until LiveKit lists nobody in this room.
    pub async fn empty(&self, room: &str) {
        self.await_participants(room, "the room is empty", <[String]>::is_empty).await;
    }

    async fn await_participants(&self, room: &str, what: &str, there: impl Fn(&[String]) -> bool) {
        let mut people = Vec::new();
        let look = async {
            loop {
                people = self.participants(room).await;
                if there(&people) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        let in_time = tokio::time::timeout(CLIENT_TIMEOUT, look).await.is_ok();
        assert!(in_time, "waited {CLIENT_TIMEOUT:?} for: {what}; last seen: {people:?}");
    }

    /// The names of the rooms on LiveKit that contain this id.
    pub async fn rooms_of(&self, id: &str) -> Vec<String> {
        let rooms = self.rooms_api().list_rooms(Vec::new()).await.unwrap();
        rooms.into_iter().map(|room| room.name).filter(|name| name.contains(id)).collect()
    }

    /// LiveKit loses this room, as if it had been restarted; nothing of ours asked for it.
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

/// The token is passed in the environment: arguments are visible to every user of the machine.
fn client(ws_url: &str, token: &str) -> (Child, ChildStdin) {
    let program = setting("LIVEKIT_CLIENT").expect("a test that joins asks has_clients() first");
    let mut child = Command::new("sh")
        .args(["-c", &format!("exec {program}")])
        .env("LIVEKIT_WS_URL", ws_url)
        .env("LIVEKIT_TOKEN", token)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let stdin = child.stdin.take().unwrap();
    (child, stdin)
}
