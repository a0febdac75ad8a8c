//! Permissions that are revoked while a client publishes.

use livekit_api::services::room::UpdateParticipantOptions;
use livekit_protocol::{ParticipantPermission, TrackSource, signal_response::Message};
use rtc_client::{Client, SignalPath, Track};

use crate::{
    clients::{PATHS, count, more_frames, more_packets, served, stops},
    support::Served,
};

/// Permits publishing of these sources, or of nothing.
async fn permit(served: &Served, room: &str, client: &Client, sources: &[TrackSource]) {
    let permission = ParticipantPermission {
        can_publish: !sources.is_empty(),
        can_publish_sources: sources.iter().map(|source| *source as i32).collect(),
        can_subscribe: true,
        can_publish_data: true,
        ..ParticipantPermission::default()
    };
    let options = UpdateParticipantOptions { permission: Some(permission.clone()), ..Default::default() };
    served.api().update_participant(room, "ann", options).await.unwrap();
    client
        .until("the permission", |seen| seen.participant.permission.as_ref() == Some(&permission))
        .await
        .unwrap();
}

async fn is_unpublished(client: &Client, track: &str) {
    let gone =
        |message: &Message| matches!(message, Message::TrackUnpublished(gone) if gone.track_sid == track);
    client
        .until("track_unpublished", |seen| seen.messages.iter().any(|(_, message)| gone(message)))
        .await
        .unwrap();
}

#[tokio::test]
async fn track_refused_at_its_first_packet_is_unpublished() {
    let served = served().await;
    for path in PATHS {
        let room = format!("first-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        ann.set_udp(false);
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        bob.until("the microphone", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.len() == 1))
            .await
            .unwrap();
        permit(&served, &room, &ann, &[TrackSource::Microphone]).await;
        ann.set_udp(true);
        is_unpublished(&ann, &camera.sid).await;
        more_packets(&bob, &microphone.sid).await;
        let names = |message: &Message| match message {
            Message::Update(update) => {
                update.participants.iter().any(|info| info.tracks.iter().any(|track| track.sid == camera.sid))
            }
            _ => false,
        };
        assert_eq!(count(&bob, names), 0, "{path:?}");
        permit(&served, &room, &ann, &[TrackSource::Microphone, TrackSource::Camera]).await;
        let again = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &again.sid).await;
    }
}

async fn stubborn_client(served: &Served, path: SignalPath, room: &str) -> Client {
    let mut options = served.options(room, "ann").over(path);
    options.keeps_unpublished = true;
    Client::connect(options).await.unwrap()
}

#[tokio::test]
async fn next_track_does_not_reuse_a_revoked_section() {
    let served = served().await;
    for path in PATHS {
        let room = format!("stale-{path:?}");
        let ann = stubborn_client(&served, path, &room).await;
        let bob = served.client_over(path, &room, "bob").await;
        let mid = || {
            served
                .server
                .participants(&room)
                .into_iter()
                .find_map(|ann| Some(ann.tracks.first()?.mid.clone()))
        };
        let first = ann.publish(Track::microphone()).await.unwrap();
        more_packets(&bob, &first.sid).await;
        let before = mid();
        permit(&served, &room, &ann, &[]).await;
        is_unpublished(&ann, &first.sid).await;
        permit(&served, &room, &ann, &[TrackSource::Microphone]).await;
        let second = ann.publish(Track::microphone()).await.unwrap();
        more_packets(&bob, &second.sid).await;
        assert!(before.is_some() && mid().is_some(), "{path:?}");
        assert_ne!(mid(), before, "{path:?}");
    }
}

/// Even if the client does not stop sending it.
#[tokio::test]
async fn revoked_track_is_not_forwarded_when_still_sent() {
    let served = served().await;
    for path in PATHS {
        let room = format!("sent-{path:?}");
        let ann = stubborn_client(&served, path, &room).await;
        let bob = served.client_over(path, &room, "bob").await;
        let cat = served.client_over(path, &room, "cat").await;
        let track = ann.publish(Track::microphone()).await.unwrap();
        let other = cat.publish(Track::microphone()).await.unwrap();
        more_packets(&bob, &track.sid).await;
        permit(&served, &room, &ann, &[]).await;
        is_unpublished(&ann, &track.sid).await;
        stops(&bob, &track.sid, &other.sid).await;
    }
}
