//! Clients that lose their socket and resume. Each test runs on both paths.

use livekit_protocol::{DisconnectReason, leave_request::Action, signal_response::Message};
use rtc_client::{Error, Track};

use crate::{clients::BOTH, signalling::ended, target::Target};

#[tokio::test]
async fn resume_keeps_the_session_and_restores_media() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("resume").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let track = ann.publish(Track::microphone()).await.unwrap().sid;
        bob.until("audio", |seen| seen.packets(&track) > 10).await.unwrap();
        let sid = ann.sid();
        ann.cut_socket();
        ann.until("cut", |seen| seen.closed).await.unwrap();
        bob.send(b"meanwhile", true);
        ann.resume().await.unwrap();
        ann.until("connected again", |seen| seen.connections == 2).await.unwrap();
        ann.until("the message", |seen| seen.payloads() == [b"meanwhile"]).await.unwrap();
        let before = bob.seen(|seen| seen.packets(&track));
        bob.until("audio again", |seen| seen.packets(&track) > before + 10).await.unwrap();
        assert_eq!(ann.sid(), sid, "{path:?}");
        let refreshed = ann
            .seen(|seen| seen.messages.iter().any(|m| m.0 == 2 && matches!(m.1, Message::RefreshToken(_))));
        assert!(refreshed, "a resume sends a new token");
        let everyone = ann.seen(|seen| {
            seen.messages.iter().find_map(|(socket, message)| match message {
                Message::Update(update) if *socket == 2 => Some(update.participants.len()),
                _ => None,
            })
        });
        assert_eq!(everyone, Some(2), "the first update after a resume lists everyone");
    }
}

#[tokio::test]
async fn resume_delivers_the_changes_meanwhile() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("meanwhile").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        let bob = target.enter_over(path, "bob", &room).await;
        ann.until("bob", |seen| seen.others.contains_key("bob")).await.unwrap();
        let track = bob.publish(Track::microphone()).await.unwrap().sid;
        ann.until("audio", |seen| seen.packets(&track) > 0).await.unwrap();
        ann.cut_socket();
        ann.until("cut", |seen| seen.closed).await.unwrap();
        let cat = target.enter_over(path, "cat", &room).await;
        ann.send(b"from ann", true);
        cat.send(b"for ann", true);
        cat.until("the message", |seen| !seen.data.is_empty()).await.unwrap();
        ann.until("the message", |seen| !seen.data.is_empty()).await.unwrap();
        target.rooms().update_room_metadata(&room, "news").await.unwrap();
        bob.leave().await.unwrap();
        ann.resume().await.unwrap();
        ann.until("the news", |seen| {
            let others: Vec<&String> = seen.others.keys().collect();
            seen.room.metadata == "news" && others == ["cat"]
        })
        .await
        .unwrap();
        // Repeated messages are not accepted twice.
        ann.send(b"last", true);
        cat.until("the last message", |seen| seen.payloads().contains(&&b"last"[..])).await.unwrap();
        assert_eq!(cat.seen(|seen| seen.payloads().concat()), b"from annlast", "{path:?}");
        assert_eq!(ann.seen(|seen| seen.payloads().concat()), b"for ann", "{path:?}");
    }
}

#[tokio::test]
async fn resume_of_an_unknown_session_asks_for_a_full_reconnect() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("unknown").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        target.rooms().remove_participant(&room, "ann").await.unwrap();
        ended(&ann).await;
        let refused = ann.resume().await.err().unwrap();
        let Error::Left(leave) = refused else { panic!("{refused}") };
        assert_eq!(
            (leave.reason(), leave.action()),
            (DisconnectReason::StateMismatch, Action::Reconnect),
            "{path:?}"
        );
    }
}
