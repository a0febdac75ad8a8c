//! The messages of the signalling socket: joins, updates, ends. Each test runs on both paths.

use livekit_protocol::{
    DisconnectReason, RequestResponse, UpdateParticipantMetadata, leave_request::Action,
    participant_info::State, request_response::Reason, signal_request, signal_response::Message,
};
use reqwest::StatusCode;
use rtc_client::{Client, Error, SignalPath};
use serde_json::json;

use crate::clients::{BOTH, eventually};
use crate::target::Target;

fn response(message: &Message) -> Option<RequestResponse> {
    match message {
        Message::RequestResponse(response) => Some(response.clone()),
        _ => None,
    }
}

fn pong(message: &Message) -> Option<()> {
    matches!(message, Message::Pong(_)).then_some(())
}

#[tokio::test]
async fn join_is_the_first_message_with_all_that_clients_need() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("join").await;
        let bob = target.enter_over(path, "bob", &room.name).await;
        let ann = target.enter_over(path, "ann", &room.name).await;
        let (_, first) = ann.seen(|seen| seen.messages[0].clone());
        let Message::Join(join) = first else { panic!("{first:?}") };
        let me = join.participant.unwrap();
        assert_eq!((join.room.unwrap().sid, me.identity.as_str()), (room.sid, "ann"), "{path:?}");
        assert_eq!((me.state(), me.version), (State::Joining, 0), "{path:?}");
        assert_eq!(join.other_participants.len(), 1, "{path:?}");
        assert_eq!(join.other_participants[0].sid, bob.sid(), "{path:?}");
        assert_eq!(join.subscriber_primary, path == SignalPath::V0, "{path:?}");
        assert!(join.fast_publish && join.ping_interval == 5 && join.ping_timeout == 15, "{path:?}");
        let info = join.server_info.unwrap();
        assert_eq!(
            (info.version, info.protocol, info.agent_protocol),
            (join.server_version, 17, 1),
            "{path:?}"
        );
        assert!(!join.enabled_publish_codecs.is_empty() && !join.sif_trailer.is_empty(), "{path:?}");
    }
}

#[tokio::test]
async fn participant_receives_its_own_activation_and_others() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("updates").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        let active =
            |info: &livekit_protocol::ParticipantInfo| info.state() == State::Active && info.version == 2;
        ann.until("own ACTIVE", |seen| active(&seen.participant)).await.unwrap();
        let bob = target.enter_over(path, "bob", &room).await;
        ann.until("bob ACTIVE", |seen| seen.others.get("bob").is_some_and(active)).await.unwrap();
        let sid = bob.sid();
        bob.leave().await.unwrap();
        ann.until("bob gone", |seen| seen.others.is_empty()).await.unwrap();
        let reason = ann.seen(|seen| {
            seen.find(|message| match message {
                Message::Update(update) => update
                    .participants
                    .iter()
                    .find(|info| info.sid == sid && info.state() == State::Disconnected)
                    .map(livekit_protocol::ParticipantInfo::disconnect_reason),
                _ => None,
            })
        });
        assert_eq!(reason, Some(DisconnectReason::ClientInitiated), "{path:?}");
    }
}

#[tokio::test]
async fn leave_is_echoed_and_the_socket_closed_normally() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("leave").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        let leave = livekit_protocol::LeaveRequest {
            reason: DisconnectReason::ClientInitiated.into(),
            ..Default::default()
        };
        ann.request(signal_request::Message::Leave(leave));
        ann.until("closed", |seen| seen.closed).await.unwrap();
        let end = ann.seen(|seen| seen.end.clone()).unwrap();
        assert_eq!(end.code, Some(1000), "{path:?}");
        assert_eq!(end.leave.unwrap().reason(), DisconnectReason::ClientInitiated, "{path:?}");
        target.gone(&room, "ann").await;
    }
}

#[tokio::test]
async fn both_kinds_of_ping_are_answered() {
    let target = Target::start().await;
    let room = target.create("ping").await.name;
    let ann = target.enter("ann", &room).await;
    ann.request(signal_request::Message::Ping(77));
    ann.request(signal_request::Message::PingReq(livekit_protocol::Ping { timestamp: 78, rtt: 0 }));
    // The time of the server, not an echo.
    let now_ms = crate::tokens::now_s() * 1000;
    let pong = |message: &Message| matches!(message, Message::Pong(at) if at.abs_diff(now_ms) < 60_000);
    ann.until("pong", |seen| seen.messages.iter().any(|(_, message)| pong(message))).await.unwrap();
    let pong = |message: &Message| match message {
        Message::PongResp(pong) => Some((pong.last_ping_timestamp, pong.timestamp)),
        _ => None,
    };
    let (last, now) = ann.find("pong_resp", |seen| seen.find(pong)).await.unwrap();
    assert!(last == 78 && now > 0);
}

#[tokio::test]
async fn json_frames_are_answered_in_json() {
    let target = Target::start().await;
    let room = target.create("json").await.name;
    let mut options = target.options(&target.joining("ann", &room));
    options.json = true;
    let ann = Client::connect(options).await.unwrap();
    ann.request(signal_request::Message::Ping(5));
    ann.until("pong", |seen| seen.find(pong).is_some()).await.unwrap();
}

#[tokio::test]
async fn token_is_accepted_in_the_header_alone() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("header").await.name;
        let mut options = target.options(&target.joining("ann", &room)).over(path);
        options.token_in_header = true;
        let ann = Client::connect(options).await.unwrap();
        assert_eq!(ann.seen(|seen| seen.participant.identity.clone()), "ann", "{path:?}");
    }
}

#[tokio::test]
async fn removal_is_announced_to_the_participant_and_others() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("kick").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        target.listed(&room, "ann", |ann| (ann.state() == State::Active).then_some(())).await;
        target.rooms().remove_participant(&room, "ann").await.unwrap();
        assert_eq!(
            ended(&ann).await,
            (Some(DisconnectReason::ParticipantRemoved), Some(Action::Disconnect)),
            "{path:?}"
        );
        bob.until("ann gone", |seen| seen.others.is_empty()).await.unwrap();
        let again = target.enter_over(path, "ann", &room).await;
        assert_ne!(again.sid(), ann.sid(), "{path:?}");
    }
}

#[tokio::test]
async fn deleted_room_disconnects_everyone() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("delete").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        target.rooms().delete_room(&room).await.unwrap();
        for client in [ann, bob] {
            assert_eq!(ended(&client).await.0, Some(DisconnectReason::RoomDeleted), "{path:?}");
        }
    }
}

#[tokio::test]
async fn second_session_of_an_identity_ends_the_first() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("duplicate").await.name;
        let first = target.enter_over(path, "ann", &room).await;
        let second = target.enter_over(path, "ann", &room).await;
        assert_eq!(ended(&first).await.0, Some(DisconnectReason::DuplicateIdentity), "{path:?}");
        target.listed(&room, "ann", |ann| (ann.sid == second.sid()).then_some(())).await;
        assert!(!second.seen(|seen| seen.closed), "{path:?}");
    }
}

#[tokio::test]
async fn full_room_refuses_and_keeps_its_participants() {
    let target = Target::start().await;
    let room = crate::target::fresh("full");
    let body = json!({"name": room, "max_participants": 1});
    target.json("CreateRoom", &json!({"roomCreate": true}), &body).await;
    let ann = target.enter("ann", &room).await;
    let token = target.joining("bob", &room);
    assert_eq!(target.validate(&token).await.status(), StatusCode::OK);
    for path in BOTH {
        let refused = Client::join(target.options(&token).over(path)).await.err().unwrap();
        let Error::Refused(refusal) = refused else { panic!("{refused}") };
        assert_eq!(
            (refusal.status, refusal.body.trim_end()),
            (500, "connection closed by media"),
            "{path:?}"
        );
    }
    assert!(!ann.seen(|seen| seen.closed));
}

#[tokio::test]
async fn metadata_changes_reach_everyone_and_are_answered() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("metadata").await.name;
        let video = json!({"roomJoin": true, "room": room, "canUpdateOwnMetadata": true});
        let ann = target.enter_with(path, "ann", &video).await;
        let bob = target.enter_over(path, "bob", &room).await;
        let change = |request_id| {
            signal_request::Message::UpdateMetadata(UpdateParticipantMetadata {
                metadata: "mine".to_owned(),
                name: "Ann".to_owned(),
                request_id,
                ..Default::default()
            })
        };
        ann.request(change(7));
        let answer = ann.find("the answer", |seen| seen.find(response)).await.unwrap();
        assert_eq!((answer.request_id, answer.reason()), (7, Reason::Ok), "{path:?}");
        bob.until("the change", |seen| {
            seen.others.get("ann").is_some_and(|ann| ann.metadata == "mine" && ann.name == "Ann")
        })
        .await
        .unwrap();
        bob.request(change(8));
        let refused = bob.find("the refusal", |seen| seen.find(response)).await.unwrap();
        assert_eq!((refused.request_id, refused.reason()), (8, Reason::NotAllowed), "{path:?}");
        assert_eq!(refused.message, "does not have permission to update own metadata", "{path:?}");
    }
}

#[tokio::test]
async fn room_metadata_reaches_clients() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("room").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        target.rooms().update_room_metadata(&room, "news").await.unwrap();
        ann.until("the metadata", |seen| seen.room.metadata == "news").await.unwrap();
    }
}

#[tokio::test]
async fn hidden_participant_is_not_shown_and_sees_the_others() {
    let target = Target::start().await;
    let room = target.create("hidden").await.name;
    let ann = target.enter("ann", &room).await;
    let hidden = target
        .enter_with(SignalPath::V1, "hidden", &json!({"roomJoin": true, "room": room, "hidden": true}))
        .await;
    let bob = target.enter("bob", &room).await;
    ann.until("bob", |seen| seen.others.contains_key("bob")).await.unwrap();
    assert_eq!(
        hidden.seen(|seen| seen.others.keys().cloned().collect::<Vec<_>>()).first().map(String::as_str),
        Some("ann")
    );
    for client in [&ann, &bob] {
        assert!(!client.seen(|seen| seen.others.contains_key("hidden")));
    }
}

#[tokio::test]
async fn bad_frame_ends_only_its_own_connection() {
    let target = Target::start().await;
    let room = target.create("garbage").await.name;
    let (ann, bob) = (target.enter("ann", &room).await, target.enter("bob", &room).await);
    ann.garbage(vec![0xff; 300]);
    bob.request(signal_request::Message::Ping(9));
    bob.until("pong", |seen| seen.find(pong).is_some()).await.unwrap();
    let still =
        eventually("an answer for bob", async || target.rooms().get_participant(&room, "bob").await.ok())
            .await;
    assert_eq!(still.state(), State::Active);
}

/// How the server ended the client's session.
pub async fn ended(client: &Client) -> (Option<DisconnectReason>, Option<Action>) {
    client.until("the end", |seen| seen.closed).await.unwrap();
    let leave = client.seen(|seen| seen.end.clone()).and_then(|end| end.leave);
    leave.map_or((None, None), |leave| (Some(leave.reason()), Some(leave.action())))
}
