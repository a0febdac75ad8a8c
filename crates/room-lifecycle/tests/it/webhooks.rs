//! Webhooks: accepted only with a valid signature, stored once, and only setting a mark (correctness.md §8).

use base64::{Engine, prelude::BASE64_STANDARD};
use chassis::{clock::Clock, status::Reason};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use room_lifecycle::{config::WebhookKey, rooms::store::Record};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use time::Duration;

use crate::harness::{World, reason};

/// Signs the token that LiveKit sends with a body. `amend` changes its claims.
pub fn sign(key: &str, secret: &str, body: &[u8], amend: impl FnOnce(&mut Value)) -> String {
    let now = Clock::default().now().unix_timestamp();
    let mut claims = json!({
        "iss": key, "nbf": now, "exp": now + 300, "sha256": BASE64_STANDARD.encode(Sha256::digest(body)),
    });
    amend(&mut claims);
    let secret = EncodingKey::from_secret(secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &secret).unwrap()
}

impl World {
    pub fn signed(&self, body: &[u8]) -> String {
        self.signed_but(body, |_| {})
    }

    fn signed_but(&self, body: &[u8], amend: impl FnOnce(&mut Value)) -> String {
        let settings = &self.livekit().settings;
        sign(&settings.api_key, settings.api_secret.expose_secret(), body, amend)
    }

    /// How many webhooks are stored.
    async fn stored(&self) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from livekit_events where event_id not like 'GR\_%'"#)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }
}

/// An event as LiveKit writes it.
pub fn event(id: &str, kind: &str, room: &Record, identity: &str, sid: &str) -> Vec<u8> {
    let event = json!({
        "id": id, "event": kind, "createdAt": "1700000001",
        "room": {"name": room.room_name, "sid": room.room_sid, "turnPassword": "secret of LiveKit"},
        "participant": {"identity": identity, "sid": sid},
    });
    event.to_string().into_bytes()
}

#[testkit::test]
async fn webhooks_of_probe_rooms_are_not_stored(world: World) {
    let rooms = world.rooms().await;
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    let other = "00000000-0000-4000-8000-000000000000";
    for (n, name) in [format!("greenroom-probe-{deployment}-1"), format!("greenroom-probe-{other}-1")]
        .into_iter()
        .enumerate()
    {
        let event = json!({"id": format!("EV_{n}"), "event": "room_started", "createdAt": "1700000001",
                           "room": {"name": name, "sid": "RM_1"}});
        let body = event.to_string().into_bytes();
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    }
    assert_eq!(world.stored().await, 1, "only that of another deployment");
}

#[testkit::test]
async fn valid_webhook_is_stored_and_marks_its_room_once(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    let mut listener = sqlx::postgres::PgListener::connect_with(&world.pool).await.unwrap();
    listener.listen("room_marks").await.unwrap();
    let body = event("EV_1", "participant_joined", &record, "ann", "PA_1");
    for _ in 0..3 {
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    }
    assert_eq!((world.stored().await, world.marks(record.id.0).await), (1, 1));
    listener.recv().await.unwrap();
    let stored = sqlx::query!("select * from livekit_events where event_id = 'EV_1'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!((stored.room_id, stored.room_sid), (Some(record.id.0), record.room_sid));
    assert_eq!(stored.event_type, "participant_joined");
    assert_eq!((stored.identity.as_deref(), stored.participant_sid.as_deref()), (Some("ann"), Some("PA_1")));
    assert!(!stored.payload.to_string().contains("secret of LiveKit"));
}

/// The token's claims without a signature, under the algorithm "none".
fn without_algorithm(token: &str) -> String {
    let claims = token.split('.').nth(1).unwrap();
    let none = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    format!("{none}.{claims}.")
}

#[testkit::test]
async fn webhook_is_refused_when_its_signature_is_wrong(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    let body = event("EV_1", "room_started", &record, "", "");
    let key = &world.livekit().settings.api_key;
    let now = Clock::default().now().unix_timestamp();
    let set = |name: &'static str, value: Value| world.signed_but(&body, move |claims| claims[name] = value);
    let without = |name: &'static str| {
        world.signed_but(&body, move |claims| {
            claims.as_object_mut().unwrap().remove(name);
        })
    };
    let of_life = |seconds: i64| {
        world
            .signed_but(&body, move |claims| claims["exp"] = json!(claims["nbf"].as_i64().unwrap() + seconds))
    };
    for (what, token) in [
        ("nothing", String::new()),
        ("no token", "Bearer x.y.z".to_owned()),
        ("no algorithm", without_algorithm(&world.signed(&body))),
        ("another secret", sign(key, &testkit::secret(), &body, |_| {})),
        ("an old key", set("iss", json!("old-key"))),
        ("no issuer", without("iss")),
        ("another body", world.signed(b"{}")),
        ("no hash", without("sha256")),
        ("an invalid hash", set("sha256", json!("%%%"))),
        ("an empty hash", set("sha256", json!(""))),
        ("no end", without("exp")),
        ("expired", set("exp", json!(now - 61))),
        ("not yet", set("nbf", json!(now + 70))),
        ("too long a life", of_life(601)),
        (
            "too long a life from no start",
            world.signed_but(&body, |claims| {
                claims.as_object_mut().unwrap().remove("nbf");
                claims["exp"] = json!(i64::MAX);
            }),
        ),
        ("an access token", set("video", json!({"roomJoin": true}))),
    ] {
        assert_eq!(reason(rooms.webhooks.receive(&token, &body).await), Reason::Unauthenticated, "{what}");
    }
    assert_eq!((world.stored().await, world.marks(record.id.0).await), (0, 0));
    let clocks_differ = [set("exp", json!(now - 50)), set("nbf", json!(now + 50))];
    for token in clocks_differ.into_iter().chain([of_life(600), format!("Bearer {}", world.signed(&body))]) {
        rooms.webhooks.receive(&token, &body).await.unwrap();
    }
    loop {
        let now = Clock::default().now().unix_timestamp();
        let early = rooms.webhooks.receive(&set("nbf", json!(now + 61)), &body).await;
        if Clock::default().now().unix_timestamp() == now {
            return assert_eq!(reason(early), Reason::Unauthenticated, "one second too early");
        }
    }
}

#[testkit::test]
async fn two_keys_are_accepted_while_one_is_replaced(world: World) {
    let (new, old) = (testkit::secret(), testkit::secret());
    let keys = [("new", &new), ("old", &old), ("new", &old)];
    let rooms = world
        .rooms_with(|config| {
            config.webhook_keys = keys
                .map(|(key, secret)| WebhookKey { key: key.into(), secret: secret.clone().into() })
                .into();
        })
        .await;
    for (n, (key, secret)) in keys.into_iter().enumerate() {
        let body = format!(r#"{{"id": "EV_{n}", "event": "room_started"}}"#).into_bytes();
        rooms.webhooks.receive(&sign(key, secret, &body, |_| {}), &body).await.unwrap();
        assert_eq!(
            reason(rooms.webhooks.receive(&world.signed(&body), &body).await),
            Reason::Unauthenticated,
            "event {n}, signed by the key {key}"
        );
    }
    assert_eq!(world.stored().await, 3, "stored events");
}

#[testkit::test]
async fn body_of_a_newer_server_is_accepted(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    let body = json!({
        "id": "EV_new", "event": "participant_levitated", "roomEndReason": "REASON_OF_2030",
        "room": {"name": record.room_name, "sid": record.room_sid, "shape": ["round", 7, null]},
        "participant": {"identity": "ann", "sid": "PA_1", "state": "FLOATING", "kind": "HOLOGRAM"},
    })
    .to_string()
    .into_bytes();
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    assert_eq!((world.stored().await, world.marks(record.id.0).await), (1, 1));
}

#[testkit::test]
async fn nul_characters_are_removed_before_storing(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    let body = json!({
        "id": "EV_nul", "event": "participant_joined", "room": {"name": record.room_name},
        "participant": {"identity": "an\0n", "sid": "PA_1", "name": "\0", "attributes": {"a\0": ["\0b"]}},
    })
    .to_string()
    .into_bytes();
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    let payload = sqlx::query_scalar!("select payload from livekit_events where event_id = 'EV_nul'")
        .fetch_one(&world.pool)
        .await
        .unwrap();
    assert_eq!(payload["participant"]["attributes"], json!({"a": ["b"]}));
    assert_eq!(payload["participant"]["identity"], "ann");
}

#[testkit::test]
async fn odd_bodies_are_stored_or_refused(world: World) {
    let rooms = world.rooms().await;
    for body in [&b"not json"[..], b"", b"{\"id\":", b"\xff\xfe"] {
        assert_eq!(
            reason(rooms.webhooks.receive(&world.signed(body), body).await),
            Reason::InvalidRequest,
            "{body:?}"
        );
    }
    let large = vec![b' '; 256 * 1024 + 1];
    assert_eq!(reason(rooms.webhooks.receive(&world.signed(&large), &large).await), Reason::TooLarge);
    assert_eq!(world.stored().await, 0, "stored events");
    for (n, body) in [&b"[]"[..], b"7", b"null", b"{}", br#"{"id": 7, "room": "x"}"#].into_iter().enumerate()
    {
        // Without an id, the body itself identifies the event.
        for _ in 0..2 {
            rooms.webhooks.receive(&world.signed(body), body).await.unwrap();
        }
        assert_eq!(world.stored().await, i64::try_from(n).unwrap() + 1, "stored events");
    }
    let mut limit = br#"{"id": "EV_limit"}"#.to_vec();
    limit.resize(256 * 1024, b' ');
    rooms.webhooks.receive(&world.signed(&limit), &limit).await.unwrap();
}

#[testkit::test]
async fn webhook_of_a_foreign_room_is_stored_without_a_mark(world: World) {
    let rooms = world.rooms().await;
    let body = br#"{"id": "EV_1", "event": "room_started", "room": {"name": "foreign-room"}}"#;
    rooms.webhooks.receive(&world.signed(body), body).await.unwrap();
    let marks = sqlx::query_scalar!(r#"select count(*) as "n!" from room_marks"#);
    assert_eq!((world.stored().await, marks.fetch_one(&world.pool).await.unwrap()), (1, 0));
}

#[testkit::test]
async fn webhook_is_unavailable_when_the_database_is_down(world: World) {
    let (rooms, wire) = world.rooms_on_a_wire().await;
    let body = br#"{"id": "EV_1", "event": "room_started"}"#;
    drop(wire);
    for _ in 0..2 {
        let outcome = rooms.webhooks.receive(&world.signed(body), body).await;
        assert_eq!(reason(outcome), Reason::DatabaseUnavailable);
    }
}

#[testkit::test]
async fn webhooks_are_refused_when_the_clock_is_an_hour_off(world: World) {
    for hours in [-1, 1] {
        let rooms = world.rooms_with(|config| config.clock = Clock::off_by(Duration::hours(hours))).await;
        let (booking, record) = world.open_room(&rooms).await;
        world.join(&record.room_name, &booking.guest);
        let body = event("EV_1", "participant_joined", &record, &booking.guest, "PA_1");
        assert_eq!(
            reason(rooms.webhooks.receive(&world.signed(&body), &body).await),
            Reason::Unauthenticated,
            "{hours} h off"
        );
        rooms.pass().await.unwrap();
        assert_eq!(world.status(&booking, &booking.guest).await, "joined", "{hours} h off");
    }
}

#[testkit::test]
async fn numbers_of_a_webhook_are_stored_when_out_of_range(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    let numbers = [json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(1e300), json!(-1.5), json!(null)];
    let texts =
        [i64::MIN.to_string(), i64::MAX.to_string(), u64::MAX.to_string(), "x".to_owned(), String::new()];
    let mut stored = 0;
    for number in numbers.into_iter().chain(texts.into_iter().map(Value::from)) {
        let body = json!({
            "id": format!("EV_{stored}"), "event": "participant_left", "createdAt": number, "numDropped": number,
            "room": {"name": record.room_name, "sid": record.room_sid, "creationTime": number,
                     "creationTimeMs": number, "emptyTimeout": number, "numParticipants": number},
            "participant": {"identity": "ann", "sid": "PA_1", "joinedAt": number, "joinedAtMs": number},
            "egressInfo": {"startedAt": number, "endedAt": number, "fileResults": [{"duration": number, "size": number}]},
        });
        let body = body.to_string().into_bytes();
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
        stored += 1;
        assert_eq!(world.stored().await, stored, "{number}");
    }
    rooms.drain().await.unwrap();
}

#[testkit::test]
async fn times_of_a_signature_are_refused_when_out_of_range(world: World) {
    let rooms = world.rooms().await;
    for claim in ["exp", "nbf", "iat"] {
        for number in [i64::MIN, i64::MAX] {
            let body = b"{}";
            let signature = world.signed_but(body, |claims| {
                claims.as_object_mut().unwrap().remove("nbf");
                claims[claim] = json!(number);
            });
            let refused = rooms.webhooks.receive(&signature, body).await;
            assert_eq!(reason(refused), Reason::Unauthenticated, "{claim} {number}");
        }
    }
}
