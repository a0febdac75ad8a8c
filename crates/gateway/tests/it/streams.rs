//! The listing: its rows and its readers.

use gateway::HttpArgs;
use proto::{sync::v1::ListStreamsRequest, types::v1::StreamStatus};
use serde_json::{Value, json};

use crate::{
    fakes::{ROOM, stream},
    support::{Gateway, answer, args, checked, token},
};

pub const LISTING: &str = "/api/v1/live/streams";

/// A gateway with a public listing.
pub async fn public() -> Gateway {
    Gateway::with(checked(HttpArgs { public_listing: Some("true".into()), ..args() })).await
}

#[tokio::test]
async fn row_has_every_column_of_the_legacy_table() {
    let gateway = Gateway::start().await;
    gateway.fake.listing().write(stream(ROOM, 7));
    let (status, body) = answer(gateway.get(LISTING).bearer_auth(token("ana"))).await;
    let row = json!({
        "id": ROOM, "title": "Evening 7", "description": "", "stream_type": "audio", "tags": [],
        "access_level": "public", "cover_image_url": null, "co_hosts": [],
        "scheduled_for": "2027-01-15T08:00:00Z", "status": "live", "enable_chat": false,
        "enable_polls": false, "enable_replay": false, "created_by": "host-1", "started_at": null,
        "ended_at": null, "viewer_count": 3, "peak_viewers": 0, "total_messages": 0, "metadata": {"a": 1},
        "version": 7,
    });
    assert_eq!((status, body), (200, json!({"ok": true, "streams": [row], "next_cursor": "more"})));
}

#[tokio::test]
async fn search_parameters_are_passed_on() {
    let gateway = Gateway::start().await;
    let path = format!("{LISTING}?status=pending&q=jazz%20night&limit=50&cursor=c");
    assert_eq!(answer(gateway.get(&path).bearer_auth(token("ana"))).await.0, 200);
    let sent = gateway.fake.sent::<ListStreamsRequest>();
    let expected = ListStreamsRequest {
        caller: sent.caller.clone(),
        status: Some(StreamStatus::Pending.into()),
        query: Some("jazz night".into()),
        limit: Some(50),
        cursor: Some("c".into()),
    };
    assert_eq!(sent, expected);
    assert_eq!(sent.caller.unwrap().user_id, "ana");
    let calls = gateway.fake.calls().len();
    let long = "x".repeat(101);
    for (query, field) in
        [("status=over", "status"), (&format!("q={long}"), "q"), ("q=%00", "q"), ("limit=101", "limit")]
    {
        let request = gateway.get(&format!("{LISTING}?{query}")).bearer_auth(token("ana"));
        let (status, body) = answer(request).await;
        assert_eq!((status, &body["field"]), (400, &json!(field)), "{query}");
    }
    assert_eq!(gateway.fake.calls().len(), calls);
}

#[tokio::test]
async fn listing_is_401_without_a_token_unless_public() {
    let gateway = Gateway::start().await;
    let (status, body) = answer(gateway.get(LISTING)).await;
    assert_eq!((status, &body["error"]), (401, &json!("UNAUTHENTICATED")));
    gateway.fake.assert_not_called();
    let gateway = public().await;
    let (status, body) = answer(gateway.get(LISTING)).await;
    assert_eq!((status, &body["ok"]), (200, &Value::Bool(true)));
    assert!(gateway.fake.last().caller.is_none(), "the call has no caller");
    assert_eq!(answer(gateway.get(LISTING).bearer_auth(token("ana"))).await.0, 200);
    assert_eq!(gateway.fake.last().caller.unwrap().user_id, "ana");
    let refused = answer(gateway.get(LISTING).bearer_auth("wrong")).await;
    assert_eq!(refused.0, 401, "a wrong token does not count as no token");
    let me = answer(gateway.get("/api/v1/live/rooms/me")).await;
    assert_eq!(me.0, 401, "only the listing is public");
}

#[tokio::test]
async fn readers_without_a_token_are_rate_limited_by_address() {
    let settings = HttpArgs {
        public_listing: Some("true".into()),
        rate_limit_anonymous: Some("1/3".into()),
        trusted_proxies: Some("127.0.0.0/8".into()),
        ..args()
    };
    let gateway = Gateway::with(checked(settings)).await;
    let mut refused = 0;
    for _ in 0..20 {
        let request = gateway.get(LISTING).header("x-forwarded-for", "203.0.113.1");
        refused += u32::from(answer(request).await.0 == 429);
    }
    assert!(refused > 0, "20 at once passed");
    let elsewhere = gateway.get(LISTING).header("x-forwarded-for", "203.0.113.2");
    assert_eq!(answer(elsewhere).await.0, 200);
}

#[tokio::test]
async fn unknown_value_of_a_service_is_answered_as_internal() {
    let gateway = Gateway::start().await;
    let unknown = proto::sync::v1::Stream { status: 99, ..stream(ROOM, 1) };
    gateway.fake.listing().write(unknown);
    let (status, body) = answer(gateway.get("/api/v1/live/streams").bearer_auth(token("ana"))).await;
    assert_eq!((status, &body["code"]), (500, &json!("internal")));
}
