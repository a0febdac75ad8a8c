//! The codec H264, which is off by default.

use livekit_protocol::{TrackInfo, signal_response::Message};
use rtc_client::{Client, Seen, SignalPath, Track};

use crate::{
    clients::{PATHS, served_with},
    support::Served,
};

#[tokio::test]
async fn h264_is_offered_only_when_enabled() {
    for on in [false, true] {
        let served = served_with(|config| config.rtc.h264 = on).await;
        let ann = served.client("codecs", "ann").await;
        let codecs = |message: &Message| match message {
            Message::Join(join) => Some(join.enabled_publish_codecs.clone()),
            _ => None,
        };
        let codecs = ann.seen(|seen| seen.find(codecs)).unwrap();
        assert_eq!(codecs.iter().any(|codec| codec.mime == "video/H264"), on, "on: {on}");
        assert!(codecs.iter().any(|codec| codec.mime == "video/VP8"), "on: {on}");
    }
}

async fn client(served: &Served, path: SignalPath, room: &str, identity: &str) -> Client {
    let mut options = served.options(room, identity).over(path);
    options.h264 = true;
    Client::connect(options).await.unwrap()
}

fn arrives(seen: &Seen, track: &str, h264: bool) -> bool {
    seen.received(track).is_some_and(|track| track.h264 == h264 && track.frames > 5 && track.keyframes > 0)
}

/// The track in its `track_published` webhook.
fn announced(served: &Served, sid: &str) -> TrackInfo {
    let events = served.server.events();
    let mut tracks =
        events.into_iter().filter(|event| event.event == "track_published").filter_map(|event| event.track);
    tracks.find(|track| track.sid == sid).unwrap()
}

fn listed(served: &Served, room: &str, sid: &str) -> TrackInfo {
    let participants = served.server.participants(room);
    participants
        .into_iter()
        .flat_map(|participant| participant.tracks)
        .find(|track| track.sid == sid)
        .unwrap()
}

#[tokio::test]
async fn h264_is_forwarded_when_enabled() {
    let served = served_with(|config| config.rtc.h264 = true).await;
    for path in PATHS {
        let room = format!("on-{path:?}");
        let ann = client(&served, path, &room, "ann").await;
        let bob = client(&served, path, &room, "bob").await;
        let (camera, other) =
            (ann.publish(Track::camera().in_h264()).await.unwrap(), Track::camera_without_simulcast());
        let other = ann.publish(other).await.unwrap();
        bob.until("H264", |seen| arrives(seen, &camera.sid, true)).await.unwrap();
        bob.until("VP8 too", |seen| arrives(seen, &other.sid, false)).await.unwrap();
        let late = client(&served, path, &room, "late").await;
        late.until("H264", |seen| arrives(seen, &camera.sid, true)).await.unwrap();
        assert_eq!(listed(&served, &room, &camera.sid).mime_type, "video/H264", "{path:?}");
    }
}

/// When such a track is announced, only the request and the offer are known.
#[tokio::test]
async fn single_h264_encoding_is_announced_as_h264() {
    let served = served_with(|config| config.rtc.h264 = true).await;
    for path in PATHS {
        let room = format!("single-{path:?}");
        let ann = client(&served, path, &room, "ann").await;
        let bob = client(&served, path, &room, "bob").await;
        let camera = ann.publish(Track::camera_without_simulcast().in_h264()).await.unwrap();
        bob.until("H264", |seen| arrives(seen, &camera.sid, true)).await.unwrap();
        for track in [announced(&served, &camera.sid), listed(&served, &room, &camera.sid)] {
            assert_eq!(track.mime_type, "video/H264", "{path:?}");
            assert_eq!(track.codecs[0].mime_type, "video/H264", "{path:?}");
        }
        let codec = |message: &Message| match message {
            Message::SubscribedQualityUpdate(update) => Some(update.subscribed_codecs[0].codec.clone()),
            _ => None,
        };
        assert_eq!(ann.find("wanted layers", |seen| seen.find(codec)).await.unwrap(), "h264", "{path:?}");
    }
}

#[tokio::test]
async fn client_that_prefers_h264_falls_back_when_disabled() {
    let served = served_with(|config| config.rtc.h264 = false).await;
    for path in PATHS {
        let room = format!("off-{path:?}");
        let ann = client(&served, path, &room, "ann").await;
        let bob = client(&served, path, &room, "bob").await;
        let camera = ann.publish(Track::camera_without_simulcast().in_h264()).await.unwrap();
        bob.until("VP8", |seen| arrives(seen, &camera.sid, false)).await.unwrap();
        for client in [&ann, &bob] {
            let negotiated = client.seen(|seen| {
                let sdps = seen.messages.iter().filter_map(|(_, message)| match message {
                    Message::Offer(description) | Message::Answer(description) => {
                        Some(description.sdp.clone())
                    }
                    _ => None,
                });
                sdps.collect::<Vec<_>>()
            });
            assert!(negotiated.iter().any(|sdp| sdp.contains("VP8")), "{path:?}");
            assert!(!negotiated.iter().any(|sdp| sdp.contains("H264")), "{path:?}");
        }
        assert_eq!(announced(&served, &camera.sid).mime_type, "video/VP8", "{path:?}");
    }
}
