//! `greenroom repair` without a running service: it needs none.

use secrecy::ExposeSecret;
use sqlx::{ConnectOptions, PgPool, postgres::PgConnectOptions};
use testkit::seed;

use crate::program::{CommandResult, greenroom};

async fn repair(livekit: &testkit::LiveKit, connect: &PgConnectOptions, arguments: &[&str]) -> CommandResult {
    let database = connect.to_url_lossy().to_string();
    let environment = [
        ("LIVEKIT_API_KEY", livekit.settings.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.settings.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.settings.ws_url),
        ("DATABASE_URL", &database),
    ];
    greenroom(&[&["repair"], arguments].concat(), &environment).await
}

#[testkit::test]
async fn repair_rooms_creates_missing_rooms(pool: PgPool) {
    let livekit = testkit::livekit().await;
    let connect = (*pool.connect_options()).clone();
    let pending = seed::pending_room(&pool, &seed::booking(&pool, seed::State::OpenNow).await).await;
    let missing = seed::active_room(&pool, &seed::booking(&pool, seed::State::OpenNow).await).await;

    let dry_run = repair(&livekit, &connect, &["rooms", "--dry-run"]).await;
    assert_eq!(dry_run.code, 0, "{}{}", dry_run.out, dry_run.err);
    assert!(dry_run.out.contains(&format!("Would create missing room: {}", pending.name)));
    assert_eq!(livekit.server.calls("CreateRoom"), 0);

    let result = repair(&livekit, &connect, &["rooms"]).await;
    assert_eq!(result.code, 0, "{}{}", result.out, result.err);
    let lines: Vec<&str> = result.out.lines().collect();
    assert_eq!(lines[0], "Found 1 rooms in 'pending' status to check");
    assert_eq!(lines[1], "Found 1 rooms marked active but missing on LiveKit");
    assert!(
        lines.contains(&format!("🔨 Creating missing room: {}", missing.name).as_str()),
        "{}",
        result.out
    );
    assert!(lines.iter().any(|line| line.starts_with(&format!("✅ Fixed room: {} (SID: RM_", pending.name))));
    assert_eq!(lines.last(), Some(&"✅ Repair complete: 2 rooms fixed, 0 errors"));

    let again = repair(&livekit, &connect, &["rooms"]).await;
    assert!(again.out.ends_with("✅ Repair complete: 0 rooms fixed, 0 errors\n"), "{}", again.out);
}

#[testkit::test]
async fn database_copy_deletes_orphans_only_after_adopt(pool: PgPool) {
    let livekit = testkit::livekit().await;
    let connect = (*pool.connect_options()).clone();
    let room = seed::pending_room(&pool, &seed::booking(&pool, seed::State::OpenNow).await).await;
    repair(&livekit, &connect, &["rooms"]).await;
    sqlx::query!("update sessions set status = 'cancelled'").execute(&pool).await.unwrap();
    sqlx::query!("update livekit_rooms set status = 'ended', ended_reason = 'cancelled'")
        .execute(&pool)
        .await
        .unwrap();
    sqlx::query!("update deployment set livekit_url = 'http://elsewhere'").execute(&pool).await.unwrap();

    let listed = repair(&livekit, &connect, &["orphans"]).await;
    assert!(listed.out.contains(&format!("Would delete: {}", room.name)), "{}{}", listed.out, listed.err);
    let refused = repair(&livekit, &connect, &["orphans", "--yes"]).await;
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert_eq!(repair(&livekit, &connect, &["adopt"]).await.code, 0);
    let deleted = repair(&livekit, &connect, &["orphans", "--yes"]).await;
    assert_eq!(deleted.code, 0, "{}", deleted.out);
    assert!(deleted.out.contains(&format!("Deleted room: {}", room.name)), "{}", deleted.out);
}
