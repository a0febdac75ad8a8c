//! The state of LiveKit, and changes by participants and operators.

use domain::{Grants, Source};
use livekit_api::{
    access_token::{AccessToken, VideoGrants},
    services::room::{CreateRoomOptions, RoomClient},
};
use livekit_dev::{Fault, LiveKitDev};
use livekit_protocol::ParticipantInfo;
use secrecy::ExposeSecret;

use super::World;

impl World {
    pub fn server(&self) -> &LiveKitDev {
        &self.livekit().server
    }

    /// Resolves when LiveKit has received this many calls of the method.
    pub async fn reached(&self, method: &str, calls: u64) {
        let timeout = std::time::Duration::from_secs(10);
        tokio::time::timeout(timeout, self.server().calls_reach(method, calls)).await.unwrap();
    }

    /// The rooms on LiveKit, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.server().rooms().into_iter().map(|room| room.name).collect();
        names.sort();
        names
    }

    /// The identities that are connected, sorted, even where LiveKit does not list them.
    pub fn connected(&self, room: &str) -> Vec<String> {
        let mut identities: Vec<String> =
            self.server().connected(room).into_iter().map(|one| one.identity).collect();
        identities.sort();
        identities
    }

    /// Asserts how many rooms are on LiveKit.
    #[track_caller]
    pub fn assert_rooms(&self, expected: usize) {
        let names = self.names();
        assert_eq!(names.len(), expected, "rooms on LiveKit: {names:?}");
    }

    /// Asserts how many participants are connected to a room, even where LiveKit does not list them.
    #[track_caller]
    pub fn assert_connected(&self, room: &str, expected: usize) {
        let connected = self.connected(room);
        assert_eq!(connected.len(), expected, "connected to {room}: {connected:?}");
    }

    pub fn token(&self, room: &str, identity: &str) -> String {
        self.signed_for(
            identity,
            VideoGrants { room_join: true, room: room.to_owned(), ..VideoGrants::default() },
        )
    }

    /// A token with these grants, as the token service signs it.
    pub fn token_for(&self, room: &str, identity: &str, grants: Grants) -> String {
        let sources = grants.publish.iter().copied().map(Source::as_str).map(str::to_owned);
        let grants = VideoGrants {
            room_join: true,
            room: room.to_owned(),
            can_publish: Some(!grants.publish.is_empty()),
            can_publish_sources: sources.collect(),
            can_subscribe: Some(grants.subscribe),
            can_publish_data: Some(grants.data),
            can_update_own_metadata: Some(grants.own_metadata),
            ..VideoGrants::default()
        };
        self.signed_for(identity, grants)
    }

    fn signed_for(&self, identity: &str, grants: VideoGrants) -> String {
        let settings = &self.livekit().settings;
        AccessToken::with_api_key(&settings.api_key, settings.api_secret.expose_secret())
            .with_identity(identity)
            .with_grants(grants)
            .to_jwt()
            .unwrap()
    }

    pub fn join(&self, room: &str, identity: &str) -> ParticipantInfo {
        self.server().join(&self.token(room, identity)).unwrap()
    }

    /// LiveKit's API with an operator's rights.
    pub fn admin(&self) -> RoomClient {
        let settings = &self.livekit().settings;
        RoomClient::with_api_key(&settings.url, &settings.api_key, settings.api_secret.expose_secret())
    }

    /// Deletes the room and recreates it, as a join does after a loss: with another SID and without metadata.
    pub async fn recreate_on_livekit(&self, name: &str) {
        self.admin().delete_room(name).await.unwrap();
        self.admin().create_room(name, CreateRoomOptions::default()).await.unwrap();
    }
}

/// An error that LiveKit returns before it has changed anything.
pub fn refused() -> Fault {
    Fault::Refuse { code: livekit_dev::Code::Internal }
}
