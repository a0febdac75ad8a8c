//! Rooms that only the database has, rooms that only LiveKit has, and stray rows of the listing.

use testkit::seed;

use super::examine;
use crate::{program::greenroom, world::World};
use secrecy::ExposeSecret;
use sqlx::ConnectOptions;

const NO_API: &[(&str, &str)] = &[("API_URL", "")];

/// Records that the database belongs to the world's LiveKit, as the first service does.
async fn set_up(world: &World) {
    let livekit = &world.services.room.livekit;
    let (url, key) = (livekit.url.as_str(), livekit.api_key.as_str());
    sqlx::query!(
        "update deployment set livekit_url = $1, api_key_id = $2, database_identity = database_identity()",
        url,
        key
    )
    .execute(&world.pool)
    .await
    .unwrap();
}

#[testkit::test]
async fn rooms_that_livekit_lacks_fail_if_needed_soon(world: World) {
    let tomorrow = seed::booking(&world.pool, seed::State::OpensTomorrow).await;
    seed::active_room(&world.pool, &tomorrow).await;
    let found = examine(&world, &[], NO_API).await;
    found.assert("rooms_missing", "skipped", "no service");
    // Also after a first run: it does not set the deployment up, as a service would.
    examine(&world, &[], NO_API).await.assert("deployment", "passed", "no LiveKit server yet");

    set_up(&world).await;
    let found = examine(&world, &[], NO_API).await;
    found.assert("rooms_missing", "warning", "1 rooms are active");
    assert_eq!(found.code, 0, "{:#}", found.report);

    let now = seed::booking(&world.pool, seed::State::OpenNow).await;
    let room = seed::active_room(&world.pool, &now).await;
    let found = examine(&world, &[], NO_API).await;
    found.assert("rooms_missing", "failed", "2 rooms are active");
    assert!(found["rooms_missing"]["message"].as_str().unwrap().contains(&room.name));
    assert_eq!(found.with("failed"), ["rooms_missing"], "{:#}", found.report);

    sqlx::query!("update deployment set livekit_url = 'http://elsewhere'")
        .execute(&world.pool)
        .await
        .unwrap();
    let found = examine(&world, &[], NO_API).await;
    found.assert_follows("rooms_missing", "deployment");
    found.assert_follows("orphans", "deployment");
}

#[testkit::test]
async fn rooms_without_an_open_owner_are_a_warning(world: World) {
    let booking = seed::booking(&world.pool, seed::State::OpenNow).await;
    let room = seed::pending_room(&world.pool, &booking).await;
    let livekit = &world.services.room.livekit;
    let database = world.connect.to_url_lossy().to_string();
    let environment = [
        ("LIVEKIT_API_KEY", livekit.api_key.as_str()),
        ("LIVEKIT_API_SECRET", livekit.api_secret.expose_secret()),
        ("LIVEKIT_WS_URL", &livekit.ws_url),
        ("LIVEKIT_URL", &livekit.url),
        ("DATABASE_URL", &database),
    ];
    let created = greenroom(&["repair", "rooms"], &environment).await;
    assert_eq!(created.code, 0, "{}{}", created.out, created.err);
    let found = examine(&world, &[], NO_API).await;
    found.assert("orphans", "passed", "");
    found.assert("rooms_missing", "passed", "");

    world
        .execute(
            "update sessions set status = 'cancelled';
             update livekit_rooms set status = 'ended', ended_reason = 'cancelled'",
        )
        .await;
    let found = examine(&world, &[], NO_API).await;
    found.assert("orphans", "warning", &room.name);
    assert_eq!((found.code, found.with("warning")), (0, vec!["orphans"]), "{:#}", found.report);
    greenroom(&["repair", "orphans", "--yes"], &environment).await;
    examine(&world, &[], NO_API).await.assert("orphans", "passed", "");
}

#[testkit::test]
async fn stray_rows_of_the_listing_are_a_warning(world: World) {
    world
        .execute(
            "insert into community_live_streams (id, title, status)
             select gen_random_uuid(), 'no live room', 'live' from generate_series(1, 3)",
        )
        .await;
    let found = examine(&world, &[], NO_API).await;
    found.assert("strays", "warning", "3 rows");
    assert_eq!((found.code, found.with("warning")), (0, vec!["strays"]), "{:#}", found.report);
}
