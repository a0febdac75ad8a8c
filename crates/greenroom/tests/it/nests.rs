//! Nests end to end, as the clients in the field call them: header by header, by the real services.

use gateway::nostr::sign::Keys;
use livekit_api::access_token::{Claims, TokenVerifier};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::world::{Replica, World};

const OK: StatusCode = StatusCode::OK;

/// What a token of LiveKit allows.
fn claims(world: &World, told: &Value) -> Claims {
    let livekit = &world.services.room.livekit;
    let secret = secrecy::ExposeSecret::expose_secret(&livekit.api_secret);
    let verifier = TokenVerifier::with_api_key(&livekit.api_key, secret);
    verifier.verify(told["token"].as_str().expect("a token")).unwrap()
}

async fn info(replica: &Replica, nest: &str) -> Value {
    let (status, told) = replica.nostr(None, Method::GET, &format!("{nest}/info"), None).await;
    assert_eq!(status, OK, "{told}");
    told
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_client_in_the_field_creates_joins_raises_mutes_leaves_and_rejoins(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = World::new(&connect).await;
    let (one, other) = (world.replica().await, world.replica().await);
    let (host, listener) = (Keys::generate(), Keys::generate());
    let [host_key, listener_key] = [&host, &listener].map(|keys| keys.public_key().to_hex());

    let wanted = json!({"relays": ["wss://relay.example.org"], "hls_stream": false});
    let (status, made) = one.nostr(Some(&host), Method::PUT, "/api/v1/nests", Some(&wanted)).await;
    assert_eq!(status, OK, "{made}");
    let ws_url = &world.services.token.livekit.ws_url;
    assert_eq!(made["endpoints"], json!([ws_url.replacen("://", "+livekit://", 1)]));
    assert_eq!(world.validate(made["token"].as_str().unwrap()).await.0, OK);
    let host_claims = claims(&world, &made);
    assert!(host_claims.video.can_publish == Some(true) && !host_claims.video.room_admin);
    assert_eq!(host_claims.sub, host_key);

    let nest = format!("/api/v1/nests/{}", made["roomId"].as_str().unwrap());
    let told = info(&other, &nest).await;
    assert_eq!((&told["host"], &told["recording"]), (&json!(host_key), &json!(false)));
    assert_eq!((&told["speakers"], &told["admins"]), (&json!([host_key]), &json!([host_key])));
    assert!(told["link"].as_str().unwrap().starts_with("naddr1"), "{told}");

    let (status, guest) = other.nostr(None, Method::GET, &format!("{nest}/guest"), None).await;
    assert_eq!(status, OK, "{guest}");
    assert_eq!(world.validate(guest["token"].as_str().unwrap()).await.0, OK);
    let guest = claims(&world, &guest);
    assert!(
        guest.sub.starts_with("guest-")
            && [guest.video.can_publish, guest.video.can_publish_data] == [Some(false); 2]
    );

    let join = || other.nostr(Some(&listener), Method::GET, &nest, None);
    let (status, joined) = join().await;
    assert_eq!(status, OK, "{joined}");
    let joined = claims(&world, &joined);
    assert_eq!((joined.sub.as_str(), joined.video.can_publish), (listener_key.as_str(), Some(false)));
    assert_eq!(joined.video.room, host_claims.video.room, "everybody is sent to the same room");

    let path = format!("{nest}/permissions");
    let set = async |who: &Keys, body: Value| one.nostr(Some(who), Method::POST, &path, Some(&body)).await.0;
    let raise = json!({"participant": listener_key, "can_publish": true});
    assert_eq!(set(&listener, raise.clone()).await, StatusCode::UNAUTHORIZED, "nobody raises himself");
    assert_eq!(set(&host, raise.clone()).await, StatusCode::ACCEPTED);
    assert_eq!(
        set(&host, json!({"participant": listener_key, "can_publish": true, "x": 1})).await,
        StatusCode::NO_CONTENT
    );
    let told = info(&one, &nest).await;
    assert!(told["speakers"].as_array().unwrap().contains(&json!(listener_key)), "{told}");
    assert_eq!(claims(&world, &join().await.1).video.can_publish, Some(true));

    // He has no microphone track: there is nothing to mute.
    let mute = json!({"participant": listener_key, "mute_microphone": true});
    assert_eq!(set(&host, mute).await, StatusCode::NO_CONTENT);
    // A client that leaves the stage lowers itself; leaving the nest is only LiveKit's business.
    let lower = json!({"participant": listener_key, "can_publish": false});
    assert_eq!(set(&listener, lower).await, StatusCode::ACCEPTED);
    let (status, again) = join().await;
    assert_eq!(status, OK, "{again}");
    let again = claims(&world, &again);
    assert_eq!((again.sub.as_str(), again.video.can_publish), (listener_key.as_str(), Some(false)));

    assert_eq!(one.nostr(Some(&listener), Method::DELETE, &nest, None).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(one.nostr(Some(&host), Method::DELETE, &nest, None).await.0, StatusCode::NO_CONTENT);
    let (status, gone) = join().await;
    assert_eq!((status, &gone["error"]), (StatusCode::NOT_FOUND, &json!("Room not found")));
    assert_eq!((one.stop().await, other.stop().await), (0, 0), "no background task panicked");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_signature_changes_something_once_whichever_replica_sees_it(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = World::new(&connect).await;
    let (one, other) = (world.replica().await, world.replica().await);
    let host = Keys::generate();
    let header = one.sign(&host, &Method::PUT, "/api/v1/nests", None);
    let put = async |replica: &Replica| {
        let request = reqwest::Client::new().put(format!("{}/api/v1/nests", replica.url));
        request.header("authorization", &header).send().await.unwrap().status()
    };
    assert_eq!(put(&one).await, OK);
    assert_eq!(put(&other).await, StatusCode::UNAUTHORIZED);
    assert_eq!(put(&one).await, StatusCode::UNAUTHORIZED);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_nest_is_diagnosed_for_anybody_and_repaired_for_its_host_by_his_key_alone(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = World::new(&connect).await;
    let replica = world.replica().await;
    let (host, stranger) = (Keys::generate(), Keys::generate());
    let (_, made) = replica.nostr(Some(&host), Method::PUT, "/api/v1/nests", None).await;
    let path = format!("/api/v1/diagnostics/rooms/{}", made["roomId"].as_str().unwrap());
    for who in [None, Some(&stranger), Some(&host)] {
        let (status, told) = replica.nostr(who, Method::GET, &path, None).await;
        assert_eq!((status, &told["code"]), (OK, &json!("ok")), "{told}");
    }
    let repair = format!("{path}/repair");
    let (status, told) = replica.nostr(Some(&stranger), Method::POST, &repair, None).await;
    assert_eq!((status, &told["code"]), (StatusCode::FORBIDDEN, &json!("not_host")), "{told}");
    // A `sub` that looks like the host's key is not his key.
    let token = replica.token(&host.public_key().to_hex());
    let (status, told) = replica.send(Some(token), Method::POST, &repair, None).await;
    assert_eq!((status, &told["code"]), (StatusCode::FORBIDDEN, &json!("not_host")), "{told}");
    let header = replica.sign(&host, &Method::POST, &repair, None);
    let as_host = async || {
        let request = reqwest::Client::new().post(format!("{}{repair}", replica.url));
        request.header("authorization", &header).send().await.unwrap()
    };
    let repaired = as_host().await;
    assert_eq!(repaired.status(), OK);
    let told: serde_json::Value = repaired.json().await.unwrap();
    assert_eq!(told["repaired"], json!(true), "{told}");
    assert_eq!(as_host().await.status(), StatusCode::UNAUTHORIZED, "a replay is not told to wait");
    let (status, told) = replica.nostr(Some(&stranger), Method::POST, &repair, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "refused without the right: {told}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_nostr_key_is_nobody_where_people_sign_in(_: PgPoolOptions, connect: PgConnectOptions) {
    let mut world = World::new(&connect).await;
    let replica = world.replica().await;
    let keys = Keys::generate();
    let hex = keys.public_key().to_hex();
    let session = replica.book(&hex, "gus", 0).await; // a host whose `sub` is the key
    let path = format!("/api/v1/diagnostics/rooms/{session}");
    let (_, told) = replica.nostr(Some(&keys), Method::GET, &path, None).await;
    assert_eq!(told["code"], json!("room_not_known"), "{told}");
    let (_, told) = replica.get(&hex, &path).await;
    assert_eq!(told["kind"], json!("session"), "{told}");
}
