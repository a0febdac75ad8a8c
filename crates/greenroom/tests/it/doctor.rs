//! `greenroom doctor`, with and without running services.

use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::{
    program::{CommandResult, greenroom},
    world::World,
};

async fn doctor(world: &World, other: &[(&str, &str)], json: bool) -> CommandResult {
    let livekit = &world.services.room.livekit;
    let database = world.connect.to_url_lossy().to_string();
    let mut environment = vec![
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("DATABASE_URL", &database),
        ("API_URL", world.url()),
    ];
    environment.extend(other);
    let arguments: &[&str] = if json { &["doctor", "--json"] } else { &["doctor"] };
    greenroom(arguments, &environment).await
}

#[testkit::test]
async fn healthy_deployment_passes_every_check(mut world: World) {
    let replica = world.replica().await;
    let result = doctor(&world, &[], false).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    let lines: Vec<&str> = result.out.lines().collect();
    assert!(lines.contains(&"✅ Successfully connected to LiveKit server"));
    assert!(lines.contains(&"✅ Test room created successfully!"));
    assert!(lines.contains(&"✅ Test room deleted again"));
    assert!(lines.contains(&"✅ LiveKit's webhooks arrive"));
    let other = |line: &&&str| !line.starts_with('✅');
    let other: Vec<_> = lines.iter().filter(other).collect();
    assert_eq!(
        other,
        [&"➖ recording: not checked: RECORDING_OUTPUT is not set, so nothing can be recorded"]
    );
    assert_eq!(lines.last(), Some(&"✅ ALL TESTS PASSED"));
    replica.stop().await;
}

#[testkit::test]
async fn doctor_names_each_fault_with_its_fix(world: World) {
    let cases: [(&str, &str, &str); 3] = [
        ("livekit_key", "LIVEKIT_API_SECRET", "00000000000000000000000000000000"),
        ("livekit", "LIVEKIT_URL", "http://127.0.0.1:1"),
        ("database", "DATABASE_URL", "postgres://127.0.0.1:1/x"),
    ];
    for (check, setting, value) in cases {
        let result = doctor(&world, &[(setting, value)], true).await;
        assert_eq!(result.code, 1, "{check}: {}", result.out);
        let report: Value = serde_json::from_str(&result.out).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let failed: Vec<&Value> = checks.iter().filter(|finding| finding["ok"] == false).collect();
        assert_eq!(report["ok"], false, "{check}: {report:#}");
        assert!(failed.iter().any(|finding| finding["check"] == check), "{check}: {report:#}");
        assert!(failed.iter().all(|finding| finding["fix"].is_string()), "{check}: {report:#}");
        assert!(
            !result.out.contains("eyJ"),
            "LiveKit repeats the token, and doctor does not: {}",
            result.out
        );
    }
}

#[testkit::test]
async fn recording_without_redis_is_a_failure(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let output = ("RECORDING_OUTPUT", "file:///out");
    for with_redis in [false, true] {
        let world = if with_redis {
            World::recording(&connect, folder.path()).await
        } else {
            World::new(&connect).await
        };
        if world.stand_in().is_none() {
            return; // a real server may have Redis or not
        }
        let result = doctor(&world, &[output, ("API_URL", "")], true).await;
        let report: Value = serde_json::from_str(&result.out).unwrap();
        let checks = report["checks"].as_array().unwrap();
        let recording = checks.iter().find(|finding| finding["check"] == "recording").unwrap();
        assert_eq!(recording["ok"], with_redis, "{recording}");
        assert!(recording["message"].as_str().unwrap().contains("Redis"), "{recording}");
    }
}

#[testkit::test]
async fn lost_webhooks_and_clock_skew_are_failures(world: World) {
    // Without a replica, no server listens.
    testkit::advance_database_clock(&world.pool, time::Duration::hours(1)).await;
    let result = doctor(&world, &[("API_URL", "http://127.0.0.1:1")], true).await;
    let report: Value = serde_json::from_str(&result.out).unwrap();
    let failed = |check| {
        report["checks"].as_array().unwrap().iter().any(|it| it["check"] == check && it["ok"] == false)
    };
    assert!(failed("webhooks") && failed("database_clock"), "{report:#}");
    assert!(!failed("livekit_key") && !failed("test_room"));
}

#[testkit::test(empty)]
async fn database_without_the_schema_is_a_failure(world: World) {
    let result = doctor(&world, &[], false).await;
    assert_eq!(result.code, 1, "the exit code");
    assert!(
        result.out.contains("❌ migrations: ") && result.out.contains("greenroom migrate"),
        "{}",
        result.out
    );
}

#[tokio::test]
async fn doctor_exits_with_2_when_settings_are_missing() {
    let result = greenroom(&["doctor"], &[]).await;
    assert_eq!(result.code, 2, "the exit code");
    for setting in ["LIVEKIT_API_KEY", "LIVEKIT_API_SECRET", "LIVEKIT_WS_URL", "DATABASE_URL"] {
        assert!(result.err.contains(setting), "{setting} is not in {}", result.err);
    }
}

#[testkit::test]
async fn doctor_distinguishes_stuck_rooms_drift_and_lag(world: World) {
    // Without a running service, nothing is repaired.
    let room = testkit::seed::live::live_room(&world.pool, "una").await;
    testkit::seed::live::live_session(&world.pool, &room, domain::LiveStatus::Live).await;
    sync::drain(&world.pool).await.unwrap();
    let broken = [
        ("live_rooms", "update live_rooms set current_session_id = null; delete from live_stream_dirty"),
        (
            "listing",
            "set greenroom.sync = on; update community_live_streams set title = 'another'; reset greenroom.sync",
        ),
        (
            "listing_lag",
            "insert into live_stream_dirty (live_room_id, marked_at) values (gen_random_uuid(), app_now() - interval '1 min')",
        ),
    ];
    for (n, (_, statement)) in broken.iter().enumerate() {
        world.execute(statement).await;
        let result = doctor(&world, &[("API_URL", "")], true).await;
        let report: Value = serde_json::from_str(&result.out).unwrap();
        for (m, (check, _)) in broken.iter().enumerate() {
            let finding = report["checks"].as_array().unwrap().iter().find(|found| found["check"] == *check);
            assert_eq!(finding.unwrap()["ok"], m > n, "{check} after {n}: {}", result.out);
        }
    }
}
