//! Diagnoses by the real services: the cause that each user reads, and the facts that are hidden from strangers.

use gateway::Rate;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::ConnectOptions;
use testkit::{
    Database, FromDatabase,
    seed::{self, State},
};

use crate::{
    program::{CommandResult, greenroom},
    world::{Replica, World},
};

/// A world without a limit of diagnoses that its tests would reach.
struct Diagnosable(World);

impl FromDatabase for Diagnosable {
    async fn from_database(database: &Database) -> Self {
        let mut world = World::from_database(database).await;
        world.services.gateway.rates.diagnosis = Rate::new(1_000, 1_000);
        Self(world)
    }
}

async fn diagnose(replica: &Replica, user: Option<&str>, reference: &str) -> Value {
    let token = user.map(|user| replica.token(user));
    let path = format!("/api/v1/diagnostics/rooms/{reference}");
    let (status, answer) = replica.send(token, reqwest::Method::GET, &path, None).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// The diagnosis without the fields that differ between two requests: the request id and the durations.
fn comparable(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("request_id");
    for check in answer["checks"].as_array_mut().unwrap() {
        check.as_object_mut().unwrap().remove("took_ms");
    }
    answer
}

#[testkit::test]
async fn diagnosis_names_the_reason_of_each_refusal(Diagnosable(mut world): Diagnosable) {
    let replica = world.replica().await;
    for (state, scenario, code) in [
        (State::OpensTomorrow, "refused", "too_early"),
        (State::Cancelled, "refused", "session_cancelled"),
        (State::Completed, "refused", "meeting_ended"),
        (State::WindowOver, "refused", "meeting_ended"),
        (State::OpenNow, "ok", "ok"),
    ] {
        let booking = seed::booking(&world.pool, state).await;
        let answer = diagnose(&replica, Some(&booking.guest), &booking.id.to_string()).await;
        assert_eq!((&answer["scenario"], &answer["code"]), (&json!(scenario), &json!(code)), "{answer}");
        assert!(!answer["fix"].as_str().unwrap().is_empty(), "{state:?}: {answer}");
        let (_, refused) =
            replica.get(&booking.guest, &format!("/api/sessions/{}/livekit/access-token", booking.id)).await;
        if state == State::OpensTomorrow {
            assert_eq!(answer["opens_at"], refused["opens_at"], "{answer}");
        }
    }
    let session = replica.book("ana", "ben", 1).await;
    replica.post("ana", &format!("/api/sessions/{session}/livekit/kick"), json!({"userId": "ben"})).await;
    assert_eq!(diagnose(&replica, Some("ben"), &session).await["code"], "kicked");
    assert_eq!(diagnose(&replica, Some("ana"), &session).await["code"], "ok");
    replica.stop().await;
}

#[testkit::test]
async fn diagnosis_hides_rooms_from_strangers(Diagnosable(mut world): Diagnosable) {
    let replica = world.replica().await;
    let session = replica.book("ana", "ben", 1).await;
    let room = replica.room("ana", &session).await["roomName"].as_str().unwrap().to_owned();
    for who in [Some("eve"), None] {
        let unknown = comparable(diagnose(&replica, who, "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e99").await);
        assert_eq!(
            (&unknown["scenario"], &unknown["code"]),
            (&json!("B"), &json!("room_not_known")),
            "as {who:?}"
        );
        let link = format!("https%3A%2F%2Fapp.test%2Fmeeting%2F{session}");
        for reference in [session.as_str(), &room, &link, "garbage", "%F0%9F%92%A9", "naddr1xyz"] {
            assert_eq!(comparable(diagnose(&replica, who, reference).await), unknown, "{reference}");
        }
    }
    let answer = diagnose(&replica, Some("ana"), &session).await;
    assert!(answer["checks"].as_array().unwrap().iter().all(|check| check["detail"] == ""), "{answer}");
    replica.stop().await;
}

#[testkit::test]
async fn diagnosis_repairs_a_room_that_livekit_lost(Diagnosable(mut world): Diagnosable) {
    world.services.room.pass_period = std::time::Duration::from_mins(5);
    let replica = world.replica().await;
    let session = replica.book("ana", "ben", 1).await;
    // Repeated: a repair may take longer than a diagnosis waits, or the first pass may repair the room before it.
    let lose = async || {
        let room = replica.room("ana", &session).await;
        world.lose(room["roomName"].as_str().unwrap()).await;
    };
    testkit::eventually("the room is repaired", async || {
        lose().await;
        let answer = diagnose(&replica, Some("ben"), &session).await;
        if (&answer["scenario"], &answer["repaired"]) == (&json!("ok"), &json!(true)) {
            Ok(())
        } else {
            Err(answer)
        }
    })
    .await;
    lose().await;
    let path = format!("/api/v1/diagnostics/rooms/{session}/repair");
    let (status, answer) = replica.post("ana", &path, json!({})).await;
    assert_eq!(
        (status.as_u16(), &answer["scenario"], &answer["repaired"]),
        (200, &json!("ok"), &json!(true)),
        "{answer}"
    );
    let admitted = replica.admit("ben", &session).await;
    assert_eq!(world.validate(admitted["token"].as_str().unwrap()).await.0, 200);
    replica.stop().await;
}

async fn command(world: &World, arguments: &[&str], other: &[(&str, &str)]) -> CommandResult {
    let livekit = &world.services.room.livekit;
    let database = world.connect.to_url_lossy().to_string();
    let mut environment = vec![
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("DATABASE_URL", &database),
    ];
    environment.extend(other);
    greenroom(&[&["diagnose"], arguments].concat(), &environment).await
}

#[testkit::test]
async fn diagnose_command_works_while_no_service_runs(Diagnosable(world): Diagnosable) {
    let booking = seed::booking(&world.pool, State::OpenNow).await;
    let room = seed::active_room(&world.pool, &booking).await; // it was never created on LiveKit
    let id = booking.id.to_string();

    let result = command(&world, &[&room.name], &[]).await;
    assert_eq!(result.code, 1, "{}{}", result.out, result.err);
    assert!(
        result.out.contains("A: room_missing_on_livekit") && result.out.contains("What to do:"),
        "{}",
        result.out
    );
    assert!(
        result.out.contains(&room.name) && !result.out.contains('\u{1b}'),
        "details, no colours: {}",
        result.out
    );

    let result = command(&world, &[&id, "--json"], &[("API_URL", "http://127.0.0.1:1")]).await;
    let answer: Value = serde_json::from_str(&result.out).unwrap();
    assert_eq!(
        (result.code, &answer["scenario"], &answer["code"]),
        (1, &json!("C"), &json!("service_unavailable"))
    );
    assert_eq!((&answer["checks"][0]["check"], &answer["checks"][0]["ok"]), (&json!("api"), &json!(false)));

    sqlx::query!("update livekit_rooms set status = 'pending', room_sid = null")
        .execute(&world.pool)
        .await
        .unwrap();
    let result = command(&world, &[&id, "--json"], &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&result.out).unwrap()["code"], "room_pending");
    let result = command(&world, &["nothing"], &[]).await;
    assert!(result.code == 1 && result.out.contains("B: room_not_known"), "{}", result.out);
    let gone = [("DATABASE_URL", "postgres://127.0.0.1:1/x")];
    let result = command(&world, &[&id], &gone).await;
    assert!(
        result.code == 1 && result.out.contains("C: database_unavailable"),
        "{}{}",
        result.out,
        result.err
    );
    assert_eq!(greenroom(&["diagnose", &id], &[]).await.code, 2);
    assert_eq!(greenroom(&["diagnose"], &[]).await.code, 2);
}
