//! "Why can't I get in?", asked of the real services: what each person is told, and what is kept from him.

use gateway::Rate;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sqlx::{
    ConnectOptions, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::seed::{self, State};

use crate::{
    program::{Said, greenroom},
    world::{Replica, World},
};

async fn world(connect: &PgConnectOptions) -> World {
    let mut world = World::new(connect).await;
    world.services.gateway.rates.diagnosis = Rate::new(1_000, 1_000);
    world
}

async fn diagnose(replica: &Replica, person: Option<&str>, reference: &str) -> Value {
    let token = person.map(|person| replica.token(person));
    let path = format!("/api/v1/diagnostics/rooms/{reference}");
    let (status, told) = replica.send(token, reqwest::Method::GET, &path, None).await;
    assert_eq!(status, 200, "{told}");
    told
}

/// The same for everybody but for the request and the time it took.
fn essence(mut told: Value) -> Value {
    told.as_object_mut().unwrap().remove("request_id");
    for check in told["checks"].as_array_mut().unwrap() {
        check.as_object_mut().unwrap().remove("took_ms");
    }
    told
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn each_person_is_told_why_he_is_not_let_in(pool: PgPool) {
    let connect = (*pool.connect_options()).clone();
    let mut world = world(&connect).await;
    let replica = world.replica().await;
    for (state, scenario, code) in [
        (State::OpensTomorrow, "refused", "too_early"),
        (State::Cancelled, "refused", "session_cancelled"),
        (State::Completed, "refused", "meeting_ended"),
        (State::WindowOver, "refused", "meeting_ended"),
        (State::OpenNow, "ok", "ok"),
    ] {
        let booking = seed::booking(&pool, state).await;
        let told = diagnose(&replica, Some(&booking.guest), &booking.id.to_string()).await;
        assert_eq!((&told["scenario"], &told["code"]), (&json!(scenario), &json!(code)), "{told}");
        assert!(!told["fix"].as_str().unwrap().is_empty());
        let (_, refused) =
            replica.get(&booking.guest, &format!("/api/sessions/{}/livekit/access-token", booking.id)).await;
        if state == State::OpensTomorrow {
            assert_eq!(told["opens_at"], refused["opens_at"], "{told}");
        }
    }
    let session = replica.book("ana", "ben", 1).await;
    replica.post("ana", &format!("/api/sessions/{session}/livekit/kick"), json!({"userId": "ben"})).await;
    assert_eq!(diagnose(&replica, Some("ben"), &session).await["code"], "kicked");
    assert_eq!(diagnose(&replica, Some("ana"), &session).await["code"], "ok");
    replica.stop().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_may_not_know_is_told_what_he_would_be_told_of_nothing(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = world(&connect).await;
    let replica = world.replica().await;
    let session = replica.book("ana", "ben", 1).await;
    let room = replica.room("ana", &session).await["roomName"].as_str().unwrap().to_owned();
    for who in [Some("eve"), None] {
        let nothing = essence(diagnose(&replica, who, "0190c9d2-5c1e-7a11-9c5e-2f6d3b1a7e99").await);
        assert_eq!((&nothing["scenario"], &nothing["code"]), (&json!("B"), &json!("room_not_known")));
        let link = format!("https%3A%2F%2Fapp.test%2Fmeeting%2F{session}");
        for reference in [session.as_str(), &room, &link, "garbage", "%F0%9F%92%A9", "naddr1xyz"] {
            assert_eq!(essence(diagnose(&replica, who, reference).await), nothing, "{reference}");
        }
    }
    let told = diagnose(&replica, Some("ana"), &session).await;
    assert!(told["checks"].as_array().unwrap().iter().all(|check| check["detail"] == ""), "{told}");
    replica.stop().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_livekit_lost_is_repaired_while_it_is_diagnosed(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let mut world = world(&connect).await;
    world.services.room.pass_period = std::time::Duration::from_mins(5);
    let replica = world.replica().await;
    let session = replica.book("ana", "ben", 1).await;
    // Again where it took longer than a diagnosis waits, or the pass at the start was there first.
    let lose = async || {
        let room = replica.room("ana", &session).await;
        world.lose(room["roomName"].as_str().unwrap()).await;
    };
    testkit::eventually("it is repaired", async || {
        lose().await;
        let told = diagnose(&replica, Some("ben"), &session).await;
        if (&told["scenario"], &told["repaired"]) == (&json!("ok"), &json!(true)) {
            Ok(())
        } else {
            Err(told)
        }
    })
    .await;
    lose().await;
    let path = format!("/api/v1/diagnostics/rooms/{session}/repair");
    let (status, told) = replica.post("ana", &path, json!({})).await;
    assert_eq!(
        (status.as_u16(), &told["scenario"], &told["repaired"]),
        (200, &json!("ok"), &json!(true)),
        "{told}"
    );
    let admitted = replica.admit("ben", &session).await;
    assert_eq!(world.validate(admitted["token"].as_str().unwrap()).await.0, 200);
    replica.stop().await;
}

async fn command(
    world: &World,
    connect: &PgConnectOptions,
    arguments: &[&str],
    other: &[(&str, &str)],
) -> Said {
    let livekit = &world.services.room.livekit;
    let database = connect.to_url_lossy().to_string();
    let mut environment = vec![
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("DATABASE_URL", &database),
    ];
    environment.extend(other);
    greenroom(&[&["diagnose"], arguments].concat(), &environment).await
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn the_command_tells_an_operator_while_no_service_runs(pool: PgPool) {
    let connect = (*pool.connect_options()).clone();
    let world = world(&connect).await;
    let booking = seed::booking(&pool, State::OpenNow).await;
    let room = seed::active_room(&pool, &booking).await; // LiveKit was never told
    let id = booking.id.to_string();

    let said = command(&world, &connect, &[&room.name], &[]).await;
    assert_eq!(said.code, 1, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("A: room_missing_on_livekit") && said.out.contains("What to do:"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains(&room.name) && !said.out.contains('\u{1b}'),
        "details, no colours: {}",
        said.out
    );

    let said = command(&world, &connect, &[&id, "--json"], &[("API_URL", "http://127.0.0.1:1")]).await;
    let told: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (said.code, &told["scenario"], &told["code"]),
        (1, &json!("C"), &json!("service_unavailable"))
    );
    assert_eq!((&told["checks"][0]["check"], &told["checks"][0]["ok"]), (&json!("api"), &json!(false)));

    sqlx::query!("update livekit_rooms set status = 'pending', room_sid = null")
        .execute(&pool)
        .await
        .unwrap();
    let said = command(&world, &connect, &[&id, "--json"], &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&said.out).unwrap()["code"], "room_pending");
    let said = command(&world, &connect, &["nothing"], &[]).await;
    assert!(said.code == 1 && said.out.contains("B: room_not_known"), "{}", said.out);
    let gone = [("DATABASE_URL", "postgres://127.0.0.1:1/x")];
    let said = command(&world, &connect, &[&id], &gone).await;
    assert!(said.code == 1 && said.out.contains("C: database_unavailable"), "{}{}", said.out, said.err);
    assert_eq!(greenroom(&["diagnose", &id], &[]).await.code, 2);
    assert_eq!(greenroom(&["diagnose"], &[]).await.code, 2);
}
