//! The calendar file, opened by a token or by the link of one person and booking; and the deliveries that admins list.

use proto::booking::v1::GetCalendarRequest;
use serde_json::json;

use crate::{
    fakes::SESSION,
    support::{Gateway, answer, args, checked, token},
};

/// The path and query of the guest's own link.
async fn link(gateway: &Gateway) -> String {
    let path = format!("/api/bookings/{SESSION}");
    let (_, body) = answer(gateway.get(&path).bearer_auth(token("guest-1"))).await;
    body["data"]["calendarUrl"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn calendar_link_opens_the_file_for_its_person() {
    let gateway = Gateway::start().await;
    let link = link(&gateway).await;
    let response = gateway.get(&link).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/calendar; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert!(response.text().await.unwrap().starts_with("BEGIN:VCALENDAR"));
    let call = gateway.fake.last();
    assert_eq!((call.method, call.caller.as_ref().unwrap().user_id.as_str()), ("get_calendar", "guest-1"));
    assert_eq!(call.sent::<GetCalendarRequest>().link_version, Some(1));

    let path = format!("/api/bookings/{SESSION}/calendar.ics");
    let response = gateway.get(&path).bearer_auth(token("host-1")).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(gateway.fake.sent::<GetCalendarRequest>().link_version, None);
}

#[tokio::test]
async fn calendar_link_is_401_when_changed_or_signed_otherwise() {
    let gateway = Gateway::start().await;
    let link = link(&gateway).await;
    let calls = gateway.fake.calls().len();
    for wrong in [
        link.replace("guest-1", "host-1"),
        link.replace("version=1", "version=2"),
        link.replace(SESSION, "00000000-0000-4000-8000-000000000000"),
        link[..link.len() - 1].to_owned(),
        link.split("&signature").next().unwrap().to_owned(),
        format!("/api/bookings/{SESSION}/calendar.ics?signature="),
    ] {
        let (status, body) = answer(gateway.get(&wrong)).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{wrong}");
    }
    assert_eq!(gateway.fake.calls().len(), calls);
    let mut replaced = checked(args());
    replaced.streams.link_secrets.insert(0, "another secret of at least 32 bytes".into());
    assert_eq!(answer(Gateway::with(replaced.clone()).await.get(&link)).await.0, 200);
    replaced.streams.link_secrets.truncate(1);
    assert_eq!(answer(Gateway::with(replaced).await.get(&link)).await.0, 401);
}

#[tokio::test]
async fn calendar_link_is_null_for_readers_who_are_not_a_party() {
    let gateway = Gateway::start().await;
    let path = format!("/api/bookings/{SESSION}");
    let (_, body) = answer(gateway.get(&path).bearer_auth(token("admin"))).await;
    assert_eq!(body["data"]["calendarUrl"], json!(null));
}

#[tokio::test]
async fn deliveries_are_listed_for_admins_only() {
    let gateway = Gateway::start().await;
    for state in ["pending", "waiting"] {
        let path = format!("/api/v1/admin/notifications?state={state}");
        let (status, body) = answer(gateway.get(&path).bearer_auth(token("admin"))).await;
        assert_eq!(status, 200, "{state}: {body}");
    }
    let path = "/api/v1/admin/notifications?state=dead";
    let (status, body) = answer(gateway.get(path).bearer_auth(token("admin"))).await;
    assert_eq!(status, 200, "{body}");
    let delivery = &body["data"][0];
    assert_eq!((&delivery["channel"], &delivery["attempts"]), (&json!("email"), &json!(3)));
    assert_eq!((&delivery["lastError"], &delivery["userId"]), (&json!("550"), &json!(null)));
    let calls = gateway.fake.calls().len();
    let (status, body) = answer(gateway.get(path).bearer_auth(token("host-1"))).await;
    assert_eq!((status, &body["code"]), (403, &json!("not_admin")));
    assert_eq!(gateway.fake.calls().len(), calls);
}
