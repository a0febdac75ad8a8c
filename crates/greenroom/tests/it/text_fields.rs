//! Every text field of a request, found in the OpenAPI document. Texts for people are stored cleaned. Other fields are
//! refused by name when they have an invisible character. A new field fails this test until it is classified.

use gateway::{Rate, nostr::sign::Keys};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Replica, World};

/// The kind of a field. It decides whether the field is cleaned or refused.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Class {
    /// A text for people, which is cleaned.
    Text,
    /// An id, a key or a name of a fixed set, which is never changed.
    Id,
    Email,
    /// A URL that other people's browsers load.
    Picture,
    /// A URL of a Nostr relay.
    Relay,
    /// A language tag.
    Locale,
    /// The name of a time zone.
    TimeZone,
}

fn class(field: &str) -> Class {
    match field {
        "title" | "description" | "reason" | "guest.name" | "room_name" | "session_title" | "topic_keys" => {
            Class::Text
        }
        "guestId" | "hostId" | "userId" | "user_id" | "groups" | "source" | "participant" => Class::Id,
        "guest.email" => Class::Email,
        "cover_image_url" => Class::Picture,
        "relays" => Class::Relay,
        "locale" => Class::Locale,
        "timeZone" => Class::TimeZone,
        other => panic!("`{other}` is a new text: classify it, and make sure that it is cleaned or refused"),
    }
}

/// Values that are refused in a field of this class.
fn refused(class: Class) -> Vec<String> {
    let hidden = ["\u{200b}\u{3164}", "\u{2060}\u{feff}\u{200d}", "\u{202e}\n\u{ad}"].map(str::to_owned);
    let own: &[&str] = match class {
        Class::Text => &[],
        Class::Id => &[" ada", "ada\n", "\u{3000}ada", "a\u{200b}da", "a\u{202e}da", "a\tda", "a\u{2028}da"],
        Class::Email => &["ada", "ada@", "a da@example.org"],
        Class::Picture => &[
            "javascript:alert(1)",
            "http://example.org/a",
            "https://ada@example.org/a",
            "https://localhost/a",
            "https://a.local/a",
            "https://10.0.0.1/a",
            "https://[::1]/a",
            "https://example.org/\u{200b} a",
        ],
        Class::Relay => {
            &["https://relay.example.org", "wss://ada@relay.example.org", "wss://relay.example.org/ a"]
        }
        Class::Locale => &["german", "fr", "und", "d\u{200b}e", "de\u{2028}", " de", "de-AT-x-\u{0}"],
        Class::TimeZone => {
            &["CEST", "+02:00", "Europe/Atlantis", "../UTC", "Europe/Berl\u{ad}in", "UTC\u{200b}", " UTC"]
        }
    };
    own.iter().map(|&value| value.to_owned()).chain(hidden).collect()
}

/// A request and its user.
struct UserRequest {
    user: String,
    method: Method,
    path: String,
    body: Value,
}

/// The rooms and users on which the operations are called.
struct Stage<'a> {
    replica: &'a Replica,
    nostr: Keys,
    room: String,
    nest: String,
    requests: usize,
}

impl Stage<'_> {
    /// A valid request. Each one has its own users and objects.
    async fn valid_request(&mut self, operation: &str) -> UserRequest {
        self.requests += 1;
        let (host, guest) = (format!("host-{}", self.requests), format!("guest-{}", self.requests));
        let asked = |user: &str, method, path: &str, body| UserRequest {
            user: user.to_owned(),
            method,
            path: path.to_owned(),
            body,
        };
        let room = self.room.clone();
        let about =
            |verb: &str| asked("una", Method::POST, &format!("{room}/{verb}"), json!({"user_id": "ada"}));
        match operation {
            "createBooking" => asked(
                &host,
                Method::POST,
                "/api/bookings",
                json!({
                    "hostId": host, "guestId": guest, "title": "Algebra", "description": "", "durationMinutes": 30,
                    "scheduledAt": later(), "timeZone": "Europe/Berlin", "guest": {"name": "Gus", "email": "gus@example.org"},
                }),
            ),
            "patchMe" => asked(&host, Method::PATCH, "/api/me", json!({})),
            "patchBooking" | "cancelBooking" | "kickParticipant" => {
                let id = self.replica.book(&host, &guest, 600).await;
                match operation {
                    "patchBooking" => asked(&host, Method::PATCH, &format!("/api/bookings/{id}"), json!({})),
                    "cancelBooking" => {
                        asked(&host, Method::POST, &format!("/api/bookings/{id}/cancel"), json!({}))
                    }
                    _ => asked(
                        &host,
                        Method::POST,
                        &format!("/api/sessions/{id}/livekit/kick"),
                        json!({"userId": guest}),
                    ),
                }
            }
            "saveMyLiveRoom" => asked("una", Method::POST, "/api/v1/live/rooms", json!({})),
            "patchLiveRoom" => asked("una", Method::PATCH, &room, json!({})),
            "goLive" => {
                let (_, mine) = self.replica.get(&host, "/api/v1/live/rooms/me").await;
                let path = format!("/api/v1/live/rooms/{}/sessions", mine["room"]["id"].as_str().unwrap());
                asked(&host, Method::POST, &path, json!({}))
            }
            "admitFromLobby" => about("admit"),
            "rejectFromLobby" => about("reject"),
            "promoteInLiveRoom" => about("promote"),
            "demoteInLiveRoom" => about("demote"),
            "kickFromLiveRoom" => about("kick"),
            "banFromLiveRoom" => about("ban"),
            "unbanFromLiveRoom" => about("unban"),
            "muteInLiveRoom" => {
                let body = json!({"user_id": "ada", "source": "camera"});
                asked("una", Method::POST, &format!("{room}/mute"), body)
            }
            "createNest" => asked("", Method::PUT, "/api/v1/nests", json!({"relays": []})),
            "setNestPermissions" => {
                let body = json!({"participant": self.nostr.public_key().to_hex(), "can_publish": true});
                asked("", Method::POST, &format!("{}/permissions", self.nest), body)
            }
            other => panic!("{other} is a new operation with texts: add a valid request of it here"),
        }
    }

    /// Sends a valid request in which this field has this value.
    async fn send(&mut self, operation: &str, field: &str, value: &str) -> (StatusCode, Value) {
        let UserRequest { user, method, path, mut body } = self.valid_request(operation).await;
        let is_list = matches!(field, "topic_keys" | "groups" | "relays");
        let value = if is_list { json!([value]) } else { json!(value) };
        match field.split_once('.') {
            Some((outer, inner)) => body[outer][inner] = value,
            None => body[field] = value,
        }
        if user.is_empty() {
            return self.replica.nostr(Some(&self.nostr), method, &path, Some(&body)).await;
        }
        self.replica.ask(&user, method, &path, Some(body)).await
    }
}

fn later() -> String {
    let start = chassis::clock::Clock::default().now() + time::Duration::hours(10);
    start.format(&time::format_description::well_known::Rfc3339).unwrap()
}

/// Collects the names of a schema's texts: strings without a format or a fixed set of values.
fn texts(document: &Value, schema: &Value, name: &str, found: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = document.pointer(reference.trim_start_matches('#')).unwrap();
        return texts(document, target, name, found);
    }
    for option in ["oneOf", "anyOf", "allOf"].iter().filter_map(|of| schema[*of].as_array()).flatten() {
        texts(document, option, name, found);
    }
    for (field, inner) in schema["properties"].as_object().into_iter().flatten() {
        let name = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
        texts(document, inner, &name, found);
    }
    if schema["items"].is_object() {
        texts(document, &schema["items"], name, found);
    }
    let is_string = schema["type"] == "string"
        || schema["type"].as_array().is_some_and(|types| types.contains(&json!("string")));
    if is_string && schema["format"].is_null() && schema["enum"].is_null() {
        found.push(name.to_owned());
    }
}

#[testkit::test]
async fn every_text_of_the_api_is_cleaned_or_refused(mut world: World) {
    let unlimited = Rate::new(100_000, 100_000);
    (world.services.gateway.rates.user, world.services.gateway.rates.moderation) = (unlimited, unlimited);
    let replica = world.replica().await;
    let nostr = Keys::generate();
    let (_, mine) = replica.get("una", "/api/v1/live/rooms/me").await;
    let room = format!("/api/v1/live/rooms/{}", mine["room"]["id"].as_str().unwrap());
    let (_, created) = replica.nostr(Some(&nostr), Method::PUT, "/api/v1/nests", Some(&json!({}))).await;
    let nest = format!("/api/v1/nests/{}", created["roomId"].as_str().unwrap());
    let mut stage = Stage { replica: &replica, nostr, room, nest, requests: 0 };

    let (_, document) = replica.get("una", "/openapi.json").await;
    let items = document["paths"].as_object().unwrap().values();
    let mut tested = 0;
    for operation in items.flat_map(|item| item.as_object().unwrap().values()) {
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        let mut fields = Vec::new();
        texts(&document, schema, "", &mut fields);
        let id = operation["operationId"].as_str().unwrap();
        for field in fields {
            tested += 1;
            for value in refused(class(&field)) {
                let (status, answer) = stage.send(id, &field, &value).await;
                assert_eq!(
                    (status.as_u16(), &answer["code"]),
                    (400, &json!("invalid_request")),
                    "{id} {field} {value:?}: {answer}"
                );
                let named = answer["field"].as_str().unwrap();
                assert!(named.starts_with(&field), "{id} {field} {value:?}: {answer}");
                assert_eq!(answer["errors"], json!([{"field": named, "message": answer["message"]}]), "{id}");
            }
            if class(&field) == Class::Text {
                let (status, answer) =
                    stage.send(id, &field, " \u{feff}Al\u{200b}ge\u{202e}b\u{7}ra\u{2067}\u{ad}").await;
                assert!(status.is_success(), "{id} {field}: {answer}");
                assert!(answer.to_string().contains("Algebra\""), "{id} {field}: {answer}");
            }
        }
    }
    assert!(tested > 25, "{tested} texts");
}
