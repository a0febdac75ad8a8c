//! Media between clients of both paths.

use livekit_api::services::room::UpdateParticipantOptions;
use livekit_protocol::{
    ParticipantPermission, UpdateTrackSettings, VideoQuality, request_response::Reason, signal_request,
    signal_response::Message,
};
use rtc_client::{Client, Error, SignalPath, Track};
use serde_json::json;

use crate::clients::BOTH;
use crate::target::Target;

async fn receives(client: &Client, track: &str) {
    let before = client.seen(|seen| seen.frames(track));
    client.until("frames", |seen| seen.frames(track) > before + 10).await.unwrap();
}

#[tokio::test]
async fn clients_of_both_paths_receive_each_other() {
    let target = Target::start().await;
    let room = target.create("mixed").await.name;
    let ann = target.enter_over(SignalPath::V1, "ann", &room).await;
    let bob = target.enter_over(SignalPath::V0, "bob", &room).await;
    let mut tracks = Vec::new();
    for client in [&ann, &bob] {
        tracks.push(client.publish(Track::microphone()).await.unwrap().sid);
        tracks.push(client.publish(Track::camera()).await.unwrap().sid);
    }
    for track in &tracks[2..] {
        receives(&ann, track).await;
    }
    for track in &tracks[..2] {
        receives(&bob, track).await;
    }
    for path in BOTH {
        let late = target.enter_over(path, "late", &room).await;
        for track in &tracks {
            receives(&late, track).await;
        }
        late.leave().await.unwrap();
    }
}

#[tokio::test]
async fn five_publishers_reach_a_late_viewer() {
    let target = Target::start().await;
    let room = target.create("many").await.name;
    let mut publishers = Vec::new();
    for number in 0..5 {
        let client = target.enter(&format!("p{number}"), &room).await;
        let sid = client.publish(Track::camera_without_simulcast()).await.unwrap().sid;
        publishers.push((client, sid));
    }
    for path in BOTH {
        let viewer = target.enter_over(path, "viewer", &room).await;
        for (_, sid) in &publishers {
            receives(&viewer, sid).await;
        }
        viewer.leave().await.unwrap();
    }
    let (gone, _) = publishers.pop().unwrap();
    gone.leave().await.unwrap();
    for (client, _) in &publishers {
        for (_, sid) in publishers.iter().filter(|(other, _)| other.sid() != client.sid()) {
            receives(client, sid).await;
        }
    }
}

#[expect(deprecated, reason = "clients read the fields that came before `codecs`")]
#[tokio::test]
async fn track_is_announced_as_requested() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("publish").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let camera = ann.publish(Track::camera()).await.unwrap();
        assert!(
            camera.sid.starts_with("TR_VC")
                && camera.simulcast
                && (camera.width, camera.height) == (1280, 720),
            "{path:?}"
        );
        bob.until("the track", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.len() == 1))
            .await
            .unwrap();
        ann.until("its own track", |seen| seen.participant.tracks.len() == 1).await.unwrap();
        let seen = target
            .listed(&room, "ann", |ann| ann.tracks.first().filter(|track| !track.mid.is_empty()).cloned())
            .await;
        assert_eq!(
            (seen.sid.as_str(), seen.mime_type.as_str()),
            (camera.sid.as_str(), "video/VP8"),
            "{path:?}"
        );
        assert_eq!((seen.layers.len(), seen.stream.as_str()), (3, "camera"), "{path:?}");
        ann.until("track_subscribed", |seen| {
            seen.find(|m| matches!(m, Message::TrackSubscribed(_)).then_some(())).is_some()
        })
        .await
        .unwrap();
        ann.unpublish(&camera.sid);
        bob.until("no track", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.is_empty()))
            .await
            .unwrap();
        let again = ann.publish(Track::camera()).await.unwrap().sid;
        receives(&bob, &again).await;
    }
}

#[tokio::test]
async fn mute_stops_and_restarts_the_packets() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("mute").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let track = ann.publish(Track::camera_without_simulcast()).await.unwrap().sid;
        receives(&bob, &track).await;
        ann.mute(&track, true);
        bob.until("muted", |seen| seen.others["ann"].tracks[0].muted).await.unwrap();
        ann.mute(&track, false);
        bob.until("unmuted", |seen| !seen.others["ann"].tracks[0].muted).await.unwrap();
        receives(&bob, &track).await;
        target.rooms().mute_published_track(&room, "ann", &track, true).await.unwrap();
        ann.until("the mute of the server", |seen| {
            seen.find(|m| matches!(m, Message::Mute(mute) if mute.muted).then_some(())).is_some()
        })
        .await
        .unwrap();
        bob.until("muted by the server", |seen| seen.others["ann"].tracks[0].muted).await.unwrap();
    }
}

#[tokio::test]
async fn unsubscribed_track_stops_until_subscribed_again() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("subscribe").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let video = ann.publish(Track::camera_without_simulcast()).await.unwrap().sid;
        let audio = ann.publish(Track::microphone()).await.unwrap().sid;
        receives(&bob, &video).await;
        bob.subscribe(&video, false);
        // Its packets stop: while 50 packets of the other track arrive, none of this track arrives.
        let still = async || {
            let (before, other) = bob.seen(|seen| (seen.frames(&video), seen.frames(&audio)));
            bob.until("audio", |seen| seen.frames(&audio) > other + 50).await.unwrap();
            (bob.seen(|seen| seen.frames(&video)) == before).then_some(())
        };
        crate::clients::eventually("no more video", still).await;
        for _ in 0..2 {
            bob.subscribe(&video, true);
            receives(&bob, &video).await;
        }
    }
}

#[tokio::test]
async fn no_media_arrives_without_auto_subscribe_until_requested() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("manual").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        let [first, second] = [ann.publish(Track::microphone()).await, ann.publish(Track::camera()).await]
            .map(|track| track.unwrap().sid);
        let options = target.options(&target.joining("bob", &room)).over(path).without_auto_subscribe();
        let bob = Client::connect(options).await.unwrap();
        bob.until("both tracks", |seen| seen.others.get("ann").is_some_and(|ann| ann.tracks.len() == 2))
            .await
            .unwrap();
        bob.subscribe(&first, true);
        receives(&bob, &first).await;
        assert_eq!(bob.seen(|seen| seen.packets(&second)), 0, "{path:?}");
    }
}

#[tokio::test]
async fn requested_quality_selects_the_layer() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("quality").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let track = ann.publish(Track::camera()).await.unwrap().sid;
        receives(&bob, &track).await;
        for (quality, width) in
            [(VideoQuality::Low, 320), (VideoQuality::High, 1280), (VideoQuality::Medium, 640)]
        {
            bob.request(signal_request::Message::TrackSetting(UpdateTrackSettings {
                track_sids: vec![track.clone()],
                quality: quality.into(),
                ..Default::default()
            }));
            bob.until("the layer", |seen| {
                seen.received(&track).and_then(|track| track.size).is_some_and(|size| size.0 == width)
            })
            .await
            .unwrap();
        }
    }
}

#[tokio::test]
async fn revoked_permission_unpublishes_the_tracks() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("revoked").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let track = ann.publish(Track::microphone()).await.unwrap().sid;
        receives(&bob, &track).await;
        let may = |can_publish| UpdateParticipantOptions {
            permission: Some(ParticipantPermission {
                can_subscribe: true,
                can_publish,
                ..Default::default()
            }),
            ..Default::default()
        };
        target.rooms().update_participant(&room, "ann", may(false)).await.unwrap();
        let unpublished = |message: &Message| match message {
            Message::TrackUnpublished(gone) => Some(gone.track_sid.clone()),
            _ => None,
        };
        assert_eq!(
            ann.find("track_unpublished", |seen| seen.find(unpublished)).await.unwrap(),
            track,
            "{path:?}"
        );
        bob.until("no track", |seen| seen.others["ann"].tracks.is_empty()).await.unwrap();
        assert_eq!(refusal(&ann, Track::microphone()).await, Reason::NotAllowed, "{path:?}");
        target.rooms().update_participant(&room, "ann", may(true)).await.unwrap();
        ann.until("allowed again", |seen| {
            seen.participant.permission.as_ref().is_some_and(|now| now.can_publish)
        })
        .await
        .unwrap();
        let again = ann.publish(Track::microphone()).await.unwrap().sid;
        receives(&bob, &again).await;
    }
}

#[tokio::test]
async fn token_grants_apply_to_signalling_and_forwarding() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("grants").await.name;
        let mute = json!({"roomJoin": true, "room": room, "canPublish": false});
        let mute = target.enter_with(path, "mute", &mute).await;
        assert_eq!(refusal(&mute, Track::microphone()).await, Reason::NotAllowed, "{path:?}");
        let narrow = json!({"roomJoin": true, "room": room, "canPublishSources": ["microphone"]});
        let narrow = target.enter_with(path, "narrow", &narrow).await;
        assert_eq!(refusal(&narrow, Track::camera()).await, Reason::NotAllowed, "{path:?}");
        let track = narrow.publish(Track::microphone()).await.unwrap().sid;
        receives(&mute, &track).await;
        let deaf = json!({"roomJoin": true, "room": room, "canSubscribe": false});
        let deaf = target.enter_with(path, "deaf", &deaf).await;
        narrow.send(b"data", true);
        deaf.until("data", |seen| !seen.data.is_empty()).await.unwrap();
        assert!(deaf.seen(|seen| seen.received.is_empty()), "{path:?}");
    }
}

#[tokio::test]
async fn speaker_is_announced_until_muted() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("speaker").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let track = ann.publish(Track::speaking()).await.unwrap().sid;
        let (sid, before) = (ann.sid(), std::cell::Cell::new(0));
        let speaks = |wanted: bool| {
            let (sid, before) = (sid.clone(), before.get());
            move |seen: &rtc_client::Seen| {
                let found =
                    seen.messages.iter().enumerate().skip(before).find(|(_, (_, message))| match message {
                        Message::SpeakersChanged(changed) => changed
                            .speakers
                            .iter()
                            .any(|speaker| speaker.sid == sid && speaker.active == wanted),
                        _ => false,
                    });
                found.map(|(at, _)| at)
            }
        };
        before.set(bob.find("speaks", speaks(true)).await.unwrap());
        ann.mute(&track, true);
        bob.find("is silent", speaks(false)).await.unwrap();
    }
}

async fn refusal(client: &Client, track: Track) -> Reason {
    match client.publish(track).await {
        Err(Error::Request(response)) => response.reason(),
        other => panic!("{other:?}"),
    }
}
