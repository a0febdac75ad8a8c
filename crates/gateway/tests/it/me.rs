//! `/api/me`: what is read from the token, and what a change passes on.

use proto::booking::v1::{GetUserRequest, RescheduleBookingRequest, UpdateUserRequest};
use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fakes::SESSION,
    support::{Gateway, answer, claims, sign, token},
};

#[tokio::test]
async fn caller_is_shown_with_choices_and_what_is_used() {
    let gateway = Gateway::start().await;
    let (status, body) = answer(gateway.get("/api/me").bearer_auth(token("host-1"))).await;
    assert_eq!(status, 200);
    let expected = json!({
        "id": "host-1", "name": "Hanna", "email": null, "locale": "en", "timeZone": "Europe/Berlin",
        "chosenLocale": null, "chosenTimeZone": "Europe/Berlin"
    });
    assert_eq!(body["data"], expected);
    assert_eq!(gateway.fake.sent::<GetUserRequest>().caller.unwrap().user_id, "host-1");
    assert_eq!(answer(gateway.get("/api/me")).await.0, 401);
}

#[tokio::test]
async fn absent_field_keeps_a_choice_and_null_removes_it() {
    let gateway = Gateway::start().await;
    for (body, locale, time_zone) in [
        (json!({}), None, None),
        (json!({"locale": "de"}), Some("de"), None),
        (json!({"locale": null, "timeZone": "Asia/Tokyo"}), Some(""), Some("Asia/Tokyo")),
        (json!({"timeZone": null}), None, Some("")),
    ] {
        let request = gateway.request(Method::PATCH, "/api/me").bearer_auth(token("host-1")).json(&body);
        assert_eq!(answer(request).await.0, 200, "{body}");
        let sent = gateway.fake.sent::<UpdateUserRequest>();
        assert_eq!((sent.locale.as_deref(), sent.time_zone.as_deref()), (locale, time_zone), "{body}");
        let path = format!("/api/bookings/{SESSION}");
        let zone = json!({"timeZone": body.get("timeZone").cloned().unwrap_or(Value::Null)});
        let zone = if body.get("timeZone").is_some() { zone } else { json!({}) };
        let request = gateway.request(Method::PATCH, &path).bearer_auth(token("host-1")).json(&zone);
        assert_eq!(answer(request).await.0, 200, "{zone}");
        let sent = gateway.fake.sent::<RescheduleBookingRequest>();
        assert_eq!(sent.time_zone.as_deref(), time_zone, "{zone}");
    }
    let wrong =
        gateway.request(Method::PATCH, "/api/me").bearer_auth(token("host-1")).json(&json!({"name": "Ada"}));
    let (status, body) = answer(wrong).await;
    assert_eq!((status, &body["code"], &body["field"]), (400, &json!("invalid_request"), &json!("name")));
}

#[tokio::test]
async fn language_and_time_zone_of_the_token_are_passed_on() {
    let gateway = Gateway::start().await;
    for (locale, zoneinfo, expected) in [
        (json!("de_at"), json!("europe/vienna"), ("de-AT", "Europe/Vienna")),
        (json!("fr-CA-u-ca-buddhist"), json!("UTC"), ("fr-CA", "UTC")),
        (json!("german"), json!("CEST"), ("", "")),
        (json!(7), json!(["UTC"]), ("", "")),
        (Value::Null, Value::Null, ("", "")),
    ] {
        let mut claims = claims("ana");
        (claims["locale"], claims["zoneinfo"]) = (locale.clone(), zoneinfo);
        let request = gateway.get("/api/me").bearer_auth(sign(&claims));
        assert_eq!(answer(request).await.0, 200, "{locale}");
        let caller = gateway.fake.last().caller.unwrap();
        assert_eq!((caller.locale.as_str(), caller.zoneinfo.as_str()), expected, "{locale}");
    }
}
