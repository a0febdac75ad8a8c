//! Recordings over HTTP: the shapes of both families, and links to files.

use proto::room::v1::{RecordingRequest, StartRecordingRequest, recording_place::Place};
use serde_json::{Value, json};

use crate::{
    fakes::{RECORDING, ROOM, SESSION},
    support::{Gateway, answer, token},
};

fn bookings() -> String {
    format!("/api/sessions/{SESSION}/recordings")
}

fn live() -> String {
    format!("/api/v1/live/rooms/{ROOM}/recordings")
}

/// The path and query of a link.
fn below(url: &Value) -> String {
    let url = url.as_str().unwrap();
    url[url.find("/api").unwrap()..].to_owned()
}

#[tokio::test]
async fn recording_has_the_documented_shape_in_both_families() {
    let gateway = Gateway::start().await;
    let (status, body) = answer(gateway.get(&bookings()).bearer_auth(token("host-1"))).await;
    let mut recording = body["data"][0].clone();
    let link = recording["downloadUrl"].take();
    assert!(below(&link).starts_with(&format!("{}/{RECORDING}/file?ticket=", bookings())));
    let expected = json!({
        "id": RECORDING, "status": "complete", "startedBy": "host-1", "startedAt": "2027-01-15T08:00:00Z",
        "endedAt": "2027-01-15T08:01:00Z", "durationSeconds": 60.0, "sizeBytes": 10, "downloadUrl": null,
        "error": null,
    });
    assert_eq!((status, recording), (200, expected));
    let (_, body) = answer(gateway.get(&live()).bearer_auth(token("host-1"))).await;
    assert_eq!((&body["ok"], &body["recordings"][0]["size_bytes"]), (&json!(true), &json!(10)));
    assert!(below(&body["recordings"][0]["download_url"]).starts_with(&live()));
}

#[tokio::test]
async fn start_and_stop_are_202_and_pass_on_owner_and_key() {
    let gateway = Gateway::start().await;
    let request = gateway.post(&bookings()).bearer_auth(token("host-1")).header("idempotency-key", "k");
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["data"]["status"]), (202, &json!("starting")));
    assert_eq!(body["data"]["downloadUrl"], Value::Null, "there is no file yet");
    let sent = gateway.fake.sent::<StartRecordingRequest>();
    assert_eq!(sent.place.unwrap().place, Some(Place::SessionId(SESSION.into())));
    assert_eq!(sent.idempotency_key.as_deref(), Some("k"));
    let stop = format!("{}/{RECORDING}/stop", live());
    let (status, body) = answer(gateway.post(&stop).bearer_auth(token("host-1"))).await;
    assert_eq!((status, &body["recording"]["status"]), (202, &json!("complete")));
    let sent = gateway.fake.sent::<RecordingRequest>();
    assert_eq!(sent.place.unwrap().place, Some(Place::LiveRoomId(ROOM.into())));
    assert_eq!(sent.recording_id, RECORDING);
    let (status, body) =
        answer(gateway.post(&format!("{}/no/stop", live())).bearer_auth(token("host-1"))).await;
    assert_eq!((status, &body["field"]), (400, &json!("recording_id")));
}

#[tokio::test]
async fn recording_link_opens_its_file_whole_or_in_part() {
    let gateway = Gateway::start().await;
    let one = format!("{}/{RECORDING}", bookings());
    let (_, body) = answer(gateway.get(&one).bearer_auth(token("guest-1"))).await;
    let link = below(&body["data"]["downloadUrl"]);
    let whole = gateway.get(&link).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    assert_eq!(whole.headers()["content-type"], "video/mp4");
    assert_eq!(
        (&whole.headers()["content-length"], &whole.headers()["accept-ranges"]),
        (&"10".parse().unwrap(), &"bytes".parse().unwrap())
    );
    assert_eq!(whole.text().await.unwrap(), "0123456789");
    for (range, content_range, text) in [
        ("bytes=2-4", "bytes 2-4/10", "234"),
        ("bytes=7-", "bytes 7-9/10", "789"),
        ("bytes=-2", "bytes 8-9/10", "89"),
    ] {
        let part = gateway.get(&link).header("range", range).send().await.unwrap();
        assert_eq!(
            (part.status().as_u16(), part.headers()["content-range"].to_str().unwrap()),
            (206, content_range),
            "{range}"
        );
        assert_eq!(part.text().await.unwrap(), text, "{range}");
    }
    let beyond = gateway.get(&link).header("range", "bytes=10-").send().await.unwrap();
    assert_eq!(beyond.status(), 416);
    assert_eq!(beyond.headers()["content-range"], "bytes */10");
}

#[tokio::test]
async fn recording_file_is_401_without_its_link() {
    let gateway = Gateway::start().await;
    let file = format!("{}/{RECORDING}/file", bookings());
    let (_, body) =
        answer(gateway.get(&format!("{}/{RECORDING}", bookings())).bearer_auth(token("host-1"))).await;
    let link = below(&body["data"]["downloadUrl"]);
    let ticket = link.split_once("?ticket=").unwrap().1;
    let other = format!("{}/{SESSION}/file?ticket={ticket}", bookings());
    for path in [file.clone(), format!("{file}?ticket=x.y"), other] {
        let (status, body) = answer(gateway.get(&path).bearer_auth(token("host-1"))).await;
        assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{path}");
    }
    assert!(gateway.fake.calls().iter().all(|call| call.method != "ReadRecording"));
}

#[tokio::test]
async fn recording_is_rate_limited_like_moderation() {
    let gateway = Gateway::start().await;
    let (started, mut passed) = (std::time::Instant::now(), 0);
    while answer(gateway.post(&bookings()).bearer_auth(token("host-1"))).await.0 != 429 {
        passed += 1;
        assert!(
            passed <= 5 + started.elapsed().as_millis() / 200,
            "a burst of five, then five a second: {passed}"
        );
    }
}
