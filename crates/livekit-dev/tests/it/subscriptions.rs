//! What a client chose to receive, and what it may receive.

use livekit_api::services::room::UpdateParticipantOptions;
use livekit_protocol::{SubscriptionPermission, signal_request, signal_response::Message};
use rtc_client::{Client, SignalPath, Track};

use crate::{
    clients::{PATHS, count, more_frames, more_packets, served, settled, stops},
    support::Served,
};

fn permit(publisher: &Client, all_participants: bool) {
    let permission = SubscriptionPermission { all_participants, track_permissions: Vec::new() };
    publisher.request(signal_request::Message::SubscriptionPermission(permission));
}

async fn rename(served: &Served, room: &str, name: &str) {
    let options = UpdateParticipantOptions { name: name.to_owned(), ..Default::default() };
    served.api().update_participant(room, "bob", options).await.unwrap();
}

#[tokio::test]
async fn unsubscription_survives_changes_of_claims() {
    let served = served().await;
    for path in PATHS {
        let room = format!("claims-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        bob.subscribe(&camera.sid, false);
        stops(&bob, &camera.sid, &microphone.sid).await;
        rename(&served, &room, "Bob 2").await;
        bob.until("the name", |seen| seen.participant.name == "Bob 2").await.unwrap();
        stops(&bob, &camera.sid, &microphone.sid).await;
        bob.subscribe(&camera.sid, true);
        more_frames(&bob, &camera.sid).await;
    }
}

#[tokio::test]
async fn unsubscription_by_the_api_survives_permissions() {
    let served = served().await;
    for path in PATHS {
        let room = format!("api-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        let tracks = || vec![camera.sid.clone()];
        served.api().update_subscriptions(&room, "bob", tracks(), false).await.unwrap();
        stops(&bob, &camera.sid, &microphone.sid).await;
        permit(&ann, true);
        settled(&ann).await;
        stops(&bob, &camera.sid, &microphone.sid).await;
        served.api().update_subscriptions(&room, "bob", tracks(), true).await.unwrap();
        more_frames(&bob, &camera.sid).await;
    }
}

async fn choosing_client(served: &Served, path: SignalPath, room: &str) -> Client {
    Client::connect(served.options(room, "bob").over(path).without_auto_subscribe()).await.unwrap()
}

#[tokio::test]
async fn denied_subscription_starts_once_permitted() {
    let served = served().await;
    for path in PATHS {
        let room = format!("denied-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = choosing_client(&served, path, &room).await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        bob.until("two tracks", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.len() == 2))
            .await
            .unwrap();
        permit(&ann, false);
        settled(&ann).await;
        bob.subscribe(&microphone.sid, true);
        let denied = |message: &Message| matches!(message, Message::SubscriptionPermissionUpdate(update) if !update.allowed);
        bob.until("the refusal", |seen| seen.messages.iter().any(|(_, message)| denied(message)))
            .await
            .unwrap();
        permit(&ann, true);
        more_packets(&bob, &microphone.sid).await;
        assert_eq!(bob.seen(|seen| seen.packets(&camera.sid)), 0, "not subscribed");
        assert_eq!(count(&bob, denied), 1, "{path:?}");
    }
}
