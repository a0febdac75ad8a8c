//! Seats under concurrent joins and crashes: never more than the limit, and none half written.

use chassis::status::Reason;
use domain::{LiveRoomId, SeatRole};
use room_lifecycle::kinds::live_session::project_presence;
use sqlx::postgres::PgConnectOptions;

use crate::{
    crashes::{cut, cuts},
    harness::{
        Service, reason,
        seats::{VIEWER, join, person, refused},
    },
    live_seats::{join_and_connect, world},
};

#[testkit::test]
async fn last_three_seats_go_to_three_of_fifty_joins(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    let other = world.rooms().await;
    for early in ["ann", "ben"] {
        assert_eq!(join(&rooms, &open, early).await, VIEWER, "{early}");
    }
    let joins = (0..50).map(|n| {
        let replica = Service::clone(if n % 2 == 0 { &rooms } else { &other });
        let room = open.room.id;
        tokio::spawn(async move {
            replica.live.join_live_room(&person(&format!("viewer-{n}")), LiveRoomId(room)).await
        })
    });
    let mut got = 0;
    for join in joins.collect::<Vec<_>>() {
        match join.await.unwrap() {
            Ok((seat, _)) => {
                assert_eq!(seat, VIEWER);
                got += 1;
            }
            full => assert_eq!(reason(full), Reason::RoomFull),
        }
    }
    assert_eq!((got, world.seated(&open).await), (3, 5));
    let host = join(&rooms, &open, &open.room.host).await;
    assert_eq!(host.role, SeatRole::Host, "the host needs no seat of the limit");
    assert_eq!(join(&rooms, &open, "ann").await, VIEWER, "a taken seat is kept");
}

#[testkit::test]
async fn join_gets_no_seat_when_the_session_ends(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    // Holds the session's row lock: the join waits for the end and must then find the session closed.
    let mut end = world
        .hold(&format!(
            "update live_room_sessions set status = 'ended', ended_at = app_now() where id = '{}';
             select refresh_live_room('{}')",
            open.session, open.room.id
        ))
        .await;
    let late = tokio::spawn({
        let (rooms, room) = (Service::clone(&rooms), open.room.id);
        async move { rooms.live.join_live_room(&person("ann"), LiveRoomId(room)).await }
    });
    testkit::eventually("the join waits for the session", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut end).await.unwrap();
    assert_eq!(reason(late.await.unwrap()), Reason::RoomNotActive);
    assert_eq!(world.seated(&open).await, 0, "taken seats, without the host's");
}

/// Runs everything that writes seats at the same time, repeatedly: no deadlock, and never more than the limit.
#[testkit::test]
async fn concurrent_joins_and_leaves_never_exceed_the_limit(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 4).await;
    let other = world.rooms().await;
    let record = world.live_record(&open).await;
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (rooms, room) = (Service::clone(if n % 2 == 0 { &rooms } else { &other }), open.room.id);
        crowd.spawn(async move {
            let one = person(&format!("viewer-{n}"));
            for _ in 0..5 {
                match rooms.live.join_live_room(&one, LiveRoomId(room)).await {
                    Ok(_) => {
                        rooms.live.disconnect_from_live_room(&one, LiveRoomId(room)).await.unwrap();
                    }
                    full => assert_eq!(reason(full), Reason::RoomFull),
                }
                rooms.live.leave_live_room(&one, LiveRoomId(room)).await.unwrap();
            }
        });
    }
    for n in 0..4 {
        world.join(&record.room_name, &format!("viewer-{n}"));
    }
    for replica in [&rooms, &other] {
        let (rooms, id) = (Service::clone(replica), record.id);
        crowd.spawn(async move {
            for _ in 0..5 {
                rooms.reconcile(&[id]).await.unwrap();
                rooms.live.release_held().await.unwrap();
                rooms.live.settle_live_rooms().await.unwrap();
            }
        });
    }
    while let Some(done) = crowd.join_next().await {
        assert!(world.seated(&open).await <= 4);
        done.unwrap();
    }
}

#[testkit::test]
async fn joins_and_leaves_are_atomic_after_a_crash(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    let steady = world.rooms().await;
    for polls in cuts() {
        let died =
            cut(polls, rooms.live.join_live_room(&person("ann"), LiveRoomId(open.room.id))).await.is_none();
        assert!(world.seated(&open).await <= 1, "after {polls} polls");
        assert_eq!(join(&steady, &open, "ann").await, VIEWER, "after {polls} polls");
        assert_eq!(refused(&steady, &open, "ben").await, Reason::RoomFull, "after {polls} polls");
        let left =
            cut(polls, rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id))).await.is_some();
        steady.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
        assert_eq!(join(&steady, &open, "ben").await, VIEWER, "after {polls} polls");
        steady.live.leave_live_room(&person("ben"), LiveRoomId(open.room.id)).await.unwrap();
        if left && !died {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
    // The next check completes presence that was only half written.
    for polls in cuts() {
        join_and_connect(&world, &steady, &open, "ann").await;
        let record = world.live_record(&open).await;
        world.execute("update live_room_attendance set joined_at = null, held_until = app_now()").await;
        let whole = cut(polls, project_presence(&world.pool, record.id)).await.is_some();
        world.check_live(&steady, &open).await;
        assert_eq!(world.numbers(&open).await.0, 1, "viewers");
        if whole {
            break;
        }
    }
}
