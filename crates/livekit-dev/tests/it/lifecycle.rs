//! How sessions end, and how they are resumed.

use std::time::Duration;

use livekit_dev::{ClientFault, ClockHandle};
use livekit_protocol::{
    DisconnectReason, LeaveRequest, leave_request::Action, participant_info::State, signal_request,
    signal_response::Message,
};
use rtc_client::{Client, Error, SignalPath, Track};
use serde_json::json;

use crate::clients::{PATHS, left, more_frames, served, served_with};

#[tokio::test]
async fn leave_is_echoed_and_the_socket_closed() {
    let served = served().await;
    for path in PATHS {
        let room = format!("leave-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        bob.until("ann is there", |seen| seen.others.contains_key("ann")).await.unwrap();
        ann.leave().await.unwrap();
        bob.until("ann has left", |seen| !seen.others.contains_key("ann")).await.unwrap();
        let events = ["participant_joined", "track_published", "track_unpublished", "participant_left"];
        assert_eq!(served.events_of(&room, "ann"), events, "{path:?}");
    }
}

/// A client cannot use the reasons of the server.
#[tokio::test]
async fn client_cannot_forge_the_reason_of_its_leave() {
    let served = served().await;
    for path in PATHS {
        for (sent, reason) in [
            (DisconnectReason::RoomDeleted, DisconnectReason::ClientInitiated),
            (DisconnectReason::ParticipantRemoved, DisconnectReason::ClientInitiated),
            (DisconnectReason::UserRejected, DisconnectReason::UserRejected),
        ] {
            let room = format!("forged-{path:?}-{sent:?}");
            let ann = served.client_over(path, &room, "ann").await;
            let bob = served.client_over(path, &room, "bob").await;
            bob.until("ann is there", |seen| seen.others.contains_key("ann")).await.unwrap();
            let leave = LeaveRequest { reason: sent.into(), ..LeaveRequest::default() };
            ann.request(signal_request::Message::Leave(leave));
            bob.until("ann has left", |seen| !seen.others.contains_key("ann")).await.unwrap();
            assert_eq!(left(&ann).await, (reason, Action::Disconnect), "{reason:?}, {path:?}");
            let events = served.server.events();
            let ends = events.iter().filter(|event| event.event == "participant_left");
            let mut participants = ends.filter_map(|event| event.participant.as_ref());
            let end = participants.find(|participant| participant.sid == ann.sid()).unwrap();
            assert_eq!(end.disconnect_reason(), reason, "{reason:?}, {path:?}");
        }
    }
}

#[tokio::test]
async fn resume_keeps_the_session_without_a_webhook() {
    let served = served().await;
    for path in PATHS {
        let room = format!("resume-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let camera = ann.publish(Track::camera()).await.unwrap();
        more_frames(&bob, &camera.sid).await;
        let (sid, events) = (ann.sid(), served.server.events().len());
        ann.cut_socket();
        ann.resume().await.unwrap();
        ann.until("the connections again", |seen| seen.connected).await.unwrap();
        let first = ann.seen(|seen| {
            seen.messages.iter().find(|(socket, _)| *socket == 2).map(|(_, message)| message.clone())
        });
        assert!(matches!(first, Some(Message::Reconnect(_))), "{first:?}");
        more_frames(&bob, &camera.sid).await;
        let microphone = bob.publish(Track::camera()).await.unwrap();
        more_frames(&ann, &microphone.sid).await;
        assert_eq!(ann.sid(), sid, "{path:?}");
        let about_ann = |event: &livekit_protocol::WebhookEvent| {
            event.participant.as_ref().is_some_and(|participant| participant.sid == sid)
        };
        assert_eq!(
            served.server.events()[events..].iter().filter(|event| about_ann(event)).count(),
            0,
            "{path:?}"
        );
    }
}

#[tokio::test]
async fn unknown_session_is_asked_to_join_again() {
    let served = served().await;
    for path in PATHS {
        let room = format!("unknown-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        served.server.inject_client_fault(&room, "ann", ClientFault::RefuseResume);
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
async fn expired_token_cannot_resume_and_ends_nothing() {
    for path in PATHS {
        let served = served().await;
        let ann = served.client_over(path, "expired", "ann").await;
        let expired = ann.options().token.clone();
        served.server.advance(ClockHandle::Tokens, Duration::from_mins(20));
        ann.cut_socket();
        for token in [ann.seen(|seen| seen.refreshed_token.clone()).unwrap(), expired] {
            let Err(Error::Refused(refusal)) = ann.resume_with(token).await else {
                panic!("it was accepted")
            };
            assert_eq!(refusal.status, 401, "{path:?}");
            assert!(refusal.body.contains("token is expired"), "{}", refusal.body);
        }
        assert_eq!(served.events_of("expired", "ann"), ["participant_joined"], "{path:?}");
        assert_eq!(served.server.connected("expired")[0].sid, ann.sid(), "{path:?}");
    }
}

#[tokio::test]
async fn removed_client_cannot_resume() {
    let served = served().await;
    for path in PATHS {
        let room = format!("kicked-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        bob.until("ann is there", |seen| seen.others.contains_key("ann")).await.unwrap();
        served.api().remove_participant(&room, "ann").await.unwrap();
        assert_eq!(left(&ann).await, (DisconnectReason::ParticipantRemoved, Action::Disconnect), "{path:?}");
        bob.until("ann is gone", |seen| !seen.others.contains_key("ann")).await.unwrap();
        let Err(Error::Left(leave)) = ann.resume().await else { panic!("the resume was accepted") };
        assert_eq!(leave.action(), Action::Reconnect, "{path:?}");
        assert!(
            served.server.connected(&room).iter().all(|participant| participant.identity != "ann"),
            "{path:?}"
        );
    }
}

#[tokio::test]
async fn lost_socket_before_media_aborts_the_join() {
    let served = served().await;
    for path in PATHS {
        let room = format!("abort-{path:?}");
        let ann = Client::join(served.options(&room, "ann").over(path).without_media()).await.unwrap();
        ann.cut_socket();
        let gone = || served.server.connected(&room).is_empty();
        crate::support::eventually("ann is removed", gone).await;
        assert_eq!(served.events_of(&room, "ann"), ["participant_connection_aborted"], "{path:?}");
    }
}

#[tokio::test]
async fn duplicate_identity_ends_the_first_client() {
    let served = served().await;
    for path in PATHS {
        let room = format!("twice-{path:?}");
        let first = served.client_over(path, &room, "ann").await;
        let second = served.client_over(path, &room, "ann").await;
        assert_eq!(left(&first).await, (DisconnectReason::DuplicateIdentity, Action::Disconnect), "{path:?}");
        assert_ne!(first.sid(), second.sid(), "{path:?}");
        let events = ["participant_joined", "participant_left", "participant_joined"];
        crate::support::eventually("the events", || served.events_of(&room, "ann") == events).await;
    }
}

#[tokio::test]
async fn test_participant_replaces_a_client() {
    let served = served().await;
    let ann = served.client("dev", "ann").await;
    served.join("dev", "ann");
    assert_eq!(left(&ann).await.0, DisconnectReason::DuplicateIdentity);
}

#[tokio::test]
async fn test_participant_is_visible_to_clients() {
    let served = served().await;
    served.join("dev", "bob");
    let ann = served.client("dev", "ann").await;
    served.server.publish("dev", "bob", livekit_protocol::TrackSource::Camera).unwrap();
    ann.until("a track of bob", |seen| seen.others.get("bob").is_some_and(|bob| bob.tracks.len() == 1))
        .await
        .unwrap();
    served.server.leave("dev", "bob").unwrap();
    ann.until("bob has left", |seen| !seen.others.contains_key("bob")).await.unwrap();
}

#[tokio::test]
async fn deleted_room_ends_all_clients() {
    let served = served().await;
    for path in PATHS {
        let room = format!("deleted-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        served.api().delete_room(&room).await.unwrap();
        for client in [&ann, &bob] {
            assert_eq!(left(client).await, (DisconnectReason::RoomDeleted, Action::Disconnect), "{path:?}");
        }
    }
}

#[tokio::test]
async fn stopped_server_informs_its_clients() {
    let served = served().await;
    let ann = served.client("stopped", "ann").await;
    served.shutdown.cancel();
    assert_eq!(left(&ann).await, (DisconnectReason::ServerShutdown, Action::Disconnect));
}

#[tokio::test]
async fn restart_looks_like_a_crash_to_clients() {
    let served = served().await;
    let ann = served.client("crash", "ann").await;
    served.server.restart();
    ann.until("the end", |seen| seen.closed).await.unwrap();
    let end = ann.seen(|seen| seen.end.clone());
    assert!(end.is_none_or(|end| end.leave.is_none() && end.code.is_none()));
    let Err(Error::Left(leave)) = ann.resume().await else { panic!("the resume was accepted") };
    assert_eq!(leave.action(), Action::Reconnect);
}

#[tokio::test]
async fn join_is_announced_before_active() {
    let served = served().await;
    for path in PATHS {
        let room = format!("states-{path:?}");
        let bob = served.client_over(path, &room, "bob").await;
        let ann = Client::join(served.options(&room, "ann").over(path).without_media()).await.unwrap();
        assert_eq!(
            ann.seen(|seen| (seen.participant.state(), seen.participant.version)),
            (State::Joining, 0),
            "{path:?}"
        );
        bob.until("ann has joined", |seen| {
            seen.others.get("ann").is_some_and(|ann| ann.state() == State::Joined)
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn recording_is_announced_to_clients() {
    let folder = tempfile::tempdir().unwrap();
    let served = served_with(|config| {
        config.store = livekit_dev::Store::RedisLike;
        config.recordings = Some(folder.path().to_owned());
        // The announcement of a recording does not wait for the period of the counts.
        config.rtc.room = Duration::from_hours(1);
    })
    .await;
    let ann = served.client("recorded", "ann").await;
    let token = crate::clients::token_with("recorded", "admin", &json!({"roomRecord": true}));
    let path = folder.path().join("call.mp4");
    let started = reqwest::Client::new()
        .post(format!("{}/twirp/livekit.Egress/StartRoomCompositeEgress", served.url))
        .bearer_auth(token)
        .json(&json!({"room_name": "recorded", "file_outputs": [{"filepath": path}]}))
        .send();
    assert_eq!(started.await.unwrap().status().as_u16(), 200);
    let recording = |seen: &rtc_client::Seen, active: bool| {
        let updates = seen.messages.iter().rev().find_map(|(_, message)| match message {
            Message::RoomUpdate(update) => update.room.clone(),
            _ => None,
        });
        updates.is_some_and(|room| room.active_recording == active)
    };
    served.server.work();
    ann.until("a recorded room", |seen| recording(seen, true)).await.unwrap();
    let id = served.server.recordings()[0].egress_id.clone();
    served.server.move_recording(&id, livekit_protocol::EgressStatus::EgressFailed, "stopped").unwrap();
    ann.until("the end of the recording", |seen| recording(seen, false)).await.unwrap();
}

#[tokio::test]
async fn full_room_announces_the_refused_join() {
    let served = served().await;
    let options =
        livekit_api::services::room::CreateRoomOptions { max_participants: 1, ..Default::default() };
    served.api().create_room("full", options).await.unwrap();
    let ann = served.client("full", "ann").await;
    let Err(Error::Refused(refusal)) = Client::join(served.options("full", "bob")).await else {
        panic!("bob joined a full room")
    };
    assert_eq!((refusal.status, refusal.body.as_str()), (500, "connection closed by media"));
    let refused = |message: &Message| match message {
        Message::Update(update) => update.participants.iter().any(|participant| {
            participant.identity == "bob" && participant.disconnect_reason() == DisconnectReason::JoinFailure
        }),
        _ => false,
    };
    ann.until("bob's failure", |seen| seen.messages.iter().any(|(_, message)| refused(message)))
        .await
        .unwrap();
}

#[tokio::test]
async fn refreshed_token_joins_with_the_rights_of_the_first() {
    let served = served().await;
    let grants = json!({"canPublish": false});
    let ann = served.client_with(SignalPath::V1, "refresh", "ann", &grants).await;
    let token = ann.find("a token", |seen| seen.refreshed_token.clone()).await.unwrap();
    let mut options = served.options("refresh", "ann").over(SignalPath::V0);
    options.token = token;
    let again = Client::connect(options).await.unwrap();
    let permission = again.seen(|seen| seen.participant.permission.clone()).unwrap();
    assert!(!permission.can_publish && permission.can_subscribe);
}
