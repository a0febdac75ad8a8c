//! Data packets between clients, and from the API.

use livekit_api::services::room::SendDataOptions;
use livekit_protocol::{DataPacket, data_packet};

use crate::clients::BOTH;
use crate::target::Target;

#[tokio::test]
async fn reliable_data_arrives_once_and_in_order() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("data").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        for number in 0..1000_u32 {
            ann.send(&number.to_be_bytes(), true);
        }
        let large = vec![7; 14_000];
        ann.send(&large, true);
        bob.until("all of it", |seen| seen.data.len() >= 1001).await.unwrap();
        let expected: Vec<Vec<u8>> =
            (0..1000_u32).map(|number| number.to_be_bytes().to_vec()).chain([large]).collect();
        bob.seen(|seen| {
            assert!(seen.payloads() == expected, "{path:?}");
            assert!(
                seen.data
                    .iter()
                    .all(|data| data.channel == "_reliable" && data.packet.participant_identity == "ann"),
                "{path:?}"
            );
            assert!(seen.data.iter().all(|data| data.packet.participant_sid == ann.sid()), "{path:?}");
        });
        bob.send(b"lossy", false);
        ann.until("lossy", |seen| seen.data.iter().any(|data| data.channel == "_lossy")).await.unwrap();
    }
}

#[tokio::test]
async fn data_reaches_only_its_destinations() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("to").await.name;
        let ann = target.enter_over(path, "ann", &room).await;
        let (bob, eve) =
            (target.enter_over(path, "bob", &room).await, target.enter_over(path, "eve", &room).await);
        ann.send_to(b"for bob", true, &["bob"]);
        ann.send(b"for all", true);
        bob.until("both", |seen| seen.data.len() == 2).await.unwrap();
        eve.until("one", |seen| !seen.data.is_empty()).await.unwrap();
        assert_eq!(eve.seen(|seen| seen.payloads().concat()), b"for all", "{path:?}");
    }
}

#[tokio::test]
async fn sender_of_a_data_packet_is_set_by_the_server() {
    let target = Target::start().await;
    let room = target.create("forged").await.name;
    let (ann, bob) = (target.enter("ann", &room).await, target.enter("bob", &room).await);
    let user = livekit_protocol::UserPacket { payload: b"me".to_vec(), ..Default::default() };
    let forged = DataPacket {
        participant_identity: "eve".to_owned(),
        participant_sid: "PA_forged".to_owned(),
        value: Some(data_packet::Value::User(user)),
        ..Default::default()
    };
    ann.send_packet(forged, true);
    bob.until("the packet", |seen| !seen.data.is_empty()).await.unwrap();
    let packet = bob.seen(|seen| seen.data[0].packet.clone());
    assert_eq!((packet.participant_identity.as_str(), packet.participant_sid), ("ann", ann.sid()));
}

#[tokio::test]
async fn api_data_has_no_sender() {
    let target = Target::start().await;
    for path in BOTH {
        let room = target.create("api").await.name;
        let (ann, bob) =
            (target.enter_over(path, "ann", &room).await, target.enter_over(path, "bob", &room).await);
        let options =
            SendDataOptions { destination_identities: vec!["ann".to_owned()], ..Default::default() };
        target.rooms().send_data(&room, b"to ann".to_vec(), options).await.unwrap();
        target.rooms().send_data(&room, b"to all".to_vec(), SendDataOptions::default()).await.unwrap();
        ann.until("both", |seen| seen.data.len() == 2).await.unwrap();
        bob.until("one", |seen| !seen.data.is_empty()).await.unwrap();
        assert_eq!(bob.seen(|seen| seen.payloads().concat()), b"to all", "{path:?}");
        assert!(
            bob.seen(|seen| seen.data[0].packet.participant_identity.is_empty()
                && seen.data[0].packet.sequence == 0),
            "{path:?}"
        );
    }
}
