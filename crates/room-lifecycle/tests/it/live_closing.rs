//! An announced end is taken back by joins, token requests and events, and while LiveKit's state is unknown.

use domain::{LiveSessionId, Owner};
use livekit_dev::Fault;
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    harness::{Service, World, refused, seats::join},
    live_auto_end::{announce, closing},
    webhooks::event,
};

#[testkit::test]
async fn returning_host_keeps_the_closing_session_open(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.enter(&open, &open.room.host).await;
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    for _ in 0..3 {
        world.advance(Duration::minutes(10));
        world.pass_and_check(&rooms, &open).await;
    }
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn connection_keeps_the_closing_session_open(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    let record = world.live_record(&open).await;
    world.server().connect(&world.token(&record.room_name, &open.room.host)).unwrap();
    world.advance(Duration::seconds(21));
    world.try_check_live(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn incomplete_list_never_ends_the_session(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.enter(&open, &open.room.host).await;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant(open.room.host.clone()));
    for _ in 0..6 {
        world.advance(Duration::seconds(21));
        world.pass_and_check(&rooms, &open).await;
        world.assert_goes_on(&open).await;
    }
}

#[testkit::test]
async fn event_keeps_the_closing_session_open(world: World) {
    let rooms = world.rooms().await;
    for kind in ["participant_joined", "track_published"] {
        let open = world.live(&rooms, 5).await;
        announce(&world, &rooms, &open).await;
        let record = world.live_record(&open).await;
        let body = event(&format!("EV_{kind}"), kind, &record, &open.room.host, "PA_new");
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
        world.advance(Duration::seconds(21));
        world.try_check_live(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        assert!(!world.closes(&open).await, "the end of the live session is not announced");
        // The event is too old for the next announcement.
        world.advance(Duration::seconds(5));
        world.pass_and_check(&rooms, &open).await;
        world.advance(Duration::seconds(21));
        world.pass_and_check(&rooms, &open).await;
        world.assert_ended(&open).await;
    }
}

#[testkit::test]
async fn failed_check_restarts_the_announced_end(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    for method in ["ListRooms", "ListParticipants"] {
        world.advance(Duration::seconds(21));
        world.server().faults().set(method, refused());
        world.try_check_live(&rooms, &open).await;
        world.server().faults().clear();
        assert!(!world.closes(&open).await, "{method}");
        world.try_check_live(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        rooms.announce_ends().await.unwrap();
        assert!(world.closes(&open).await, "the end of the live session is announced");
    }
    world.advance(Duration::seconds(21));
    world.try_check_live(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn session_does_not_end_while_livekit_is_down(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.server().faults().set("*", refused());
    for _ in 0..3 {
        world.advance(Duration::minutes(20));
        world.pass_and_check(&rooms, &open).await;
    }
    world.server().faults().clear();
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn token_request_keeps_the_closing_session_open(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), false).await.unwrap();
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.advance(Duration::seconds(21));
    world.try_check_live(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn new_seat_has_a_minute_to_connect_when_closing(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    join(&rooms, &open, &open.room.host).await;
    for _ in 0..2 {
        world.advance(Duration::seconds(25));
        world.pass_and_check(&rooms, &open).await;
        world.assert_goes_on(&open).await;
        assert!(!world.closes(&open).await, "the end of the live session is not announced");
    }
    world.enter(&open, &open.room.host).await;
    world.advance(Duration::seconds(30));
    world.pass_and_check(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn token_request_keeps_the_session_when_the_check_fails(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.server().faults().set("ListRooms", refused());
    world.advance(Duration::seconds(6)); // makes the record too old to be used
    rooms.ensure(Owner::LiveSession(LiveSessionId(open.session)), false).await.unwrap_err();
    world.server().faults().clear();
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.advance(Duration::seconds(16));
    world.try_check_live(&rooms, &open).await;
    world.assert_goes_on(&open).await;
}

#[testkit::test]
async fn auto_end_yields_to_a_concurrent_token_request(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.advance(Duration::seconds(21));
    let record = world.live_record(&open).await;
    // Holds the record's row lock, as a token request that takes the end back.
    let mut asking =
        world.hold(&format!("update livekit_rooms set closing_at = null where id = '{}'", record.id)).await;
    let ending = tokio::spawn({
        let (rooms, record) = (Service::clone(&rooms), record.clone());
        async move { rooms.finish_auto_end(&record, true).await }
    });
    testkit::eventually("the end waits for the record", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut asking).await.unwrap();
    assert!(!ending.await.unwrap().unwrap());
    world.assert_goes_on(&open).await;
}
