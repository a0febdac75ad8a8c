//! What a client receives after a resume.

use livekit_dev::ClientFault;
use livekit_protocol::{
    DisconnectReason, SessionDescription, leave_request::Action, signal_request, signal_response::Message,
};
use rtc_client::{Error, Seen, Track};

use crate::{
    clients::{PATHS, count, more_frames, more_packets, served, stops},
    support::eventually,
};

#[tokio::test]
async fn track_published_while_the_socket_is_lost_arrives() {
    let served = served().await;
    for path in PATHS {
        let room = format!("lost-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let cat = served.client_over(path, &room, "cat").await;
        let first = ann.publish(Track::microphone()).await.unwrap();
        more_packets(&bob, &first.sid).await;
        bob.cut_socket();
        bob.until("the end of the socket", |seen| seen.closed).await.unwrap();
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&cat, &camera.sid).await;
        bob.resume().await.unwrap();
        more_frames(&bob, &camera.sid).await;
        more_packets(&bob, &first.sid).await;
    }
}

#[tokio::test]
async fn changes_whose_offer_was_lost_are_offered_again() {
    let served = served().await;
    for path in PATHS {
        let room = format!("again-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let cat = served.client_over(path, &room, "cat").await;
        let first = ann.publish(Track::microphone()).await.unwrap();
        let second = ann.publish(Track::screen()).await.unwrap();
        more_packets(&bob, &first.sid).await;
        more_frames(&bob, &second.sid).await;
        served.server.inject_client_fault(&room, "bob", ClientFault::SilenceSocket);
        let camera = ann.publish(Track::camera()).await.unwrap();
        ann.unpublish(&second.sid);
        more_frames(&cat, &camera.sid).await;
        bob.cut_socket();
        bob.resume().await.unwrap();
        more_frames(&bob, &camera.sid).await;
        more_packets(&bob, &first.sid).await;
        // Offers and answers continue as usual.
        let last = ann.publish(Track::camera_without_simulcast()).await.unwrap();
        more_frames(&bob, &last.sid).await;
        stops(&bob, &second.sid, &first.sid).await;
    }
}

#[tokio::test]
async fn failed_connection_is_not_resumed() {
    let served = served().await;
    for path in PATHS {
        let room = format!("failed-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let sid = ann.sid();
        let offer = SessionDescription {
            r#type: "offer".to_owned(),
            sdp: "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n".to_owned(),
            id: 9,
            ..SessionDescription::default()
        };
        ann.request(signal_request::Message::Offer(offer));
        ann.until("the end of the socket", |seen| seen.closed).await.unwrap();
        let Err(Error::Left(leave)) = ann.resume().await else { panic!("the resume was accepted") };
        assert_eq!(
            (leave.reason(), leave.action()),
            (DisconnectReason::StateMismatch, Action::Reconnect),
            "{path:?}"
        );
        eventually("the session has ended", || {
            served.server.connected(&room).iter().all(|ann| ann.sid != sid)
        })
        .await;
        let again = served.client_over(path, &room, "ann").await;
        assert_ne!(again.sid(), sid, "{path:?}");
    }
}

#[tokio::test]
async fn unreadable_answer_ends_only_the_socket() {
    let served = served().await;
    let path = rtc_client::SignalPath::V0;
    let ann = served.client_over(path, "answer", "ann").await;
    let bob = served.client_over(path, "answer", "bob").await;
    let cat = served.client_over(path, "answer", "cat").await;
    let first = ann.publish(Track::microphone()).await.unwrap();
    more_packets(&bob, &first.sid).await;
    // Its offer is lost, so it remains unanswered.
    served.server.inject_client_fault("answer", "bob", ClientFault::SilenceSocket);
    let camera = ann.publish(Track::camera()).await.unwrap();
    more_frames(&cat, &camera.sid).await;
    let answer =
        SessionDescription { r#type: "answer".to_owned(), sdp: "x".to_owned(), ..Default::default() };
    bob.request(signal_request::Message::Answer(answer));
    bob.until("the end of the socket", |seen: &Seen| seen.closed).await.unwrap();
    bob.resume().await.unwrap();
    more_frames(&bob, &camera.sid).await;
    assert!(count(&bob, |message| matches!(message, Message::Offer(_))) >= 3);
}
