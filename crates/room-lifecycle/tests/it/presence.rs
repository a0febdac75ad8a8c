//! Who is inside, as far as we know: nobody joined who is not there, nobody left who is (I6).

use livekit_dev::Fault;
use room_lifecycle::{Rooms, store::Record};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    harness::{Booking, World, owner},
    webhooks::event,
};

async fn look(rooms: &Rooms, record: &Record) {
    assert_eq!(rooms.reconcile(&[record.id]).await.unwrap(), [record.id]);
}

/// A webhook of this participant.
async fn tell(world: &World, rooms: &Rooms, record: &Record, kind: &str, who: &str, sid: &str) {
    let id = format!("EV_{kind}_{sid}");
    let body = event(&id, kind, record, who, sid);
    rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
}

async fn inside(world: &World) -> (crate::harness::Replica, Booking, Record, String) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let sid = world.join(&record.room_name, &booking.guest).sid;
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    (rooms, booking, record, sid)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_only_connects_has_not_joined(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.server().connect(&world.token(&record.room_name, &booking.guest)).unwrap();
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "invited");
    world.server().activate(&record.room_name, &booking.guest).unwrap();
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn left_takes_two_looks_five_seconds_apart(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, booking, record, _) = inside(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    for wait in [0, 2, 2] {
        world.pass_time(Duration::seconds(wait));
        look(&rooms, &record).await;
        assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    }
    world.pass_time(Duration::seconds(2));
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn one_look_that_misses_somebody_is_forgotten_when_the_next_one_finds_him(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let (rooms, booking, record, _) = inside(&world).await;
    for _ in 0..3 {
        world.server().faults().set_next(
            "ListParticipants",
            1,
            Fault::OmitParticipant(booking.guest.clone()),
        );
        look(&rooms, &record).await;
        world.pass_time(Duration::seconds(6));
        look(&rooms, &record).await;
        world.pass_time(Duration::seconds(6));
    }
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn two_looks_are_apart_even_if_the_clock_was_set_back_between_them(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let (rooms, booking, record, _) = inside(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    look(&rooms, &record).await;
    world.pass_time(Duration::minutes(-30));
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    world.pass_time(Duration::seconds(6));
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_left_event_of_the_current_sid_is_believed_with_one_look(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let (rooms, booking, record, sid) = inside(&world).await;
    tell(&world, &rooms, &record, "participant_left", &booking.guest, &sid).await;
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined", "he is there, whatever it says");
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_late_event_of_the_old_sid_does_not_make_the_new_one_leave(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let (rooms, booking, record, old) = inside(&world).await;
    let new = world.join(&record.room_name, &booking.guest).sid; // a second tab
    assert_ne!(new, old);
    look(&rooms, &record).await;
    tell(&world, &rooms, &record, "participant_left", &booking.guest, &old).await;
    world.server().faults().set_next("ListParticipants", 1, Fault::OmitParticipant(booking.guest.clone()));
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn recorders_are_nobody(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    sqlx::query!(
        "update livekit_participants set user_id = 'EG_recorder' where room_id = $1 and user_id = $2",
        record.id.0,
        booking.guest
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.join(&record.room_name, "EG_recorder");
    world.join(&record.room_name, "a-stranger");
    look(&rooms, &record).await;
    assert_eq!(world.status(&booking, "EG_recorder").await, "invited");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_look_that_crosses_the_end_leaves_nobody_inside(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (slow, quick) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.open_room(&quick).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set_next("ListParticipants", 1, Fault::HangAfterEffect);
    let late = tokio::spawn({
        let slow = Rooms::clone(&slow);
        let id = record.id;
        async move { slow.reconcile(&[id]).await }
    });
    world.reached("ListParticipants", 1).await; // it has seen him
    world.complete(&booking).await;
    quick.drain().await.unwrap();
    world.server().faults().clear();
    late.await.unwrap().unwrap();
    assert_ne!(world.status(&booking, &booking.guest).await, "joined");

    // Were he written down all the same, a pass would know better.
    sqlx::query!("update livekit_participants set status = 'joined' where room_id = $1", record.id.0)
        .execute(&world.pool)
        .await
        .unwrap();
    quick.pass().await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_was_in_a_lost_room_has_left_after_two_passes(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, booking, _, _) = inside(&world).await;
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    rooms.pass().await.unwrap();
    world.pass_time(Duration::seconds(10));
    rooms.pass().await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_kick_that_commits_while_a_look_waits_is_not_undone(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, booking, record, _) = inside(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    look(&rooms, &record).await;
    world.pass_time(Duration::seconds(6));
    let mut kick = world
        .hold(&format!(
            "update livekit_rooms set watched_until = app_now() + interval '1 hour' where id = '{0}';
             update livekit_participants set status = 'kicked', kicked_at = app_now(), absent_since = null
             where room_id = '{0}' and user_id = '{1}'",
            record.id, booking.guest
        ))
        .await;
    let late = tokio::spawn({
        let (rooms, id) = (Rooms::clone(&rooms), record.id);
        async move { rooms.reconcile(&[id]).await }
    });
    testkit::eventually("the look waits for the room", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut kick).await.unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");
}
