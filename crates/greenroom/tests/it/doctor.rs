//! `greenroom doctor`, with and without running services. Each check has a test with its fault.

mod addresses;
mod deliveries;
mod healthy;
mod outputs;
mod rooms;
mod services;
mod tls;

use std::ops::Index;

use secrecy::ExposeSecret;
use serde_json::Value;
use sqlx::{ConnectOptions, postgres::PgConnectOptions};

use crate::{
    program::{CommandResult, greenroom},
    world::World,
};

/// The JSON of a run.
#[derive(Debug)]
struct Findings {
    code: i32,
    report: Value,
}

impl Findings {
    fn of(result: &CommandResult) -> Self {
        let report = serde_json::from_str(&result.out)
            .unwrap_or_else(|error| panic!("{error}: {}{}", result.out, result.err));
        Self { code: result.code, report }
    }

    fn all(&self) -> &[Value] {
        self.report["checks"].as_array().unwrap()
    }

    /// The names of the checks with this outcome.
    fn with(&self, outcome: &str) -> Vec<&str> {
        let found = self.all().iter().filter(|finding| finding["outcome"] == outcome);
        found.map(|finding| finding["check"].as_str().unwrap()).collect()
    }

    /// Asserts the outcome of a check, and that its message has this text. A failure and a warning must say what to do.
    fn assert(&self, check: &str, outcome: &str, text: &str) {
        let finding = &self[check];
        assert_eq!(finding["outcome"], outcome, "{check}: {finding}");
        assert!(finding["message"].as_str().unwrap().contains(text), "{check} lacks {text:?}: {finding}");
        let has_fix = finding["fix"].as_str().is_some_and(|fix| fix.len() > 10);
        assert_eq!(has_fix, matches!(outcome, "failed" | "warning"), "{finding}");
    }

    /// Asserts that a check was folded into this one.
    fn assert_follows(&self, check: &str, cause: &str) {
        let finding = &self[check];
        assert_eq!((&finding["ok"], &finding["because"]), (&Value::Null, &cause.into()), "{finding}");
    }
}

impl Index<&str> for Findings {
    type Output = Value;

    fn index(&self, check: &str) -> &Value {
        self.all()
            .iter()
            .find(|finding| finding["check"] == check)
            .unwrap_or_else(|| panic!("no finding of {check}: {:#}", self.report))
    }
}

async fn doctor(world: &World, other: &[(&str, &str)], json: bool) -> CommandResult {
    doctor_with(world, if json { &["--json"] } else { &[] }, other).await
}

/// The findings with these flags and settings.
async fn examine(world: &World, flags: &[&str], other: &[(&str, &str)]) -> Findings {
    Findings::of(&doctor_with(world, &[&["--json"], flags].concat(), other).await)
}

async fn doctor_with(world: &World, flags: &[&str], other: &[(&str, &str)]) -> CommandResult {
    let livekit = &world.services.room.livekit;
    let database = world.connect.to_url_lossy().to_string();
    let mut environment = vec![
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("LIVEKIT_URL", &livekit.url),
        ("DATABASE_URL", &database),
        ("API_URL", world.url()),
    ];
    environment.extend(other);
    greenroom(&[&["doctor"], flags].concat(), &environment).await
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
    let other: Vec<_> = lines.iter().filter(|line| !line.starts_with('✅')).collect();
    let skipped = ["storage", "recording", "recorder", "identity_keys", "smtp", "webhook_receiver"];
    assert_eq!(other.len(), skipped.len(), "{other:?}");
    for (line, check) in other.iter().zip(skipped) {
        assert!(line.starts_with(&format!("➖ {check}: not checked: ")), "{check}: {line}");
    }
    assert_eq!(lines.last(), Some(&"✅ ALL TESTS PASSED"));
    replica.stop().await;
}

#[testkit::test]
async fn doctor_folds_follow_up_errors_into_their_cause(world: World) {
    let cases: [(&str, &str, &str, &[&str]); 3] = [
        (
            "livekit_key",
            "LIVEKIT_API_SECRET",
            "00000000000000000000000000000000",
            &["test_room", "ws_url", "rooms_missing", "orphans", "webhooks"],
        ),
        (
            "livekit",
            "LIVEKIT_URL",
            "http://127.0.0.1:1",
            &["livekit_key", "ws_url", "rooms_missing", "webhooks"],
        ),
        (
            "database",
            "DATABASE_URL",
            "postgres://127.0.0.1:1/x",
            &["migrations", "schema_newer", "strays", "webhooks"],
        ),
    ];
    for (check, setting, value, follow) in cases {
        let result = doctor(&world, &[(setting, value), ("API_URL", "")], true).await;
        let found = Findings::of(&result);
        assert_eq!((found.code, &found.report["ok"]), (1, &Value::Bool(false)), "{check}: {}", result.out);
        assert_eq!(found.with("failed"), [check], "{:#}", found.report);
        assert!(found[check]["fix"].is_string(), "{check}: {:#}", found.report);
        for follower in follow {
            found.assert_follows(follower, check);
        }
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
    let output = format!("file://{}", folder.path().display());
    for with_redis in [false, true] {
        let world = if with_redis {
            World::recording(&connect, folder.path()).await
        } else {
            World::new(&connect).await
        };
        if world.stand_in().is_none() {
            return; // a real server may have Redis or not
        }
        let found =
            examine(&world, &["--deep"], &[("RECORDING_OUTPUT", output.as_str()), ("API_URL", "")]).await;
        found.assert("recording", if with_redis { "passed" } else { "failed" }, "Redis");
        if !with_redis {
            found.assert_follows("recorder", "recording");
        }
    }
}

#[testkit::test]
async fn lost_webhooks_and_clock_skew_are_failures(mut world: World) {
    let Some(livekit) = world.stand_in() else { return };
    livekit.set_webhook_urls(Vec::new());
    let replica = world.replica().await;
    testkit::advance_database_clock(&world.pool, time::Duration::hours(1)).await;
    let found = examine(&world, &[], &[]).await;
    found.assert("webhooks", "failed", "LiveKit sent no webhook");
    found.assert("database_clock", "failed", "off");
    assert_eq!(found.with("failed"), ["database_clock", "webhooks"]);
    replica.stop().await;
}

#[testkit::test]
async fn newer_schema_is_a_warning(world: World) {
    world
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             values (9999, 'later', true, '\\x00', 0)",
        )
        .await;
    let found = examine(&world, &[], &[("API_URL", "")]).await;
    found.assert("schema_newer", "warning", "up to 9999");
    found.assert("migrations", "passed", "");
    assert_eq!((found.code, &found.report["warnings"]), (0, &1.into()), "{:#}", found.report);
    let text = doctor(&world, &[("API_URL", "")], false).await;
    assert!(text.out.ends_with("⚠️  no test failed, 1 warning\n"), "{}", text.out);
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
