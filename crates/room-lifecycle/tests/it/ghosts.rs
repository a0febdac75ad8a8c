//! Participants of a crash leave, and no living one is taken for one of them.

use domain::{LiveStatus, RoomStatus};
use livekit_dev::{Code, Fault};
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::harness::{
    World,
    meetings::redis_world,
    seats::{Open, join},
};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn participants_of_a_crash_leave_within_a_minute(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 30).await;
    assert_eq!(world.both(&meeting).await, ["joined", "joined"], "they are alive");
    world.server().restart();
    world.turns(&rooms, 30).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
    let listed = world.server().participants(&meeting.record.room_name);
    assert_eq!(listed.len(), 2, "LiveKit lists them for ever");
    world.check_meeting(&rooms, &meeting).await;
    world.pass_time(Duration::seconds(6));
    world.check_meeting(&rooms, &meeting).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"], "whatever LiveKit lists");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn ghost_that_comes_back_has_joined(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.turns(&rooms, 30).await;
    let guest = meeting.booking.guest.clone();
    world.enter_meeting(&rooms, &meeting, &guest).await;
    assert_eq!(world.both(&meeting).await, ["left", "joined"]);
    world.turns(&rooms, 30).await;
    assert_eq!(world.both(&meeting).await, ["left", "joined"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn ghost_beside_others_leaves_without_disturbing_them(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    let host = meeting.booking.host.clone();
    let sid = world.enter_meeting(&rooms, &meeting, &host).await;
    world.tell(&rooms, &meeting.record, "participant_joined", &host, &sid).await;
    world.turns(&rooms, 150).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.both(&meeting).await, ["joined", "left"]);
    assert_eq!(world.record(&meeting.booking).await.generation, 1);
    let connected = world.server().connected(&meeting.record.room_name);
    assert_eq!(connected.iter().map(|one| one.sid.as_str()).collect::<Vec<_>>(), [sid]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn seats_and_viewers_follow_ghosts(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let open = world.live(&rooms, 5).await;
    let host = open.room.host.clone();
    enter(&world, &rooms, &open, &host).await;
    enter(&world, &rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await, (1, 1, true));
    world.server().restart();
    world.turns(&rooms, 30).await;
    assert_eq!(world.numbers(&open).await, (0, 1, false));
    let seat = world.written(&open, "ann").await;
    assert!(seat.disconnected && seat.held && !seat.left, "held for a while, as after any departure");
    world.pass_time(Duration::minutes(2));
    rooms.release_held().await.unwrap();
    assert_eq!(world.seated(&open).await, 0);
}

async fn enter(world: &World, rooms: &Rooms, open: &Open, who: &str) {
    join(rooms, open, who).await;
    world.enter(open, who).await;
    world.see(rooms, open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn live_session_of_ghosts_ends_when_it_stays_empty(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let open = world.live(&rooms, 5).await;
    let host = open.room.host.clone();
    enter(&world, &rooms, &open, &host).await;
    world.server().restart();
    world.turns(&rooms, 100).await;
    world.pass_time(Duration::minutes(5));
    world.turn(&rooms, &open).await;
    assert!(world.closes(&open).await);
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    assert_eq!(world.session_status(&open).await, LiveStatus::Ended);
    assert_eq!(world.live_record(&open).await.status, RoomStatus::Ended);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn failed_probe_proves_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    let faults = world.server().faults();
    let refuse = |code| Fault::Refuse { code };
    for fault in [refuse(Code::Unavailable), refuse(Code::DeadlineExceeded), Fault::BadGateway] {
        faults.set("UpdateSubscriptions", fault);
        world.turns(&rooms, 40).await;
        faults.clear();
        assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
    }
}

/// Seen with a real server: it answers so about living participants, and still once after Redis works again.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn no_ghost_is_found_while_redis_hangs_or_right_after(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    let faults = world.server().faults();
    faults.set("UpdateSubscriptions", Fault::NoResponse);
    faults.set("CreateRoom", Fault::Refuse { code: Code::Unknown });
    world.turns(&rooms, 60).await;
    assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
    faults.clear();
    faults.set_next("UpdateSubscriptions", 2, Fault::NoResponse);
    world.turns(&rooms, 60).await;
    assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn ghosts_wait_until_livekit_creates_rooms(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    let faults = world.server().faults();
    faults.set("CreateRoom", Fault::Refuse { code: Code::Unknown });
    world.turns(&rooms, 60).await;
    assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
    faults.clear();
    world.turns(&rooms, 9).await;
    assert_eq!(world.both(&meeting).await, ["joined", "joined"], "silences of before do not count");
    world.turns(&rooms, 15).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn event_between_two_probes_is_a_sign_of_life(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.turns(&rooms, 5).await;
    world.tell(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    world.turns(&rooms, 15).await;
    assert_eq!(world.both(&meeting).await, ["left", "joined"], "two probes since the event are needed");
    world.turns(&rooms, 15).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
}

/// The webhook takes no lock that it would have to wait for; then its event alone is the sign of life.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn event_is_a_sign_of_life_although_its_participant_is_locked(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.turns(&rooms, 5).await;
    let lock = world
        .hold(&format!("select from livekit_participants where room_id = '{}' for update", meeting.record.id))
        .await;
    world.tell(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    drop(lock);
    testkit::eventually("the lock is gone", || world.quiet()).await;
    world.turns(&rooms, 8).await;
    assert_eq!(world.both(&meeting).await, ["left", "joined"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn ghost_that_answers_has_joined(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world
        .execute(
            "update livekit_participants set status = 'left', left_at = app_now(), ghost_since = app_now(),
                                             silent_since = app_now() where role = 'guest'",
        )
        .await;
    world.check_meeting(&rooms, &meeting).await;
    assert_eq!(world.both(&meeting).await, ["joined", "left"]);
    world.turns(&rooms, 16).await;
    world.hurry().await;
    rooms.drain().await.unwrap();
    assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
}

/// The guest is believed to be a ghost and is not; the next probe would be 10 s later.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn event_about_a_ghost_has_it_probed_at_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = redis_world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world
        .execute(
            "update livekit_participants set checked_at = app_now(); \
             update livekit_participants set status = 'left', left_at = app_now(), ghost_since = app_now(),
                                             silent_since = app_now() where role = 'guest'",
        )
        .await;
    world.turns(&rooms, 2).await;
    assert_eq!(world.both(&meeting).await, ["joined", "left"]);
    world.tell(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    world.turns(&rooms, 1).await;
    world.hurry().await;
    rooms.drain().await.unwrap();
    assert_eq!(world.both(&meeting).await, ["joined", "joined"]);
}
