//! Seats: never more than there are, never lost to a short disconnect, and always what LiveKit shows (I6).

use chassis::status::Reason;
use domain::{LiveRoomId, LiveSessionId, LobbyStatus, Owner, SeatRole};
use livekit_dev::Fault;
use room_lifecycle::{Rooms, store::live::seats::Seat};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::seed::live;
use time::Duration;

use crate::{
    harness::{
        Replica, World,
        seats::{Open, VIEWER, Written, join, person, refused},
    },
    webhooks::event,
};

/// Somebody who has a seat and is seen on LiveKit.
pub async fn seen(world: &World, rooms: &Rooms, open: &Open, who: &str) -> String {
    join(rooms, open, who).await;
    let sid = world.enter(open, who).await;
    world.see(rooms, open).await;
    assert!(world.written(open, who).await.joined);
    sid
}

pub async fn world(connect: PgConnectOptions, places: i32) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, places).await;
    (world, rooms, open)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_join_that_finds_its_seat_writes_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    seen(&world, &rooms, &open, "ann").await;
    let _locked = world
        .hold(&format!("select from live_room_sessions where id = '{}' for no key update", open.session))
        .await;
    for _ in 0..3 {
        assert_eq!(join(&rooms, &open, "ann").await, VIEWER);
    }
    world.see(&rooms, &open).await; // nor does a look that finds nothing new
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_seat_survives_a_disconnect_of_two_minutes(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    let old = seen(&world, &rooms, &open, "ann").await;
    sqlx::query!("update live_room_attendance set role = 'speaker' where user_id = 'ann'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.exit(&open, "ann").await;
    world.see_gone(&rooms, &open).await;
    assert!(world.written(&open, "ann").await.disconnected);
    world.pass_time(Duration::seconds(115));
    rooms.release_held().await.unwrap();
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
    let speaker = Seat { role: SeatRole::Speaker, lobby_status: LobbyStatus::Admitted };
    assert_eq!(join(&rooms, &open, "ann").await, speaker, "the same seat and role");
    world.pass_time(Duration::seconds(50));
    rooms.release_held().await.unwrap();
    let new = world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    let there = Written {
        lobby_status: LobbyStatus::Admitted,
        joined: true,
        left: false,
        disconnected: false,
        held: false,
        sid: Some(new.clone()),
    };
    assert_eq!(world.written(&open, "ann").await, there);
    assert_ne!(new, old);
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_disconnect_of_more_than_two_minutes_loses_the_seat(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    seen(&world, &rooms, &open, "ann").await;
    world.exit(&open, "ann").await;
    world.see_gone(&rooms, &open).await;
    world.pass_time(Duration::seconds(121));
    // What is held no longer is free, released or not.
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::RoomFull);
    rooms.release_held().await.unwrap();
    assert!(world.written(&open, "ann").await.left);
    assert_eq!(world.seated(&open).await, 1);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_seat_that_is_not_seen_for_a_minute_is_released(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join(&rooms, &open, "ann").await;
    world.pass_time(Duration::seconds(55));
    rooms.release_held().await.unwrap();
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
    world.pass_time(Duration::seconds(10));
    rooms.release_held().await.unwrap();
    assert!(world.written(&open, "ann").await.left);
    // Late, but there: what LiveKit shows counts.
    world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    assert!(!world.written(&open, "ann").await.left);
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_hold_from_before_the_clock_was_set_back_is_no_longer_than_others(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect, 1).await;
    join(&rooms, &open, "ann").await;
    world.pass_time(Duration::hours(-3));
    rooms.release_held().await.unwrap();
    world.pass_time(Duration::seconds(121));
    rooms.release_held().await.unwrap();
    assert!(world.written(&open, "ann").await.left);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_second_tab_replaces_the_first_and_is_counted_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    let first = seen(&world, &rooms, &open, "ann").await;
    let second = seen(&world, &rooms, &open, "ann").await;
    assert_ne!(first, second);
    assert_eq!(world.written(&open, "ann").await.sid.as_deref(), Some(second.as_str()));
    assert_eq!(world.numbers(&open).await, (1, 1, false));
    // The first one's departure, told late, is not the second one's.
    let record = world.live_record(&open).await;
    let body = event("EV_late", "participant_left", &record, "ann", &first);
    rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
    world.see(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn viewers_are_those_who_are_there_and_not_the_host(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    join(&rooms, &open, "waits-for-his-camera").await;
    seen(&world, &rooms, &open, &open.room.host).await;
    assert_eq!(world.numbers(&open).await, (0, 0, true));
    for who in ["ann", "ben", "eve"] {
        seen(&world, &rooms, &open, who).await;
    }
    assert_eq!(world.numbers(&open).await, (3, 3, true));
    rooms.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
    world.exit(&open, "ann").await;
    rooms.disconnect_from_live_room(&person("ben"), LiveRoomId(open.room.id)).await.unwrap();
    world.exit(&open, "ben").await;
    world.exit(&open, &open.room.host).await;
    assert_eq!(world.numbers(&open).await, (1, 3, true), "they say so themselves");
    world.see_gone(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 3, false));
    let (ann, ben) = (world.written(&open, "ann").await, world.written(&open, "ben").await);
    assert_eq!((ann.left, ann.held), (true, false), "her seat is given up");
    assert_eq!((ben.left, ben.held), (false, true), "his is held");
    // Back in his seat he is a viewer when he is seen.
    join(&rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await, (1, 3, false));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_seat_that_was_given_up_stays_so_until_he_comes_back(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    seen(&world, &rooms, &open, "ann").await;
    for _ in 0..2 {
        let seat = rooms.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
        assert_eq!(seat, Some(VIEWER));
    }
    world.see(&rooms, &open).await; // LiveKit has not noticed yet
    assert!(world.written(&open, "ann").await.left);
    // Who is still there long after that has not left.
    world.pass_time(Duration::seconds(31));
    world.see(&rooms, &open).await;
    assert!(!world.written(&open, "ann").await.left);
    let nobody = rooms.leave_live_room(&person("a-stranger"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(nobody, None);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_disconnect_that_is_told_again_and_again_is_the_first_one(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect, 1).await;
    seen(&world, &rooms, &open, "ann").await;
    world.exit(&open, "ann").await;
    for _ in 0..3 {
        rooms.disconnect_from_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
        world.pass_time(Duration::seconds(41));
    }
    rooms.release_held().await.unwrap();
    assert!(!world.written(&open, "ann").await.left, "while LiveKit is not asked she may be there");
    world.see_gone(&rooms, &open).await;
    rooms.release_held().await.unwrap();
    assert!(world.written(&open, "ann").await.left);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whom_one_look_misses_keeps_his_seat(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    seen(&world, &rooms, &open, "ann").await;
    world.server().faults().set_next("ListParticipants", 1, Fault::OmitParticipant("ann".to_owned()));
    world.see(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false));
    world.pass_time(Duration::seconds(10));
    world.see(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_restart_of_livekit_costs_nobody_his_seat(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 2).await;
    for who in ["ann", "ben"] {
        seen(&world, &rooms, &open, who).await;
    }
    world.server().restart();
    world.see(&rooms, &open).await;
    let record = world.live_record(&open).await;
    assert_eq!((record.owner(), record.generation), (Owner::LiveSession(LiveSessionId(open.session)), 2));
    world.see_gone(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (0, 2, false));
    world.pass_time(Duration::seconds(100));
    rooms.release_held().await.unwrap();
    for who in ["ann", "ben"] {
        assert_eq!(join(&rooms, &open, who).await, VIEWER);
        seen(&world, &rooms, &open, who).await;
    }
    assert_eq!(world.numbers(&open).await, (2, 2, false));
}

/// What happens to three people, told to nobody, or told in this order and so many times.
async fn story(world: &World, rooms: &Rooms, tell: Option<(usize, bool)>) -> Vec<Written> {
    let open = world.live(rooms, 5).await;
    let record = world.live_record(&open).await;
    let mut events = Vec::new();
    let mut note = |kind: &str, who: &str, sid: &str| {
        events.push(event(&format!("EV_{kind}_{sid}"), kind, &record, who, sid));
    };
    for who in ["ann", "ben", "eve"] {
        join(rooms, &open, who).await;
        note("participant_joined", who, &world.enter(&open, who).await);
    }
    world.see(rooms, &open).await;
    let old = world.written(&open, "ben").await.sid.unwrap();
    world.exit(&open, "ann").await;
    note("participant_left", "ann", &world.written(&open, "ann").await.sid.unwrap());
    note("participant_joined", "ben", &world.enter(&open, "ben").await);
    note("participant_left", "ben", &old);
    if let Some((times, backwards)) = tell {
        if backwards {
            events.reverse();
        }
        for _ in 0..times {
            for body in &events {
                rooms.receive_webhook(&world.signed(body), body).await.unwrap();
                rooms.drain().await.unwrap();
            }
        }
    }
    for _ in 0..2 {
        world.see_gone(rooms, &open).await;
    }
    let mut seats = Vec::new();
    for who in ["ann", "ben", "eve"] {
        seats.push(Written { sid: None, ..world.written(&open, who).await });
    }
    assert_eq!(world.numbers(&open).await, (2, 3, false));
    seats
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn webhooks_lost_tripled_or_backwards_lead_to_the_same_seats(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let untold = story(&world, &rooms, None).await;
    for tell in [(1, false), (3, false), (3, true)] {
        assert_eq!(story(&world, &rooms, Some(tell)).await, untold, "{tell:?}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn seats_that_another_hand_wrote_become_what_livekit_shows(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect, 5).await;
    for (who, columns) in [
        ("there", "joined_at = null, held_until = app_now() + interval '1 hour'"),
        ("not-there", "joined_at = app_now(), held_until = null, participant_sid = 'PA_x'"),
    ] {
        live::seat(&world.pool, open.session, who, SeatRole::Guest, LobbyStatus::Admitted).await;
        world.execute(&format!("update live_room_attendance set {columns} where user_id = '{who}'")).await;
    }
    world.enter(&open, "there").await;
    for _ in 0..2 {
        world.see(&rooms, &open).await;
    }
    assert_eq!(world.numbers(&open).await, (1, 1, false));
    let (there, gone) = (world.written(&open, "there").await, world.written(&open, "not-there").await);
    assert_eq!((there.joined, there.held), (true, false));
    assert_eq!((gone.disconnected, gone.held), (true, true));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_kicked_persons_seat_is_closed(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    seen(&world, &rooms, &open, "ann").await;
    assert!(rooms.kick(Owner::LiveSession(LiveSessionId(open.session)), "ann").await.unwrap());
    world.see(&rooms, &open).await;
    assert!(world.written(&open, "ann").await.left);
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Kicked);
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
}
