//! A live session that stays empty ends by itself; one that anybody is in, asks for, or may be in does not.

use domain::{LiveRoomId, LiveStatus, RoomStatus};
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{
        Replica, World, refused,
        seats::{Open, join, person},
    },
};

impl World {
    pub async fn session_status(&self, open: &Open) -> LiveStatus {
        sqlx::query_scalar!(
            r#"select status as "status: LiveStatus" from live_room_sessions where id = $1"#,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub async fn closes(&self, open: &Open) -> bool {
        self.live_record(open).await.closing_at.is_some()
    }

    /// What a pass does with seats and ends, and a look at the room as it then is.
    pub async fn turn(&self, rooms: &Rooms, open: &Open) {
        rooms.release_held().await.unwrap();
        rooms.announce_ends().await.unwrap();
        self.look(rooms, open).await;
    }

    /// A look that succeeds or fails.
    pub async fn look(&self, rooms: &Rooms, open: &Open) {
        let record = self.live_record(open).await;
        rooms.reconcile(&[record.id]).await.unwrap();
    }

    pub async fn assert_goes_on(&self, open: &Open) {
        assert_eq!(self.session_status(open).await, LiveStatus::Live);
        assert_eq!(self.names(), [self.live_record(open).await.room_name]);
    }

    /// Ended as by its host: nobody has a seat, the room is idle, LiveKit's room gone.
    pub async fn assert_ended(&self, open: &Open) {
        assert_eq!(self.session_status(open).await, LiveStatus::Ended);
        let left = sqlx::query!(
            r#"select r.status, r.current_session_id, r.host_present, s.ended_at is not null as "ended!",
                      (select count(*) from live_room_attendance a
                       where a.session_id = s.id and a.left_at is null) as "seats!"
               from live_rooms r join live_room_sessions s on s.room_id = r.id where s.id = $1"#,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!((left.status.as_str(), left.current_session_id, left.host_present), ("idle", None, false));
        assert_eq!((left.ended, left.seats), (true, 0));
        let record = self.live_record(open).await;
        assert_eq!((record.status, record.closing_at), (RoomStatus::Ended, None));
        assert!(self.names().is_empty());
    }
}

async fn world(connect: PgConnectOptions) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    (world, rooms, open)
}

/// The host was there, went 5 min ago, and the end is announced.
pub async fn closing(connect: PgConnectOptions) -> (World, Replica, Open) {
    let (world, rooms, open) = world(connect).await;
    announce(&world, &rooms, &open).await;
    (world, rooms, open)
}

pub async fn announce(world: &World, rooms: &Rooms, open: &Open) {
    let host = &open.room.host;
    join(rooms, open, host).await;
    world.enter(open, host).await;
    world.see(rooms, open).await;
    world.exit(open, host).await;
    world.see_gone(rooms, open).await;
    world.pass_time(Duration::minutes(5));
    world.turn(rooms, open).await;
    assert!(world.closes(open).await);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_session_that_nobody_came_to_ends_after_a_quarter_of_an_hour(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect).await;
    world.pass_time(Duration::seconds(14 * 60 + 50));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    world.pass_time(Duration::seconds(15));
    world.turn(&rooms, &open).await;
    assert!(world.closes(&open).await);
    world.pass_time(Duration::seconds(15));
    world.turn(&rooms, &open).await;
    world.assert_goes_on(&open).await;
    world.pass_time(Duration::seconds(6));
    world.turn(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_empty_session_ends_after_five_minutes(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.pass_time(Duration::minutes(12));
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    world.pass_time(Duration::minutes(30));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await, "somebody is there");
    world.exit(&open, "ann").await;
    world.see_gone(&rooms, &open).await;
    world.pass_time(Duration::seconds(4 * 60 + 50));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    world.pass_time(Duration::seconds(15));
    world.turn(&rooms, &open).await;
    world.assert_goes_on(&open).await;
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_was_there_before_the_start_does_not_shorten_the_wait(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect).await;
    world.alter(open.session, "started_at", "app_now() + interval '6 minutes'").await;
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    world.exit(&open, "ann").await;
    world.see_gone(&rooms, &open).await;
    world.pass_time(Duration::minutes(7));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
}

/// A legacy writer set the status and forgot when it started.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_session_without_a_start_has_its_quarter_of_an_hour_too(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect).await;
    world.execute("update live_room_sessions set started_at = null, lobby_open_at = null").await;
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    world.pass_time(Duration::minutes(16));
    world.turn(&rooms, &open).await;
    assert!(world.closes(&open).await);
}

/// Nobody calls the steps one by one: passes are all that runs.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn passes_alone_release_seats_and_end_what_is_empty(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    join(&rooms, &open, "ann").await;
    world.pass_time(Duration::seconds(61));
    rooms.pass().await.unwrap();
    assert_eq!(world.seated(&open).await, 0);
    world.pass_time(Duration::minutes(16));
    rooms.pass().await.unwrap();
    world.pass_time(Duration::seconds(21));
    rooms.pass().await.unwrap();
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_only_waits_keeps_no_session_on(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.execute("update live_room_sessions set auto_admit = false").await;
    join(&rooms, &open, "patient").await;
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_livekit_lost_ends_its_empty_session_too(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.server().restart();
    world.server().faults().set("ListParticipants", refused());
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    assert_eq!(world.session_status(&open).await, LiveStatus::Live, "its people could not be asked for");
    world.server().faults().clear();
    rooms.announce_ends().await.unwrap();
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    world.assert_ended(&open).await;
    assert_eq!(world.live_record(&open).await.generation, 1, "nobody needed another one");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn after_its_planned_end_a_session_lasts_until_it_is_empty(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect).await;
    world.alter(open.session, "ends_at", "app_now() + interval '10 minutes'").await;
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.see(&rooms, &open).await;
    world.pass_time(Duration::minutes(60));
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await);
    world.exit(&open, "ann").await;
    world.see_gone(&rooms, &open).await;
    world.turn(&rooms, &open).await;
    assert!(!world.closes(&open).await, "her seat survives a disconnect");
    world.pass_time(Duration::minutes(2));
    world.turn(&rooms, &open).await;
    assert!(world.closes(&open).await, "at once");
    world.pass_time(Duration::seconds(21));
    world.turn(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_announcement_that_nobody_carried_out_is_made_anew(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    for wait in [Duration::minutes(3), Duration::hours(-2)] {
        world.pass_time(wait);
        rooms.announce_ends().await.unwrap();
        let record = world.live_record(&open).await;
        let left = record.closing_at.unwrap() - record.now;
        assert!((Duration::seconds(15)..=Duration::seconds(20)).contains(&left), "{left}");
        assert!(world.marks(record.id.0).await > 0);
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_end_that_dies_anywhere_is_finished(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let open = world.live(&steady, 5).await;
        world.pass_time(Duration::minutes(16));
        let announced = cut(polls, rooms.announce_ends()).await.is_some();
        testkit::eventually("what was cut is over", || world.quiet()).await;
        steady.announce_ends().await.unwrap();
        assert!(world.closes(&open).await);
        world.pass_time(Duration::seconds(21));
        let record = world.live_record(&open).await;
        let ended = cut(polls, rooms.finish_auto_end(&record, true)).await.is_some();
        // Half an end there is not: the session goes on as it was, or it is over and its room about to go.
        if world.session_status(&open).await == LiveStatus::Live {
            world.turn(&steady, &open).await;
        }
        world.hurry().await;
        steady.drain().await.unwrap();
        steady.pass().await.unwrap();
        world.assert_ended(&open).await;
        let closed = rooms.join_live_room(&person("ann"), LiveRoomId(open.room.id)).await;
        assert_eq!(crate::harness::reason(closed), chassis::status::Reason::RoomNotActive);
        if announced && ended {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
}
