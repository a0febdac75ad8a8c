//! Data channels.

use std::collections::BTreeSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use livekit_api::services::room::SendDataOptions;
use livekit_protocol::data_packet::Kind;
use rtc_client::Client;
use serde_json::json;

use crate::{
    clients::{PATHS, served},
    support::Served,
};

async fn receives(client: &Client, payload: &[u8]) {
    client.until("the message", |seen| seen.payloads().contains(&payload)).await.unwrap();
}

#[tokio::test]
async fn reliable_data_arrives_once_and_in_order() {
    let served = served().await;
    for path in PATHS {
        let room = format!("data-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        for number in 0..1000_u32 {
            ann.send(&number.to_be_bytes(), true);
        }
        bob.until("1000 messages", |seen| seen.data.len() >= 1000).await.unwrap();
        let numbers: Vec<u32> = bob.seen(|seen| {
            seen.payloads().iter().map(|payload| u32::from_be_bytes((*payload).try_into().unwrap())).collect()
        });
        assert_eq!(numbers, (0..1000).collect::<Vec<_>>(), "{path:?}");
        let (sid, identity) = bob.seen(|seen| {
            (seen.data[0].packet.participant_sid.clone(), seen.data[0].packet.participant_identity.clone())
        });
        assert_eq!((sid, identity), (ann.sid(), "ann".to_owned()), "{path:?}");
        assert!(ann.seen(|seen| seen.data.is_empty()), "{path:?}");
    }
}

#[tokio::test]
async fn large_message_arrives_whole() {
    let served = served().await;
    for path in PATHS {
        let room = format!("large-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let large = vec![7; 60_000];
        ann.send(&large, true);
        receives(&bob, &large).await;
    }
}

/// A message that no channel accepts must not block the others.
#[tokio::test]
async fn too_large_message_does_not_block_others() {
    let served = served().await;
    for path in PATHS {
        let room = format!("too-large-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let options = || SendDataOptions { kind: Kind::Reliable, ..Default::default() };
        served.api().send_data(&room, vec![7; 200_000], options()).await.unwrap();
        served.api().send_data(&room, b"after".to_vec(), options()).await.unwrap();
        receives(&ann, b"after").await;
        assert_eq!(ann.seen(|seen| seen.data.len()), 1, "{path:?}");
    }
}

#[tokio::test]
async fn lossy_data_arrives_at_most_once_on_its_channel() {
    let served = served().await;
    for path in PATHS {
        let room = format!("lossy-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        // Lossy messages are lost before their channel is open.
        ann.send(b"reliable", true);
        receives(&bob, b"reliable").await;
        bob.send(b"back", true);
        receives(&ann, b"back").await;
        for batch in 0..20_u32 {
            for number in 0..10 {
                ann.send(&[batch, number].map(u32::to_be_bytes).concat(), false);
            }
            ann.send(&batch.to_be_bytes(), true);
            receives(&bob, &batch.to_be_bytes()).await;
        }
        bob.seen(|seen| {
            let lossy: Vec<_> = seen.data.iter().filter(|data| data.channel == "_lossy").collect();
            let different: BTreeSet<_> = lossy.iter().map(|data| data.payload()).collect();
            assert_eq!(different.len(), lossy.len(), "a message arrived twice");
            assert!(lossy.len() > 100, "{}", lossy.len());
            assert_eq!(lossy.len() + 21, seen.data.len(), "{path:?}");
        });
    }
}

#[tokio::test]
async fn addressed_data_reaches_only_its_destinations() {
    let served = served().await;
    for path in PATHS {
        let room = format!("addressed-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let bob = served.client_over(path, &room, "bob").await;
        let cat = served.client_over(path, &room, "cat").await;
        ann.send_to(b"for cat", true, &["cat"]);
        ann.send(b"for all", true);
        receives(&cat, b"for cat").await;
        receives(&bob, b"for all").await;
        assert_eq!(bob.seen(|seen| seen.data.len()), 1, "{path:?}");
    }
}

#[tokio::test]
async fn data_without_permission_is_dropped() {
    let served = served().await;
    for path in PATHS {
        let room = format!("mute-{path:?}");
        let ann = served.client_with(path, &room, "ann", &json!({"canPublishData": false})).await;
        let bob = served.client_over(path, &room, "bob").await;
        let cat = served.client_over(path, &room, "cat").await;
        ann.send(b"forbidden", true);
        bob.send_to(b"allowed", true, &["ann"]);
        receives(&ann, b"allowed").await;
        bob.send(b"to all", true);
        receives(&cat, b"to all").await;
        assert_eq!(cat.seen(|seen| seen.data.len()), 1, "{path:?}");
    }
}

/// Calls the API with an admin token of the room.
async fn call_api(served: &Served, method: &str, body: &serde_json::Value) -> reqwest::Response {
    let room = body["room"].as_str().unwrap();
    let token = crate::clients::token_with(room, "admin", &json!({"roomAdmin": true}));
    let url = format!("{}/twirp/livekit.RoomService/{method}", served.url);
    reqwest::Client::new().post(url).bearer_auth(token).json(body).send().await.unwrap()
}

#[tokio::test]
async fn api_data_reaches_clients_once_per_nonce() {
    let served = served().await;
    for path in PATHS {
        let room = format!("api-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        for (text, nonce) in [("one", 1), ("one", 1), ("two", 2), ("one", 1), ("three", 3)] {
            let body = json!({"room": room, "kind": "RELIABLE", "topic": "t",
                              "data": STANDARD.encode(text), "nonce": STANDARD.encode([nonce; 16])});
            assert!(call_api(&served, "SendData", &body).await.status().is_success(), "{text}, {path:?}");
        }
        receives(&ann, b"three").await;
        ann.seen(|seen| {
            assert_eq!(seen.payloads(), [b"one".as_slice(), b"two", b"three"], "{path:?}");
            let packet = &seen.data[0].packet;
            assert_eq!((packet.sequence, packet.participant_sid.as_str()), (0, ""), "{path:?}");
        });
    }
}

#[tokio::test]
async fn api_data_uses_the_channel_of_its_kind() {
    let served = served().await;
    for path in PATHS {
        let room = format!("kind-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        let options = |kind| SendDataOptions { kind, ..Default::default() };
        served.api().send_data(&room, b"reliable".to_vec(), options(Kind::Reliable)).await.unwrap();
        receives(&ann, b"reliable").await;
        served.api().send_data(&room, b"lossy".to_vec(), options(Kind::Lossy)).await.unwrap();
        receives(&ann, b"lossy").await;
        let channels: Vec<String> =
            ann.seen(|seen| seen.data.iter().map(|data| data.channel.clone()).collect());
        assert_eq!(channels, ["_reliable", "_lossy"], "{path:?}");
    }
}

#[tokio::test]
async fn api_data_for_absent_participants_reaches_no_others() {
    let served = served().await;
    for path in PATHS {
        let room = format!("absent-{path:?}");
        let ann = served.client_over(path, &room, "ann").await;
        for (text, sid) in [("absent", "PA_absent".to_owned()), ("present", ann.sid())] {
            let body = json!({"room": room, "kind": "RELIABLE", "data": STANDARD.encode(text), "destination_sids": [sid]});
            assert!(call_api(&served, "SendData", &body).await.status().is_success(), "{text}, {path:?}");
        }
        receives(&ann, b"present").await;
        assert_eq!(ann.seen(|seen| seen.data.len()), 1, "{path:?}");
    }
}
