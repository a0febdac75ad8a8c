//! Tracks: publishing, forwarding, and the choice of layers.

use livekit_protocol::{UpdateTrackSettings, VideoQuality, signal_request, signal_response::Message};
use rtc_client::{Client, Track};

use crate::clients::{PATHS, more_frames, more_packets, served, stops};

#[tokio::test]
async fn audio_and_video_flow_both_ways_on_all_paths() {
    let served = served().await;
    for first in PATHS {
        for second in PATHS {
            let room = format!("{first:?}-{second:?}");
            let ann = served.client_over(first, &room, "ann").await;
            let bob = served.client_over(second, &room, "bob").await;
            for (from, to) in [(&ann, &bob), (&bob, &ann)] {
                let camera = from.publish(Track::camera()).await.unwrap();
                let microphone = from.publish(Track::microphone()).await.unwrap();
                more_frames(to, &camera.sid).await;
                more_packets(to, &microphone.sid).await;
            }
        }
    }
}

#[tokio::test]
async fn late_joiner_receives_all_tracks() {
    let served = served().await;
    for path in PATHS {
        let room = format!("late-{path:?}");
        let mut tracks = Vec::new();
        let mut publishers = Vec::new();
        for name in ["p1", "p2", "p3", "p4", "p5"] {
            let publisher = served.client_over(path, &room, name).await;
            tracks.push(publisher.publish(Track::camera_without_simulcast()).await.unwrap().sid);
            tracks.push(publisher.publish(Track::microphone()).await.unwrap().sid);
            publishers.push(publisher);
        }
        let late = served.client_over(path, &room, "late").await;
        for track in &tracks {
            more_packets(&late, track).await;
        }
    }
}

#[tokio::test]
async fn section_of_a_removed_track_is_reused() {
    let served = served().await;
    for path in PATHS {
        let room = format!("reuse-{path:?}");
        let bob = served.client_over(path, &room, "bob").await;
        for _ in 0..3 {
            let ann = served.client_over(path, &room, "ann").await;
            let camera = ann.publish(Track::camera()).await.unwrap();
            more_frames(&bob, &camera.sid).await;
            ann.leave().await.unwrap();
            bob.until("ann has left", |seen| !seen.others.contains_key("ann")).await.unwrap();
        }
    }
}

#[tokio::test]
async fn unsubscribed_track_stops_until_subscribed_again() {
    let served = served().await;
    for path in PATHS {
        let room = format!("unsubscribe-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        bob.subscribe(&camera.sid, false);
        stops(&bob, &camera.sid, &microphone.sid).await;
        bob.subscribe(&camera.sid, true);
        more_frames(&bob, &camera.sid).await;
    }
}

fn settings(track: &str, disabled: bool, height: u32) -> signal_request::Message {
    signal_request::Message::TrackSetting(UpdateTrackSettings {
        track_sids: vec![track.to_owned()],
        disabled,
        quality: VideoQuality::High as i32,
        width: height * 16 / 9,
        height,
        ..UpdateTrackSettings::default()
    })
}

#[tokio::test]
async fn hidden_tile_gets_no_packets() {
    let served = served().await;
    for path in PATHS {
        let room = format!("hidden-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let microphone = ann.publish(Track::microphone()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        bob.request(settings(&camera.sid, true, 0));
        stops(&bob, &camera.sid, &microphone.sid).await;
        bob.request(settings(&camera.sid, false, 0));
        more_frames(&bob, &camera.sid).await;
    }
}

#[tokio::test]
async fn small_tile_gets_the_small_layer() {
    let served = served().await;
    for path in PATHS {
        let room = format!("small-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        let size =
            |client: &Client| client.seen(|seen| seen.received(&camera.sid).and_then(|track| track.size));
        bob.until("the large layer", |seen| {
            seen.received(&camera.sid).and_then(|track| track.size) == Some((1280, 720))
        })
        .await
        .unwrap();
        bob.request(settings(&camera.sid, false, 180));
        bob.until("the small layer", |seen| {
            seen.received(&camera.sid).and_then(|track| track.size) == Some((320, 180))
        })
        .await
        .unwrap();
        assert_eq!(size(&bob), Some((320, 180)), "{path:?}");
        more_frames(&bob, &camera.sid).await;
    }
}

#[tokio::test]
async fn publisher_is_informed_of_subscribed_layers() {
    let served = served().await;
    for path in PATHS {
        let room = format!("dynacast-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        let enabled = |seen: &rtc_client::Seen| {
            let updates = seen.messages.iter().rev().find_map(|(_, message)| match message {
                Message::SubscribedQualityUpdate(update) => Some(update.clone()),
                _ => None,
            });
            updates.map(|update| update.subscribed_codecs[0].qualities.iter().filter(|q| q.enabled).count())
        };
        ann.until("all layers are wanted", |seen| enabled(seen) == Some(3)).await.unwrap();
        bob.subscribe(&camera.sid, false);
        ann.until("no layer is wanted", |seen| enabled(seen) == Some(0)).await.unwrap();
        bob.subscribe(&camera.sid, true);
        ann.until("all layers are wanted again", |seen| enabled(seen) == Some(3)).await.unwrap();
    }
}

#[tokio::test]
async fn speaker_is_announced_until_silent() {
    let served = served().await;
    for path in PATHS {
        let room = format!("speakers-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let microphone = ann.publish(Track::speaking()).await.unwrap();
        let sid = ann.sid();
        let speaking = |seen: &rtc_client::Seen| {
            let mut active = None;
            for (_, message) in &seen.messages {
                if let Message::SpeakersChanged(changed) = message {
                    let ours = changed.speakers.iter().find(|speaker| speaker.sid == sid);
                    active = ours.map(|speaker| speaker.active).or(active);
                }
            }
            active
        };
        for client in [&bob, &ann] {
            client.until("ann speaks", |seen| speaking(seen) == Some(true)).await.unwrap();
        }
        ann.set_level(&microphone.sid, -80);
        for client in [&bob, &ann] {
            client.until("ann is silent", |seen| speaking(seen) == Some(false)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn published_track_is_described_as_requested() {
    let served = served().await;
    for path in PATHS {
        let room = format!("described-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        let listed = served.server.participants(&room).into_iter().find(|p| p.identity == "ann").unwrap();
        let track = &listed.tracks[0];
        assert_eq!(track.sid, camera.sid, "{path:?}");
        assert_eq!(track.mime_type, "video/VP8", "{path:?}");
        assert_eq!(track.stream, "camera", "{path:?}");
        assert!(!track.mid.is_empty(), "{path:?}");
        assert_eq!(track.codecs[0].layers.len(), 3, "{path:?}");
        assert!(listed.is_publisher, "{path:?}");
    }
}
