//! Clients that send nothing.

use std::time::{Duration, Instant};

use livekit_protocol::{DisconnectReason, leave_request::Action};
use rtc_client::Track;

use crate::{
    clients::{PATHS, left, more_packets, served_with},
    support::eventually,
};

#[tokio::test]
async fn silent_client_is_asked_to_resume_then_removed() {
    let served = served_with(|config| {
        config.rtc.silence = Duration::from_millis(500);
        config.rtc.cleanup = Duration::from_millis(200);
    })
    .await;
    for path in PATHS {
        let room = format!("silent-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        ann.set_udp(false);
        assert_eq!(left(&ann).await, (DisconnectReason::ConnectionTimeout, Action::Resume), "{path:?}");
        let gone = || served.server.connected(&room).is_empty();
        eventually("ann is removed", gone).await;
        let ends = served.server.events().into_iter().filter(|event| event.event == "participant_left");
        let of_ann = ends.filter_map(|event| event.participant).find(|one| one.sid == ann.sid());
        assert_eq!(of_ann.unwrap().disconnect_reason(), DisconnectReason::ConnectionTimeout, "{path:?}");
    }
}

/// The timer starts at the last packet, however the socket ended.
#[tokio::test]
async fn lost_socket_keeps_the_session_until_media_is_silent() {
    let (silence, cleanup) = (Duration::from_secs(2), Duration::from_secs(1));
    let served = served_with(|config| (config.rtc.silence, config.rtc.cleanup) = (silence, cleanup)).await;
    for path in PATHS {
        for close_frame in [false, true] {
            let room = format!("lost-{path:?}-{close_frame}");
            let ann = served.client_over(path, &room, "ann").await;
            let bob = served.client_over(path, &room, "bob").await;
            let own = bob.publish(Track::microphone()).await.unwrap();
            let other = ann.publish(Track::microphone()).await.unwrap();
            more_packets(&bob, &other.sid).await;
            let joined = ["participant_joined", "track_published"];
            assert_eq!(served.events_of(&room, "ann"), joined, "close frame: {close_frame}, {path:?}");
            if close_frame {
                ann.close_socket();
            } else {
                ann.cut_socket();
            }
            ann.until("the end of the socket", |seen| seen.closed).await.unwrap();
            // Packets of 20 ms each: this takes longer than both timers.
            let before = bob.seen(|seen| seen.packets(&other.sid));
            bob.until("sound for 4 s", |seen| seen.packets(&other.sid) > before + 200).await.unwrap();
            assert_eq!(served.events_of(&room, "ann"), joined, "close frame: {close_frame}, {path:?}");
            let silent = Instant::now();
            ann.set_udp(false);
            bob.until("ann has left", |seen| !seen.others.contains_key("ann")).await.unwrap();
            assert!(silent.elapsed() >= silence, "{:?}", silent.elapsed());
            let ended = [joined.as_slice(), &["track_unpublished", "participant_left"]].concat();
            assert_eq!(served.events_of(&room, "ann"), ended, "close frame: {close_frame}, {path:?}");
            // Closing the client's sockets then changes nothing.
            let (sid, cat) = (ann.sid(), served.client_over(path, &room, "cat").await);
            drop(ann);
            more_packets(&cat, &own.sid).await;
            assert_eq!(served.events_of(&room, "ann"), ended, "close frame: {close_frame}, {path:?}");
            let events = served.server.events();
            let left = events.iter().filter(|event| event.event == "participant_left");
            let reasons: Vec<_> = left
                .filter_map(|event| event.participant.as_ref().filter(|one| one.sid == sid))
                .map(livekit_protocol::ParticipantInfo::disconnect_reason)
                .collect();
            assert_eq!(
                reasons,
                [DisconnectReason::ConnectionTimeout],
                "close frame: {close_frame}, {path:?}"
            );
        }
    }
}
