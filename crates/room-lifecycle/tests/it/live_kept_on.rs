//! An end that was announced is taken back by whoever comes, asks or is heard of, and while nobody knows.

use domain::{LiveSessionId, Owner};
use livekit_dev::Fault;
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    harness::{World, refused, seats::join},
    live_auto_end::{announce, closing},
    webhooks::event,
};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_host_who_comes_back_while_it_closes_keeps_the_session(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = closing(connect).await;
    world.enter(&open, &open.room.host).await;
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    for _ in 0..3 {
        world.pass_time(Duration::minutes(10));
        world.turn(&rooms, &open).await;
    }
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_only_connects_while_it_closes_keeps_the_session(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = closing(connect).await;
    let record = world.live_record(&open).await;
    world.server().connect(&world.token(&record.room_name, &open.room.host)).unwrap();
    world.pass_time(Duration::seconds(21));
    world.look(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_list_that_lacks_somebody_never_ends_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.enter(&open, &open.room.host).await;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant(open.room.host.clone()));
    for _ in 0..6 {
        world.pass_time(Duration::seconds(21));
        world.turn(&rooms, &open).await;
        world.assert_goes_on(&open).await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_event_while_it_closes_keeps_the_session(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for kind in ["participant_joined", "track_published"] {
        let open = world.live(&rooms, 5).await;
        announce(&world, &rooms, &open).await;
        let record = world.live_record(&open).await;
        let body = event(&format!("EV_{kind}"), kind, &record, &open.room.host, "PA_new");
        rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
        world.pass_time(Duration::seconds(21));
        world.look(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        assert!(!world.closes(&open).await);
        // It is old news at the next announcement.
        world.pass_time(Duration::seconds(5));
        world.turn(&rooms, &open).await;
        world.pass_time(Duration::seconds(21));
        world.turn(&rooms, &open).await;
        world.assert_ended(&open).await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_look_that_fails_starts_it_again(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    for method in ["ListRooms", "ListParticipants"] {
        world.pass_time(Duration::seconds(21));
        world.server().faults().set(method, refused());
        world.look(&rooms, &open).await;
        world.server().faults().clear();
        assert!(!world.closes(&open).await, "{method}");
        world.look(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        rooms.announce_ends().await.unwrap();
        assert!(world.closes(&open).await);
    }
    world.pass_time(Duration::seconds(21));
    world.look(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn while_livekit_is_down_nothing_ends(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.server().faults().set("*", refused());
    for _ in 0..3 {
        world.pass_time(Duration::minutes(20));
        world.turn(&rooms, &open).await;
    }
    world.server().faults().clear();
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_asks_for_a_token_while_it_closes_keeps_the_session(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = closing(connect).await;
    rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), false).await.unwrap();
    assert!(!world.closes(&open).await);
    world.pass_time(Duration::seconds(21));
    world.look(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_takes_a_seat_while_it_closes_has_a_minute_to_connect(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = closing(connect).await;
    join(&rooms, &open, &open.room.host).await;
    for _ in 0..2 {
        world.pass_time(Duration::seconds(25));
        world.turn(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        assert!(!world.closes(&open).await);
    }
    world.enter(&open, &open.room.host).await;
    world.pass_time(Duration::seconds(30));
    world.turn(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_asks_for_a_token_keeps_the_session_though_the_look_fails(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = closing(connect).await;
    world.server().faults().set("ListRooms", refused());
    world.pass_time(Duration::seconds(6)); // the record is not fresh
    rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), false).await.unwrap_err();
    world.server().faults().clear();
    assert!(!world.closes(&open).await);
    world.pass_time(Duration::seconds(16));
    world.look(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_end_that_meets_a_token_request_lets_it_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.pass_time(Duration::seconds(21));
    let record = world.live_record(&open).await;
    let mut asking =
        world.hold(&format!("update livekit_rooms set closing_at = null where id = '{}'", record.id)).await;
    let ending = tokio::spawn({
        let (rooms, record) = (Rooms::clone(&rooms), record.clone());
        async move { rooms.finish_auto_end(&record, true).await }
    });
    testkit::eventually("the end waits for the record", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut asking).await.unwrap();
    assert!(!ending.await.unwrap().unwrap());
    world.assert_goes_on(&open).await;
}
