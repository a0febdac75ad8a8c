//! Replays the client's side of recorded scenarios and compares the answers with those of a real 1.13.5: by kind and order
//! for each socket, with the same fields set, and the webhooks likewise. The recordings are in `tests/vectors`. Allowed
//! differences are in `differences.rs`, each with its reason.

mod compare;
mod differences;
mod names;
mod player;
mod shape;
mod socket;

use std::path::Path;

use serde_json::Value;

use crate::reasons::RESTART;
use crate::target::Target;
use player::Player;

/// Scenarios in which a client creates the room.
const CREATING: &[&str] = &["01-join-leave", "10b-server-killed"];

/// The server for a scenario. None if the server under test cannot run it.
async fn stage(name: &str, recording: &[Value]) -> Option<Target> {
    if recording.iter().any(|entry| entry.get("restart").is_some()) {
        Target::start().await.dev(RESTART)?;
    }
    if CREATING.iter().any(|scenario| name.starts_with(scenario)) {
        Target::creating_rooms().await
    } else {
        Some(Target::announcing_soon().await)
    }
}

async fn plays_like(name: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/vectors/{name}.json"));
    let recording: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let Some(target) = stage(name, &recording).await else { return };
    let differences = Player::new(&target, name, &recording).await.play(&recording).await;
    assert!(differences.is_empty(), "{name} differs:\n{}", differences.join("\n"));
}

macro_rules! scenarios {
    ($($test:ident: $name:literal;)*) => { $(
        #[tokio::test]
        async fn $test() {
            Box::pin(plays_like($name)).await;
        }
    )* };
}

scenarios! {
    join_and_leave_v1: "01-join-leave.v1";
    join_and_leave_v0: "01-join-leave.v0";
    publish_and_subscribe_v1: "02-publish-subscribe.v1";
    publish_and_subscribe_v0: "02-publish-subscribe.v0";
    screen_share_v1: "03-screen-share.v1";
    screen_share_v0: "03-screen-share.v0";
    data_v1: "04-data.v1";
    data_v0: "04-data.v0";
    kick_v1: "05-kick.v1";
    kick_v0: "05-kick.v0";
    permissions_v1: "06-permissions.v1";
    permissions_v0: "06-permissions.v0";
    delete_room_v1: "07-delete-room.v1";
    delete_room_v0: "07-delete-room.v0";
    same_identity_v1: "08-same-identity.v1";
    same_identity_v0: "08-same-identity.v0";
    metadata_v1: "09-metadata.v1";
    metadata_v0: "09-metadata.v0";
    resume_v1: "10a-resume.v1";
    resume_v0: "10a-resume.v0";
    server_killed_v1: "10b-server-killed.v1";
    server_killed_v0: "10b-server-killed.v0";
    simulated_scenarios: "10c-simulated.v1";
    late_joiner_v1: "12-late-joiner.v1";
    late_joiner_v0: "12-late-joiner.v0";
    api_moderation: "15-api-moderation.v1";
    grants_v1: "19-grants.v1";
    grants_of_a_python_client: "19-grants.py";
}
