//! The effects of `/_dev/client-faults` on one client.

use std::time::Duration;

use livekit_dev::{AfterUpgrade, Fault};
use livekit_protocol::{
    ConnectionQuality, DisconnectReason, leave_request::Action, signal_response::Message,
};
use rtc_client::{Client, Error, Track};
use serde_json::{Value, json};

use crate::{
    clients::{PATHS, count, more_packets, served, served_with, settled},
    support::{KEY, SECRET, Served, eventually},
};

/// Injects a fault for ann.
async fn inject(served: &Served, room: &str, fault: &Value) {
    let mut body = json!({"room": room, "identity": "ann"});
    body.as_object_mut().unwrap().extend(fault.as_object().unwrap().clone());
    let request = reqwest::Client::new().post(format!("{}/_dev/client-faults", served.url));
    let response = request.basic_auth(KEY, Some(SECRET)).json(&body).send().await.unwrap();
    assert!(response.status().is_success(), "{}", response.text().await.unwrap());
}

async fn end(client: &Client) -> Option<(DisconnectReason, Action)> {
    client.until("the end", |seen| seen.closed).await.unwrap();
    let leave = client.seen(|seen| seen.end.as_ref().and_then(|end| end.leave.clone()));
    leave.map(|leave| (leave.reason(), leave.action()))
}

#[tokio::test]
async fn cut_socket_ends_without_leave_and_can_resume() {
    let served = served().await;
    for path in PATHS {
        let room = format!("cut-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        inject(&served, &room, &json!({"client_fault": "cut_socket"})).await;
        assert_eq!(end(&ann).await, None, "{path:?}");
        assert_eq!(ann.seen(|seen| seen.end.clone()).unwrap().code, None, "{path:?}");
        ann.resume().await.unwrap();
        settled(&ann).await;
    }
}

#[tokio::test]
async fn silenced_socket_receives_nothing_until_a_resume() {
    let served = served().await;
    for path in PATHS {
        let room = format!("silenced-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        inject(&served, &room, &json!({"client_fault": "silence_socket"})).await;
        served.api().update_room_metadata(&room, "news").await.unwrap();
        bob.until("the news", |seen| seen.room.metadata == "news").await.unwrap();
        settled(&bob).await;
        assert_eq!(ann.seen(|seen| seen.room.metadata.clone()), "", "{path:?}");
        ann.cut_socket();
        ann.resume().await.unwrap();
        ann.until("the news", |seen| seen.room.metadata == "news").await.unwrap();
        settled(&ann).await;
    }
}

#[tokio::test]
async fn client_with_dropped_media_is_silent() {
    let served = served_with(|config| {
        config.rtc.silence = Duration::from_millis(500);
        config.rtc.cleanup = Duration::from_millis(200);
    })
    .await;
    for path in PATHS {
        let room = format!("dropped-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let (own, other) = (
            bob.publish(Track::microphone()).await.unwrap(),
            ann.publish(Track::microphone()).await.unwrap(),
        );
        more_packets(&ann, &own.sid).await;
        // Packets of 20 ms each: a client whose packets arrive is not silent, even with these short timers.
        let before = bob.seen(|seen| seen.packets(&other.sid));
        bob.until("sound for 2 s", |seen| seen.packets(&other.sid) > before + 100).await.unwrap();
        assert!(!ann.seen(|seen| seen.closed), "{path:?}");
        inject(&served, &room, &json!({"client_fault": "drop_media"})).await;
        assert_eq!(end(&ann).await, Some((DisconnectReason::ConnectionTimeout, Action::Resume)), "{path:?}");
        let gone = || served.server.connected(&room).iter().all(|participant| participant.identity != "ann");
        eventually("ann is removed", gone).await;
    }
}

#[tokio::test]
async fn fault_after_the_upgrade_is_all_that_a_client_receives() {
    let served = served().await;
    for path in PATHS {
        let method = if path == PATHS[0] { "rtc/v1" } else { "rtc" };
        for fault in [AfterUpgrade::Close, AfterUpgrade::Leave, AfterUpgrade::Unexpected] {
            served.server.faults().set(method, Fault::AfterUpgrade(fault));
            let joined = Client::join(served.options("upgraded", "ann").over(path)).await;
            let Err(error) = joined else { panic!("joined in spite of {fault:?}") };
            match (fault, &error) {
                (AfterUpgrade::Close, Error::Closed)
                | (AfterUpgrade::Unexpected, Error::UnexpectedMessage) => {}
                (AfterUpgrade::Leave, Error::Left(leave)) => {
                    assert_eq!(
                        (leave.reason(), leave.action()),
                        (DisconnectReason::ServerShutdown, Action::Disconnect),
                        "{fault:?}, {path:?}"
                    );
                }
                other => panic!("{other:?}"),
            }
            served.server.faults().clear();
        }
    }
    assert!(served.server.connected("upgraded").is_empty());
}

#[tokio::test]
async fn refused_resume_asks_to_join_again() {
    let served = served().await;
    for path in PATHS {
        let room = format!("refused-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        inject(&served, &room, &json!({"client_fault": "refuse_resume"})).await;
        ann.cut_socket();
        let Err(Error::Left(leave)) = ann.resume().await else { panic!("the resume was accepted") };
        assert_eq!(
            (leave.reason(), leave.action()),
            (DisconnectReason::StateMismatch, Action::Reconnect),
            "{path:?}"
        );
    }
}

#[tokio::test]
async fn injected_quality_is_reported() {
    let served = served().await;
    for path in PATHS {
        let room = format!("quality-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        inject(&served, &room, &json!({"client_fault": "quality", "with": "POOR"})).await;
        let poor = |message: &Message| match message {
            Message::ConnectionQuality(update) => {
                update.updates.iter().any(|info| info.quality() == ConnectionQuality::Poor)
            }
            _ => false,
        };
        ann.until("the quality", |seen| seen.messages.iter().any(|(_, message)| poor(message)))
            .await
            .unwrap();
        assert_eq!(count(&ann, poor), 1, "it is sent once");
    }
}

#[tokio::test]
async fn injected_leave_has_the_requested_reason() {
    let served = served().await;
    for path in PATHS {
        let room = format!("leave-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let leave = json!({"reason": "SERVER_SHUTDOWN", "action": "RECONNECT"});
        inject(&served, &room, &json!({"client_fault": "leave", "with": leave})).await;
        assert_eq!(end(&ann).await, Some((DisconnectReason::ServerShutdown, Action::Reconnect)), "{path:?}");
        assert_eq!(served.server.connected(&room).len(), 1, "the server does not remove the client");
    }
}

#[tokio::test]
async fn fault_of_an_unknown_client_does_nothing() {
    let served = served().await;
    let bob = served.client("unknown", "bob").await;
    inject(&served, "unknown", &json!({"client_fault": "cut_socket"})).await;
    settled(&bob).await;
}
