//! I4: each row is equal to the view, whichever writer changed what.

use domain::{LiveStatus, LobbyStatus, SeatRole};
use testkit::seed::live::{live_room, live_session, seat};
use uuid::Uuid;

use crate::harness::*;

/// Returns `status viewers started ended` of a row.
async fn row_state(world: &World, id: Uuid) -> Option<String> {
    sqlx::query_scalar!(
        r#"select concat_ws(' ', status, viewer_count, case when started_at is not null then 'started' end,
                            case when ended_at is not null then 'ended' end) as "state!"
           from community_live_streams where id = $1 and managed"#,
        id
    )
    .fetch_optional(&world.pool)
    .await
    .unwrap()
}

#[testkit::test]
async fn row_matches_each_state_of_a_live_room(world: World) {
    let none = live_room(&world.pool, "none").await;
    let mut rows = Vec::new();
    for (status, expected) in [
        (LiveStatus::Scheduled, "pending 0"),
        (LiveStatus::Lobby, "live 1 started"),
        (LiveStatus::Live, "live 1 started"),
        (LiveStatus::Ended, "ended 0 started ended"),
        (LiveStatus::Cancelled, "ended 0 ended"),
    ] {
        let room = live_room(&world.pool, status.as_str()).await;
        let session = live_session(&world.pool, &room, status).await;
        present(&world.pool, session, &room.host, SeatRole::Host).await;
        present(&world.pool, session, "in", SeatRole::Guest).await;
        seat(&world.pool, session, "waits", SeatRole::Guest, LobbyStatus::Waiting).await;
        rows.push((room.id, expected));
    }
    sync::drain(&world.pool).await.unwrap();
    assert_eq!(row_state(&world, none.id).await, None, "a live room without sessions has no row");
    for (id, expected) in rows {
        assert_eq!(row_state(&world, id).await.as_deref(), Some(expected), "{id}");
    }
    assert_eq!((world.unaligned().await, world.marks().await), (0, 0));
}

#[testkit::test]
async fn row_shows_the_open_session_or_the_latest(world: World) {
    let room = live_room(&world.pool, "ada").await;
    let open = live_session(&world.pool, &room, LiveStatus::Scheduled).await;
    let ended = live_session(&world.pool, &room, LiveStatus::Ended).await;
    sqlx::query!(
        "update live_room_sessions set started_at = app_now() + interval '9 days' where id = $1",
        ended
    )
    .execute(&world.pool)
    .await
    .unwrap();
    sync::drain(&world.pool).await.unwrap();
    assert_eq!(row_state(&world, room.id).await.unwrap(), "pending 0");
    sqlx::query!(
        "update live_room_sessions set status = 'cancelled', ended_at = app_now() where id = $1",
        open
    )
    .execute(&world.pool)
    .await
    .unwrap();
    sync::drain(&world.pool).await.unwrap();
    assert_eq!(
        row_state(&world, room.id).await.unwrap(),
        "ended 0 started ended",
        "the latest session is the one that started last"
    );
}

#[testkit::test]
async fn manual_changes_are_followed_or_repaired(world: World) {
    let room = live_room(&world.pool, "ada").await;
    let session = live_session(&world.pool, &room, LiveStatus::Live).await;
    present(&world.pool, session, "in", SeatRole::Guest).await;
    sync::drain(&world.pool).await.unwrap();
    for change in [
        "update community_live_streams set status = 'ended', viewer_count = 99",
        "update community_live_streams set version = 9000000",
        "update community_live_streams set managed = false",
        "update community_live_streams set scheduled_for = 'infinity', started_at = null",
        "delete from community_live_streams",
        "update live_rooms set description = 'typed'",
        "update live_room_sessions set session_title = 'Typed', topic_keys = '{a,b}'",
        "update live_room_attendance set disconnected_at = app_now()",
        "update live_room_attendance set disconnected_at = null",
        "delete from live_room_attendance",
        "update live_room_sessions set status = 'ended', ended_at = app_now()",
    ] {
        world.execute(change).await;
        assert!(world.unaligned().await == 1, "{change}");
        assert_eq!(sync::drain(&world.pool).await.unwrap().written, 1, "{change}");
        assert_eq!((world.unaligned().await, world.marks().await), (0, 0), "{change}");
    }
    assert_eq!(row_state(&world, room.id).await.unwrap(), "ended 0 started ended");
}

#[testkit::test]
async fn columns_of_legacy_clients_are_kept(world: World) {
    let room = live_room(&world.pool, "ada").await;
    // A legacy row that existed before Greenroom.
    sqlx::query!(
        "insert into community_live_streams (id, title, status) values ($1, 'Legacy', 'ended')",
        room.id
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world
        .execute(
            r#"update community_live_streams
               set enable_chat = false, enable_polls = true, enable_replay = true, total_messages = 7,
                   co_hosts = '{bob}', metadata = '{"theirs": 1}', stream_type = 'video'"#,
        )
        .await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    sync::drain(&world.pool).await.unwrap();
    let kept = sqlx::query_scalar!(
        r#"select concat_ws(' ', status, managed, enable_chat, enable_polls, enable_replay, total_messages,
                            co_hosts[1], metadata ->> 'theirs', stream_type) as "kept!"
           from community_live_streams"#
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert_eq!(kept, "live t f t t 7 bob 1 video");
    world.execute("update community_live_streams set total_messages = 8").await;
    assert_eq!(world.marks().await, 0, "a column of legacy clients inserts no mark");
}

#[testkit::test]
async fn rows_without_a_live_room_are_not_changed(world: World) {
    let room = live_room(&world.pool, "ada").await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    sync::drain(&world.pool).await.unwrap();
    world.execute("insert into community_live_streams (id, title, status) values (gen_random_uuid(), 'Alien', 'live')").await;
    world.execute("delete from live_rooms").await;
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 0, "rows that were written");
    let compared = sync::compare(&world.pool).await.unwrap();
    assert_eq!(
        (compared.rooms, compared.marked, compared.strays),
        (0, 0, 2),
        "strays are counted and not repaired"
    );
    let rows = sqlx::query_scalar!("select status from community_live_streams")
        .fetch_all(&world.pool)
        .await
        .unwrap();
    assert_eq!(rows, ["live", "live"]);
}

#[testkit::test]
async fn repeated_marks_write_no_rows(world: World) {
    live_rooms(&world.pool, 1_200).await;
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 1_200, "several batches");
    world
        .execute(
            "insert into live_stream_dirty (live_room_id) select id from live_rooms, generate_series(1, 2)",
        )
        .await;
    let replayed = sync::drain(&world.pool).await.unwrap();
    assert_eq!((replayed.marks, replayed.written), (2_400, 0));
}
