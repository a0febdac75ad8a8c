//! Concurrent writers, locked rows, lost connections and killed replicas: rows become right, and a bad row delays no
//! other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{LiveStatus, SeatRole};
use sqlx::PgPool;
use testkit::{
    eventually,
    seed::live::{live_room, live_session},
};

use crate::harness::*;

#[testkit::test]
async fn change_is_not_lost_when_made_while_marks_are_drained(world: World) {
    let room = live_room(&world.pool, "ada").await;
    live_session(&world.pool, &room, LiveStatus::Live).await;
    let mut holder = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!("select pg_advisory_xact_lock($1)", VERSIONS).fetch_one(&mut *holder).await.unwrap();
    let pool = world.pool.clone();
    let draining = tokio::spawn(async move { sync::drain(&pool).await.unwrap() });
    world.until_waiting(1).await; // the marks are taken, and the row is not written yet
    world.execute("update live_rooms set description = 'meanwhile'").await;
    holder.commit().await.unwrap();
    assert_eq!(draining.await.unwrap().written, 1);
    assert_eq!(world.unaligned().await, 0, "the row is read after the lock, not before");
    assert_eq!(world.marks().await, 1, "the new mark is still pending");
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 0, "rows that were written");
}

#[testkit::test]
async fn replicas_share_the_marks(world: World) {
    live_rooms(&world.pool, 2_000).await;
    let mut holder = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!("select pg_advisory_xact_lock($1)", VERSIONS).fetch_one(&mut *holder).await.unwrap();
    let both_began = async {
        world.until_waiting(2).await; // both have marks
        holder.commit().await.unwrap();
    };
    let (one, other, ()) = tokio::join!(sync::drain(&world.pool), sync::drain(&world.pool), both_began);
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.written > 0 && other.written > 0, "{one:?} {other:?}");
    let rest = sync::drain(&world.pool).await.unwrap();
    assert_eq!(one.written + other.written + rest.written, 2_000, "each row is written once");
    assert_eq!((world.unaligned().await, world.marks().await), (0, 0));
}

#[testkit::test]
async fn row_that_cannot_be_written_blocks_no_other(world: World) {
    world.execute("alter table community_live_streams add constraint poison check (title <> 'Room 7')").await;
    live_rooms(&world.pool, 40).await;
    let drained = sync::drain(&world.pool).await.unwrap();
    assert_eq!((drained.written, drained.set_aside), (39, 1));
    let mark = sqlx::query!(
        r#"select attempts, last_error as "error!", next_attempt_at >= marked_at + interval '1 second' as "later!"
           from live_stream_dirty"#
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(mark.attempts == 1 && mark.later && mark.error.contains("poison"), "{mark:?}");

    let later = "update live_stream_dirty set next_attempt_at = app_now() + interval '1 hour'";
    world.execute(later).await; // so that it is not due on a slow machine either
    world.execute("update live_rooms set description = 'new'").await; // marks all rows, also the bad one
    let drained = sync::drain(&world.pool).await.unwrap();
    assert_eq!((drained.written, drained.set_aside), (39, 0), "the bad row is retried only when it is due");
    world
        .execute("update live_stream_dirty set next_attempt_at = app_now() where next_attempt_at is not null")
        .await;
    assert_eq!(sync::drain(&world.pool).await.unwrap().set_aside, 1, "rows that were set aside");
    let left = sqlx::query!("select attempts from live_stream_dirty").fetch_all(&world.pool).await.unwrap();
    assert_eq!(
        left.iter().map(|mark| mark.attempts).collect::<Vec<_>>(),
        [2],
        "one mark is left, and further marks do not pile up"
    );

    world.execute("alter table community_live_streams drop constraint poison").await;
    world.execute("update live_stream_dirty set next_attempt_at = app_now()").await;
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 1, "rows that were written");
    assert_eq!((world.unaligned().await, world.marks().await), (0, 0));
}

#[testkit::test]
async fn row_locked_by_a_legacy_client_delays_no_other(world: World) {
    live_rooms(&world.pool, 3).await;
    sync::drain(&world.pool).await.unwrap();
    let mut legacy = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!("update community_live_streams set total_messages = 1 where title = 'Room 2'")
        .execute(&mut *legacy)
        .await
        .unwrap();
    world.execute("update live_rooms set description = 'new'").await;
    let drained = sync::drain(&world.pool).await.unwrap();
    assert_eq!((drained.written, drained.set_aside), (2, 1));
    legacy.commit().await.unwrap();
    let _service = world.service().await;
    world.aligned().await;
}

#[testkit::test]
async fn many_rows_locked_by_a_legacy_client_are_skipped(world: World) {
    live_rooms(&world.pool, 700).await;
    sync::drain(&world.pool).await.unwrap();
    let mut legacy = chassis::db::begin(&world.pool).await.unwrap();
    sqlx::query!("update community_live_streams set total_messages = 1 where title not like 'Room 1%'")
        .execute(&mut *legacy)
        .await
        .unwrap();
    world.execute("update live_rooms set description = 'new'").await;
    let started = std::time::Instant::now();
    let drained = sync::drain(&world.pool).await.unwrap();
    assert_eq!((drained.marks, drained.written, drained.set_aside), (700, 111, 589));
    assert!(started.elapsed().as_secs() < 60, "each row was waited for: {:?}", started.elapsed());
    let left = sqlx::query!(
        r#"select count(*) as "n!", bool_and(attempts = 1 and next_attempt_at >= marked_at + interval '1 second') as "later!"
           from live_stream_dirty"#
    )
    .fetch_one(&world.pool)
    .await
    .unwrap();
    assert!(left.n == 589 && left.later, "{left:?}");
    world.execute("update live_stream_dirty set next_attempt_at = app_now()").await;
    assert_eq!(
        sync::drain(&world.pool).await.unwrap().set_aside,
        100,
        "a hundred rooms are retried at a time, without waiting"
    );
    legacy.commit().await.unwrap();
    for _ in 0..6 {
        world.execute("update live_stream_dirty set next_attempt_at = app_now()").await;
        sync::drain(&world.pool).await.unwrap();
    }
    assert_eq!((world.unaligned().await, world.marks().await), (0, 0));
}

#[testkit::test]
async fn marks_without_a_notify_are_found_by_polling(world: World) {
    let _service = world.service().await;
    let room = live_room(&world.pool, "ada").await;
    let session = live_session(&world.pool, &room, LiveStatus::Live).await;
    world.aligned().await;
    present(&world.pool, session, "in", SeatRole::Guest).await; // seats do not NOTIFY
    world.aligned().await;
    for title in 0..3 {
        sqlx::query!(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where query ilike 'listen %' and datname = current_database()"
        )
        .fetch_all(&world.pool)
        .await
        .unwrap();
        sqlx::query!("update live_rooms set description = $1", title.to_string())
            .execute(&world.pool)
            .await
            .unwrap();
        world.aligned().await;
    }
}

/// Starts and ends a live session in the transactions that room-lifecycle makes. Stops at the first error.
async fn cycle(pool: &PgPool, host: &str) -> sqlx::Result<()> {
    sqlx::query!(
        "with session as (
             insert into live_room_sessions (room_id, status, created_by, started_at)
             select id, 'live', host_user_id, app_now() from live_rooms where host_user_id = $1 returning room_id)
         select settle_live_room(room_id) from session",
        host
    )
    .fetch_all(pool)
    .await?;
    sqlx::query!(
        "update live_room_sessions set status = 'ended', ended_at = app_now()
         where created_by = $1 and status = 'live'",
        host
    )
    .execute(pool)
    .await?;
    sqlx::query!("select settle_live_room(id) from live_rooms where host_user_id = $1", host)
        .fetch_all(pool)
        .await?;
    Ok(())
}

#[testkit::test]
async fn listing_is_aligned_in_5_s_after_kills_during_1000_cycles(world: World) {
    for host in 0..20 {
        live_room(&world.pool, &host.to_string()).await;
    }
    let mut cycles = tokio::task::JoinSet::new();
    let finished = Arc::new(AtomicUsize::new(0));
    for host in 0..4 {
        let (pool, finished) = (world.pool.clone(), Arc::clone(&finished));
        cycles.spawn(async move {
            for n in 0..250 {
                cycle(&pool, &(host * 5 + n % 5).to_string()).await.unwrap();
                finished.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for wanted in [100, 400, 700] {
        let service = world.service().await;
        eventually("enough cycles are finished", async || {
            let finished = finished.load(Ordering::Relaxed);
            if finished >= wanted { Ok(()) } else { Err(finished) }
        })
        .await;
        service.runtime.lifecycle.kill(); // without finishing its work
    }
    cycles.join_all().await;
    let _service = world.service().await;
    let aligned = tokio::time::timeout(Duration::from_secs(5), world.aligned());
    aligned.await.unwrap();
    world.execute("insert into live_stream_dirty (live_room_id) select id from live_rooms").await;
    assert_eq!(sync::drain(&world.pool).await.unwrap().written, 0, "repeated marks wrote rows");
}
