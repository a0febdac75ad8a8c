//! Nests end to end with the real services, called with the headers of released clients.

use gateway::nostr::sign::Keys;
use livekit_api::access_token::{Claims, TokenVerifier};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::world::{Replica, World};

const OK: StatusCode = StatusCode::OK;

/// The claims of a LiveKit token.
fn claims(world: &World, answer: &Value) -> Claims {
    let livekit = &world.services.room.livekit;
    let secret = secrecy::ExposeSecret::expose_secret(&livekit.api_secret);
    let verifier = TokenVerifier::with_api_key(&livekit.api_key, secret);
    verifier.verify(answer["token"].as_str().expect("a token")).unwrap()
}

async fn info(replica: &Replica, nest: &str) -> Value {
    let (status, answer) = replica.nostr(None, Method::GET, &format!("{nest}/info"), None).await;
    assert_eq!(status, OK, "{answer}");
    answer
}

#[testkit::test]
async fn nests_client_creates_joins_raises_mutes_and_rejoins(mut world: World) {
    let (one, other) = (world.replica().await, world.replica().await);
    let (host, listener) = (Keys::generate(), Keys::generate());
    let [host_key, listener_key] = [&host, &listener].map(|keys| keys.public_key().to_hex());

    let wanted = json!({"relays": ["wss://relay.example.org"], "hls_stream": false});
    let (status, created) = one.nostr(Some(&host), Method::PUT, "/api/v1/nests", Some(&wanted)).await;
    assert_eq!(status, OK, "{created}");
    let ws_url = &world.services.token.livekit.ws_url;
    assert_eq!(created["endpoints"], json!([ws_url.replacen("://", "+livekit://", 1)]));
    assert_eq!(world.validate(created["token"].as_str().unwrap()).await.0, OK);
    let host_claims = claims(&world, &created);
    assert!(host_claims.video.can_publish == Some(true) && !host_claims.video.room_admin);
    assert_eq!(host_claims.sub, host_key);

    let nest = format!("/api/v1/nests/{}", created["roomId"].as_str().unwrap());
    let answer = info(&other, &nest).await;
    assert_eq!((&answer["host"], &answer["recording"]), (&json!(host_key), &json!(false)));
    assert_eq!((&answer["speakers"], &answer["admins"]), (&json!([host_key]), &json!([host_key])));
    assert!(answer["link"].as_str().unwrap().starts_with("naddr1"), "{answer}");

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
    assert_eq!(joined.video.room, host_claims.video.room, "all tokens are for the same room");

    let path = format!("{nest}/permissions");
    let set = async |who: &Keys, body: Value| one.nostr(Some(who), Method::POST, &path, Some(&body)).await.0;
    let raise = json!({"participant": listener_key, "can_publish": true});
    assert_eq!(
        set(&listener, raise.clone()).await,
        StatusCode::UNAUTHORIZED,
        "a listener cannot promote their own key"
    );
    assert_eq!(set(&host, raise.clone()).await, StatusCode::ACCEPTED);
    assert_eq!(
        set(&host, json!({"participant": listener_key, "can_publish": true, "x": 1})).await,
        StatusCode::NO_CONTENT
    );
    let answer = info(&one, &nest).await;
    assert!(answer["speakers"].as_array().unwrap().contains(&json!(listener_key)), "{answer}");
    assert_eq!(claims(&world, &join().await.1).video.can_publish, Some(true));

    // The listener has no microphone track, so there is nothing to mute.
    let mute = json!({"participant": listener_key, "mute_microphone": true});
    assert_eq!(set(&host, mute).await, StatusCode::NO_CONTENT);
    // A client that leaves the stage demotes itself. Leaving the nest needs no request: only LiveKit handles it.
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

#[testkit::test]
async fn same_signed_event_is_answered_by_two_replicas(mut world: World) {
    let (one, other) = (world.replica().await, world.replica().await);
    let host = Keys::generate();
    let header = one.sign(&host, &Method::PUT, "/api/v1/nests", None);
    let put = async |replica: &Replica| {
        let request = reqwest::Client::new().put(format!("{}/api/v1/nests", replica.url));
        let response = request.header("authorization", &header).send().await.unwrap();
        (response.status(), response.json::<Value>().await.unwrap())
    };
    let ((status, first), again) = (put(&one).await, put(&other).await);
    assert_eq!((status, again.0), (OK, OK), "{first} {}", again.1);
    assert_eq!(first["roomId"], again.1["roomId"]);
    for answer in [&first, &again.1] {
        assert_eq!(
            world.validate(answer["token"].as_str().unwrap()).await.0,
            OK,
            "each token opens the room"
        );
    }
    let nest = format!("/api/v1/nests/{}", first["roomId"].as_str().unwrap());
    assert_eq!(one.nostr(Some(&host), Method::DELETE, &nest, None).await.0, StatusCode::NO_CONTENT);
    let (status, refused) = put(&other).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("signature_used")), "{refused}");
}

#[testkit::test]
async fn nest_is_repaired_only_for_the_key_of_its_host(mut world: World) {
    let replica = world.replica().await;
    let (host, stranger) = (Keys::generate(), Keys::generate());
    let (_, created) = replica.nostr(Some(&host), Method::PUT, "/api/v1/nests", None).await;
    let path = format!("/api/v1/diagnostics/rooms/{}", created["roomId"].as_str().unwrap());
    for who in [None, Some(&stranger), Some(&host)] {
        let (status, answer) = replica.nostr(who, Method::GET, &path, None).await;
        assert_eq!((status, &answer["code"]), (OK, &json!("ok")), "{answer}");
    }
    let repair = format!("{path}/repair");
    let (status, answer) = replica.nostr(Some(&stranger), Method::POST, &repair, None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("not_host")), "{answer}");
    // A `sub` with the text of the host's key is not the host's key.
    let token = replica.token(&host.public_key().to_hex());
    let (status, answer) = replica.send(Some(token), Method::POST, &repair, None).await;
    assert_eq!((status, &answer["code"]), (StatusCode::FORBIDDEN, &json!("not_host")), "{answer}");
    let header = replica.sign(&host, &Method::POST, &repair, None);
    let as_host = async || {
        let request = reqwest::Client::new().post(format!("{}{repair}", replica.url));
        request.header("authorization", &header).send().await.unwrap()
    };
    let repaired = as_host().await;
    assert_eq!(repaired.status(), OK);
    let answer: serde_json::Value = repaired.json().await.unwrap();
    assert_eq!(answer["repaired"], json!(true), "{answer}");
    let again = as_host().await;
    assert_eq!(again.status(), OK, "the same request is not rate limited");
    assert_eq!(again.json::<serde_json::Value>().await.unwrap()["repaired"], json!(true));
    let (status, answer) = replica.nostr(Some(&stranger), Method::POST, &repair, None).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "refused without the right: {answer}");
}

#[testkit::test]
async fn nostr_key_does_not_authenticate_a_signed_in_user(mut world: World) {
    let replica = world.replica().await;
    let keys = Keys::generate();
    let hex = keys.public_key().to_hex();
    let session = replica.book(&hex, "gus", 0).await; // a host whose `sub` is the key
    let path = format!("/api/v1/diagnostics/rooms/{session}");
    let (_, answer) = replica.nostr(Some(&keys), Method::GET, &path, None).await;
    assert_eq!(answer["code"], json!("room_not_known"), "{answer}");
    let (_, answer) = replica.get(&hex, &path).await;
    assert_eq!(answer["kind"], json!("session"), "{answer}");
}
