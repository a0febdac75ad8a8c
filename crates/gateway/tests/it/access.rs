//! Who may do what: a table keyed by operation, held against the OpenAPI document. A route without its cases
//! fails here.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    fakes::{NOTIFICATION, SESSION},
    support::{Gateway, answer, token},
};

/// Status for: anonymous, stranger, guest, host, admin.
type Cases = [u16; 5];

const PEOPLE: [Option<&str>; 5] = [None, Some("stranger"), Some("guest-1"), Some("host-1"), Some("admin")];
const EVERYBODY: Cases = [200; 5];
const SIGNED_IN: Cases = [401, 200, 200, 200, 200];
const PARTIES: Cases = [401, 403, 200, 200, 403];

fn cases() -> BTreeMap<&'static str, (Cases, Value)> {
    let nothing = || Value::Null;
    let booking = json!({
        "guestId": "guest-1", "title": "Algebra", "scheduledAt": "2030-01-01T10:00:00Z", "durationMinutes": 60,
    });
    BTreeMap::from([
        ("createBooking", ([401, 201, 201, 201, 201], booking)),
        ("listBookings", (SIGNED_IN, nothing())),
        ("getBooking", (PARTIES, nothing())),
        ("patchBooking", (PARTIES, json!({"title": "Geometry"}))),
        ("cancelBooking", (PARTIES, json!({"reason": "ill"}))),
        ("listNotifications", (SIGNED_IN, nothing())),
        ("readNotification", (SIGNED_IN, nothing())),
        ("createRoom", ([401, 403, 200, 200, 200], nothing())),
        ("getAccessToken", (PARTIES, nothing())),
        ("endRoom", ([401, 403, 403, 200, 200], nothing())),
        ("getMeetingStatus", (PARTIES, nothing())),
        ("kickParticipant", ([401, 403, 403, 200, 200], json!({"userId": "guest-1"}))),
        // LiveKit's own signature is judged by room-lifecycle; here it is "anything in Authorization".
        ("receiveWebhook", (SIGNED_IN, nothing())),
        ("getHealth", (EVERYBODY, nothing())),
        ("getLiveness", (EVERYBODY, nothing())),
        ("getReadiness", (EVERYBODY, nothing())),
    ])
}

fn concrete(path: &str) -> String {
    path.replace("{bookingId}", SESSION)
        .replace("{sessionId}", SESSION)
        .replace("{notificationId}", NOTIFICATION)
}

#[tokio::test]
async fn every_documented_operation_has_its_cases_and_keeps_them() {
    let gateway = Gateway::start().await;
    gateway.ready().await;
    let document = answer(gateway.get("/openapi.json")).await.1;
    let mut cases = cases();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let id = operation["operationId"].as_str().expect("an operation id");
            let (expected, body) = cases
                .remove(id)
                .unwrap_or_else(|| panic!("{id} ({method} {path}) has no authorisation cases"));
            for (person, expected) in PEOPLE.iter().zip(expected) {
                let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
                let mut request = gateway.request(method, &concrete(path));
                if let Some(person) = person {
                    request = request.bearer_auth(token(person));
                }
                if !body.is_null() {
                    request = request.json(&body);
                }
                let (status, told) = answer(request).await;
                assert_eq!(status, expected, "{id} by {person:?}: {told}");
                assert!(
                    operation["responses"].get(status.to_string()).is_some(),
                    "{id} answers {status}, which its documentation lacks"
                );
            }
        }
    }
    assert!(cases.is_empty(), "cases without a route: {:?}", cases.keys());
}
