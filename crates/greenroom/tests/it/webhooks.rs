//! Webhooks are hints (I8): whether they are delivered, lost, doubled or shuffled, the final state is the same.

use livekit_dev::{Order, WebhookFault};
use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{Replica, World};

async fn participants(replica: &Replica, id: &str) -> Vec<(String, String)> {
    let (status, answer) = replica.get("una", &format!("/api/sessions/{id}/livekit/status")).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let listed = answer["data"]["participants"].as_array().unwrap();
    listed.iter().map(|one| (text(&one["userId"]), text(&one["status"]))).collect()
}

#[testkit::test]
async fn final_state_does_not_depend_on_webhooks(mut world: World) {
    world.services.room.pass_period = std::time::Duration::from_millis(200);
    let replica = world.replica().await;
    let cases: [(&str, Option<WebhookFault>); 4] = [
        ("delivered", None),
        ("lost", Some(WebhookFault::Drop)),
        ("doubled", Some(WebhookFault::Duplicate)),
        ("swapped", Some(WebhookFault::Swap)),
    ];
    for (case, mishap) in cases {
        if let Some(mishap) = mishap {
            let Some(livekit) = world.stand_in() else { break }; // a real server: only the first case is checked
            livekit.clear_mishaps();
            livekit.inject_webhook_fault(mishap);
        }
        let (host, guest) = ("una".to_owned(), format!("gus {case}"));
        let id = replica.book(&host, &guest, 1).await;
        let (una, gus) = (replica.admit(&host, &id).await, replica.admit(&guest, &id).await);
        let room = una["roomName"].as_str().unwrap();
        let _una_connected = world.join(una["token"].as_str().unwrap()).await;
        let gus_connected = world.join(gus["token"].as_str().unwrap()).await;
        gus_connected.leave().await;
        let gus_connected = world.join(gus["token"].as_str().unwrap()).await;
        let joined = vec![(host.clone(), "joined".to_owned()), (guest.clone(), "joined".to_owned())];
        await_statuses(&replica, &id, &joined, case).await;
        gus_connected.leave().await;
        let left = vec![(host.clone(), "joined".to_owned()), (guest.clone(), "left".to_owned())];
        await_statuses(&replica, &id, &left, case).await;
        assert_eq!(replica.end(&host, &id).await.0, StatusCode::OK, "{case}");
        let over = vec![(host, "left".to_owned()), (guest, "left".to_owned())];
        await_statuses(&replica, &id, &over, case).await;
        testkit::eventually("the room is gone", async || {
            let left = world.rooms_of(room).await;
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

async fn await_statuses(replica: &Replica, id: &str, expected: &[(String, String)], case: &str) {
    testkit::eventually(&format!("webhooks {case}: {expected:?}"), || async {
        let mut now = participants(replica, id).await;
        now.sort_by(|one, other| other.0.cmp(&one.0)); // una before gus
        if now == expected { Ok(()) } else { Err(now) }
    })
    .await;
}

#[testkit::test]
async fn late_and_shuffled_webhooks_change_nothing(mut world: World) {
    if world.stand_in().is_none() {
        return;
    }
    let replica = world.replica().await;
    let livekit = world.stand_in().unwrap();
    livekit.hold_webhooks();
    let id = replica.book("una", "gus", 1).await;
    let una = replica.admit("una", &id).await;
    let room = una["roomName"].as_str().unwrap();
    livekit.join(una["token"].as_str().unwrap()).unwrap();
    livekit.leave(room, "una").unwrap();
    livekit.join(una["token"].as_str().unwrap()).unwrap();
    livekit.release_webhooks(Order::Shuffled);
    livekit.webhooks_idle().await;
    let expected = [("una".to_owned(), "joined".to_owned()), ("gus".to_owned(), "invited".to_owned())];
    await_statuses(&replica, &id, &expected, "shuffled").await;
    assert_eq!(replica.room("una", &id).await["status"], "active");
}
