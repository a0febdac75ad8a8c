//! Permissions of participants: in signalling and in forwarding.

use livekit_api::services::room::UpdateParticipantOptions;
use livekit_protocol::{
    MuteTrackRequest, ParticipantPermission, SubscriptionPermission, TrackSource, UpdateParticipantMetadata,
    request_response::Reason, signal_request, signal_response::Message,
};
use rtc_client::{Client, Error, Track};
use serde_json::json;

use crate::{
    clients::{PATHS, count, more_frames, more_packets, served, settled, stops},
    support::Served,
};

async fn permit(served: &Served, room: &str, identity: &str, permission: ParticipantPermission) {
    let options = UpdateParticipantOptions { permission: Some(permission), ..Default::default() };
    served.api().update_participant(room, identity, options).await.unwrap();
}

fn all() -> ParticipantPermission {
    ParticipantPermission {
        can_publish: true,
        can_subscribe: true,
        can_publish_data: true,
        ..ParticipantPermission::default()
    }
}

async fn refused(client: &Client, track: Track) -> Reason {
    match client.publish(track).await {
        Err(Error::Request(response)) => response.reason(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn revoked_publisher_is_unpublished_until_permitted() {
    let served = served().await;
    for path in PATHS {
        let room = format!("revoked-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let other = bob.publish(Track::microphone()).await.unwrap();
        let cat = served.client_over(path, &room, "cat").await;
        more_frames(&cat, &camera.sid).await;
        more_packets(&cat, &other.sid).await;
        permit(&served, &room, "ann", ParticipantPermission { can_publish: false, ..all() }).await;
        let revoked = |message: &Message| matches!(message, Message::TrackUnpublished(gone) if gone.track_sid == camera.sid);
        ann.until("track_unpublished", |seen| seen.messages.iter().any(|(_, message)| revoked(message)))
            .await
            .unwrap();
        cat.until("no tracks", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.is_empty()))
            .await
            .unwrap();
        // The client continues to send, and nothing is forwarded.
        stops(&cat, &camera.sid, &other.sid).await;
        assert_eq!(refused(&ann, Track::microphone()).await, Reason::NotAllowed, "{path:?}");
        permit(&served, &room, "ann", all()).await;
        let again = ann.publish(Track::microphone()).await.unwrap();
        more_packets(&cat, &again.sid).await;
        let events = served.events_of(&room, "ann");
        assert!(events.contains(&"track_unpublished".to_owned()), "{events:?}");
    }
}

#[tokio::test]
async fn promoted_participant_publishes_at_once() {
    let served = served().await;
    for path in PATHS {
        let room = format!("promoted-{path:?}");
        let ann = served.client_with(path, &room, "ann", &json!({"canPublish": false})).await;
        let bob = served.client_over(path, &room, "bob").await;
        assert_eq!(refused(&ann, Track::camera()).await, Reason::NotAllowed, "{path:?}");
        permit(&served, &room, "ann", all()).await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
    }
}

#[tokio::test]
async fn sources_limit_what_is_published() {
    let served = served().await;
    for path in PATHS {
        let room = format!("sources-{path:?}");
        let ann = served.client_with(path, &room, "ann", &json!({"canPublishSources": ["microphone"]})).await;
        assert_eq!(refused(&ann, Track::camera()).await, Reason::NotAllowed, "{path:?}");
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        assert_eq!(microphone.source(), TrackSource::Microphone, "{path:?}");
    }
}

#[tokio::test]
async fn subscriber_gets_tracks_only_while_permitted() {
    let served = served().await;
    for path in PATHS {
        let room = format!("subscribe-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_with(path, &room, "bob", &json!({"canSubscribe": false})).await;
        let cat = served.client_over(path, &room, "cat").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&cat, &camera.sid).await;
        assert_eq!(bob.seen(|seen| seen.packets(&camera.sid)), 0, "{path:?}");
        permit(&served, &room, "bob", all()).await;
        more_frames(&bob, &camera.sid).await;
        permit(&served, &room, "bob", ParticipantPermission { can_subscribe: false, ..all() }).await;
        ann.send(b"still data", true);
        bob.until("data", |seen| !seen.payloads().is_empty()).await.unwrap();
        let before = bob.seen(|seen| seen.packets(&camera.sid));
        more_frames(&cat, &camera.sid).await;
        more_frames(&cat, &camera.sid).await;
        let after = bob.seen(|seen| seen.packets(&camera.sid));
        assert!(after <= before + 20, "{before} {after}");
    }
}

#[tokio::test]
async fn muted_track_is_not_forwarded() {
    let served = served().await;
    for path in PATHS {
        let room = format!("muted-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_packets(&bob, &microphone.sid).await;
        more_frames(&bob, &camera.sid).await;
        served.api().mute_published_track(&room, "ann", &microphone.sid, true).await.unwrap();
        let muted = |message: &Message| matches!(message, Message::Mute(mute) if mute.muted);
        ann.until("mute", |seen| seen.messages.iter().any(|(_, message)| muted(message))).await.unwrap();
        for client in [&ann, &bob] {
            let shown = |info: &livekit_protocol::ParticipantInfo| {
                info.tracks.iter().any(|track| track.sid == microphone.sid && track.muted)
            };
            client
                .until("the track is muted", |seen| {
                    shown(&seen.participant) || seen.others.get("ann").is_some_and(shown)
                })
                .await
                .unwrap();
        }
        stops(&bob, &microphone.sid, &camera.sid).await;
        ann.mute(&microphone.sid, false);
        more_packets(&bob, &microphone.sid).await;
    }
}

#[tokio::test]
async fn muted_track_is_not_forwarded_when_still_sent() {
    let served = served().await;
    for path in PATHS {
        let room = format!("sent-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_packets(&bob, &microphone.sid).await;
        more_frames(&bob, &camera.sid).await;
        // Only the request: the client continues to send.
        let mute = |muted| MuteTrackRequest { sid: microphone.sid.clone(), muted };
        ann.request(signal_request::Message::Mute(mute(true)));
        bob.until("the track is muted", |seen| seen.others["ann"].tracks.iter().any(|track| track.muted))
            .await
            .unwrap();
        stops(&bob, &microphone.sid, &camera.sid).await;
        ann.request(signal_request::Message::Mute(mute(false)));
        more_packets(&bob, &microphone.sid).await;
    }
}

#[tokio::test]
async fn own_metadata_needs_permission() {
    let served = served().await;
    for path in PATHS {
        let room = format!("own-{path:?}");
        let ann = served.client_with(path, &room, "ann", &json!({"canUpdateOwnMetadata": true})).await;
        let bob = served.client_over(path, &room, "bob").await;
        let update = |request_id| {
            signal_request::Message::UpdateMetadata(UpdateParticipantMetadata {
                name: "Ann 2".to_owned(),
                request_id,
                ..UpdateParticipantMetadata::default()
            })
        };
        let answer = |client: &Client| {
            client.seen(|seen| {
                seen.find(|message| match message {
                    Message::RequestResponse(response) => Some(response.reason()),
                    _ => None,
                })
            })
        };
        for (client, reason) in [(&ann, Reason::Ok), (&bob, Reason::NotAllowed)] {
            client.request(update(7));
            let answered =
                |message: &Message| matches!(message, Message::RequestResponse(r) if r.request_id == 7);
            client
                .until("an answer", |seen| seen.messages.iter().any(|(_, message)| answered(message)))
                .await
                .unwrap();
            assert_eq!(answer(client), Some(reason), "{reason:?}, {path:?}");
        }
        bob.until("the new name", |seen| seen.others.get("ann").is_some_and(|ann| ann.name == "Ann 2"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn track_without_permitted_subscribers_is_not_forwarded() {
    let served = served().await;
    for path in PATHS {
        let room = format!("private-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        let other = ann.publish(Track::microphone()).await.unwrap();
        more_packets(&bob, &other.sid).await;
        let one = livekit_protocol::TrackPermission {
            participant_identity: "bob".to_owned(),
            track_sids: vec![other.sid.clone()],
            ..Default::default()
        };
        let permission = SubscriptionPermission { all_participants: false, track_permissions: vec![one] };
        ann.request(signal_request::Message::SubscriptionPermission(permission));
        let refused = |message: &Message| matches!(message, Message::SubscriptionPermissionUpdate(u) if u.track_sid == camera.sid && !u.allowed);
        bob.until("the refusal", |seen| seen.messages.iter().any(|(_, message)| refused(message)))
            .await
            .unwrap();
        stops(&bob, &camera.sid, &other.sid).await;
        let all = SubscriptionPermission { all_participants: true, track_permissions: Vec::new() };
        ann.request(signal_request::Message::SubscriptionPermission(all));
        more_frames(&bob, &camera.sid).await;
    }
}

#[tokio::test]
async fn hidden_participant_is_not_visible_to_others() {
    let served = served().await;
    for path in PATHS {
        let room = format!("hidden-{path:?}");
        let bob = served.client_over(path, &room, "bob").await;
        let spy = served.client_with(path, &room, "spy", &json!({"hidden": true})).await;
        let cat = served.client_over(path, &room, "cat").await;
        bob.until("cat is there", |seen| seen.others.contains_key("cat")).await.unwrap();
        let sees_spy = |message: &Message| match message {
            Message::Update(update) => update.participants.iter().any(|info| info.identity == "spy"),
            Message::Join(join) => join.other_participants.iter().any(|info| info.identity == "spy"),
            _ => false,
        };
        let name = UpdateParticipantOptions { name: "Spy 2".to_owned(), ..Default::default() };
        served.api().update_participant(&room, "spy", name).await.unwrap();
        spy.until("its new name", |seen| seen.participant.name == "Spy 2").await.unwrap();
        settled(&bob).await;
        settled(&cat).await;
        assert_eq!(count(&bob, sees_spy) + count(&cat, sees_spy), 0, "{path:?}");
        let camera = bob.publish(Track::camera()).await.unwrap();
        more_frames(&spy, &camera.sid).await;
    }
}
