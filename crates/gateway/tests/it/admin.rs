//! The routes for operators.

use proto::room::v1::{ListEventsRequest, ListStuckRoomsRequest};
use serde_json::{Value, json};

use crate::{
    fakes::{ROOM, SESSION},
    support::{Gateway, answer, token},
};

const PATHS: [&str; 4] = ["stuck-rooms", "orphans", "drift", "events"];

async fn get(gateway: &Gateway, path: &str) -> (u16, Value) {
    answer(gateway.get(&format!("/api/v1/admin/{path}")).bearer_auth(token("admin"))).await
}

#[tokio::test]
async fn admin_routes_are_403_without_the_admin_claim() {
    let gateway = Gateway::start().await;
    for path in PATHS {
        let path = format!("/api/v1/admin/{path}");
        let (status, reply) = answer(gateway.get(&path).bearer_auth(token("host-1"))).await;
        assert_eq!((status, &reply["code"]), (403, &json!("not_admin")), "{path}");
        assert_eq!(answer(gateway.get(&path)).await.0, 401, "{path}");
    }
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn stuck_rooms_are_listed_with_their_last_error() {
    let gateway = Gateway::start().await;
    let (status, reply) = get(&gateway, "stuck-rooms?limit=5").await;
    assert_eq!(status, 200, "{reply}");
    let stuck = json!([{
        "id": ROOM, "hostUserId": "host-1", "status": "live", "currentSessionId": null, "openSessionId": null,
    }]);
    let unmade = json!([{
        "roomName": "session-x", "ownerKind": "session", "ownerId": SESSION, "status": "pending", "attempts": 3,
        "lastError": "LiveKit did not answer", "nextAttemptAt": "2027-01-15T08:01:00Z",
        "createdAt": "2027-01-15T08:00:00Z",
    }]);
    assert_eq!(reply["data"], json!({"liveRooms": stuck, "rooms": unmade}));
    assert_eq!(gateway.fake.sent::<ListStuckRoomsRequest>().limit, Some(5));
    assert_eq!(get(&gateway, "stuck-rooms?limit=0").await.1["field"], json!("limit"));
}

#[tokio::test]
async fn orphans_and_drift_have_the_documented_shape() {
    let gateway = Gateway::start().await;
    let orphans = json!({"retired": ["session-old"], "unknown": ["session-unknown"], "inhabited": []});
    assert_eq!(get(&gateway, "orphans").await.1["data"], orphans);
    let drift = json!({
        "dirty": 3, "setAside": 1, "lagSeconds": 0.5, "drift": 2, "comparedAt": "2027-01-15T08:00:00Z",
    });
    assert_eq!(get(&gateway, "drift").await.1["data"], drift);
}

#[tokio::test]
async fn events_are_paged_and_filtered_by_room() {
    let gateway = Gateway::start().await;
    let (status, reply) = get(&gateway, "events?roomName=session-x&limit=1&cursor=here").await;
    assert_eq!((status, &reply["nextCursor"]), (200, &json!("more")), "{reply}");
    let event = &reply["data"][0];
    assert_eq!((&event["id"], &event["roomId"]), (&json!("EV_1"), &Value::Null));
    assert_eq!(event["payload"], json!({"event": "room_started"}));
    let sent = gateway.fake.sent::<ListEventsRequest>();
    assert_eq!((sent.room_name.as_deref(), sent.cursor.as_deref()), (Some("session-x"), Some("here")));
}
