//! A live session that stays empty ends by itself. A session does not end while it is, or may be, in use.

use domain::{LiveRoomId, LiveStatus, RoomStatus};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{
        Replica, Service, World, refused,
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

    /// Runs a pass's steps for seats and ends, and checks the room.
    pub async fn pass_and_check(&self, rooms: &Service, open: &Open) {
        rooms.live.release_held().await.unwrap();
        rooms.announce_ends().await.unwrap();
        self.try_check_live(rooms, open).await;
    }

    /// Checks the room. The check may fail.
    pub async fn try_check_live(&self, rooms: &Service, open: &Open) {
        let record = self.live_record(open).await;
        rooms.reconcile(&[record.id]).await.unwrap();
    }

    pub async fn assert_goes_on(&self, open: &Open) {
        assert_eq!(self.session_status(open).await, LiveStatus::Live, "the session");
        assert_eq!(self.names(), [self.live_record(open).await.room_name], "rooms on LiveKit");
    }

    /// Asserts an end as by the host: no seats are taken, the live room is idle, and LiveKit's room is deleted.
    pub async fn assert_ended(&self, open: &Open) {
        assert_eq!(self.session_status(open).await, LiveStatus::Ended, "the session");
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
        assert_eq!(
            (left.status.as_str(), left.current_session_id, left.host_present),
            ("idle", None, false),
            "the live room"
        );
        assert_eq!((left.ended, left.seats), (true, 0), "has ended, seats");
        let record = self.live_record(open).await;
        assert_eq!((record.status, record.closing_at), (RoomStatus::Ended, None), "{record:?}");
        self.assert_rooms(0);
    }
}

async fn world(connect: PgConnectOptions) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    (world, rooms, open)
}

/// The host joined and left 5 min ago, and the end is announced.
pub async fn closing(connect: PgConnectOptions) -> (World, Replica, Open) {
    let (world, rooms, open) = world(connect).await;
    announce(&world, &rooms, &open).await;
    (world, rooms, open)
}

pub async fn announce(world: &World, rooms: &Service, open: &Open) {
    let host = &open.room.host;
    join(rooms, open, host).await;
    world.enter(open, host).await;
    world.check_live(rooms, open).await;
    world.exit(open, host).await;
    world.confirm_gone(rooms, open).await;
    world.advance(Duration::minutes(5));
    world.pass_and_check(rooms, open).await;
    assert!(world.closes(open).await, "the end of the live session is announced");
}

#[testkit::test]
async fn session_without_joins_ends_after_15_minutes(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.advance(Duration::seconds(14 * 60 + 50));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check(&rooms, &open).await;
    assert!(world.closes(&open).await, "the end of the live session is announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check(&rooms, &open).await;
    world.assert_goes_on(&open).await;
    world.advance(Duration::seconds(6));
    world.pass_and_check(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn empty_session_ends_after_five_minutes(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.advance(Duration::minutes(12));
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    world.advance(Duration::minutes(30));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "a viewer is in the room");
    world.exit(&open, "ann").await;
    world.confirm_gone(&rooms, &open).await;
    world.advance(Duration::seconds(4 * 60 + 50));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check(&rooms, &open).await;
    world.assert_goes_on(&open).await;
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn join_before_the_start_does_not_shorten_the_wait(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.alter(open.session, "started_at", "app_now() + interval '6 minutes'").await;
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    world.exit(&open, "ann").await;
    world.confirm_gone(&rooms, &open).await;
    world.advance(Duration::minutes(7));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
}

/// A legacy writer set the status without the start time.
#[testkit::test]
async fn session_without_a_start_time_waits_15_minutes(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.execute("update live_room_sessions set started_at = null, lobby_open_at = null").await;
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.advance(Duration::minutes(16));
    world.pass_and_check(&rooms, &open).await;
    assert!(world.closes(&open).await, "the end of the live session is announced");
}

/// Only passes run: the test does not call their steps.
#[testkit::test]
async fn passes_alone_release_seats_and_end_empty_sessions(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    join(&rooms, &open, "ann").await;
    world.advance(Duration::seconds(61));
    rooms.pass().await.unwrap();
    assert_eq!(world.seated(&open).await, 0, "taken seats, without the host's");
    world.advance(Duration::minutes(16));
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(21));
    rooms.pass().await.unwrap();
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn waiting_user_does_not_keep_the_session_open(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.execute("update live_room_sessions set auto_admit = false").await;
    join(&rooms, &open, "patient").await;
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn empty_session_ends_when_livekit_lost_its_room(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    world.server().restart();
    world.server().faults().set("ListParticipants", refused());
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    assert_eq!(world.session_status(&open).await, LiveStatus::Live, "the participants could not be listed");
    world.server().faults().clear();
    rooms.announce_ends().await.unwrap();
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    world.assert_ended(&open).await;
    assert_eq!(world.live_record(&open).await.generation, 1, "no new generation was needed");
}

#[testkit::test]
async fn session_past_its_planned_end_ends_when_empty(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect).await;
    world.alter(open.session, "ends_at", "app_now() + interval '10 minutes'").await;
    join(&rooms, &open, "ann").await;
    world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    world.advance(Duration::minutes(60));
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the end of the live session is not announced");
    world.exit(&open, "ann").await;
    world.confirm_gone(&rooms, &open).await;
    world.pass_and_check(&rooms, &open).await;
    assert!(!world.closes(&open).await, "the seat is held after a disconnect");
    world.advance(Duration::minutes(2));
    world.pass_and_check(&rooms, &open).await;
    assert!(world.closes(&open).await, "the end is announced at once");
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    world.assert_ended(&open).await;
}

#[testkit::test]
async fn announced_end_is_renewed_when_not_carried_out(connect: PgConnectOptions) {
    let (world, rooms, open) = closing(connect).await;
    for wait in [Duration::minutes(3), Duration::hours(-2)] {
        world.advance(wait);
        rooms.announce_ends().await.unwrap();
        let record = world.live_record(&open).await;
        let left = record.closing_at.unwrap() - record.now;
        assert!((Duration::seconds(15)..=Duration::seconds(20)).contains(&left), "{left}");
        assert!(world.marks(record.id.0).await > 0, "after {wait}");
    }
}

#[testkit::test]
async fn auto_end_is_finished_after_a_crash(world: World) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let open = world.live(&steady, 5).await;
        world.advance(Duration::minutes(16));
        let announced = cut(polls, rooms.announce_ends()).await.is_some();
        testkit::eventually("the cut work has ended", || world.quiet()).await;
        steady.announce_ends().await.unwrap();
        assert!(world.closes(&open).await, "the end of the live session is announced");
        world.advance(Duration::seconds(21));
        let record = world.live_record(&open).await;
        let ended = cut(polls, rooms.finish_auto_end(&record, true)).await.is_some();
        // The end is atomic: the session goes on unchanged, or it is over and its room will be deleted.
        if world.session_status(&open).await == LiveStatus::Live {
            world.pass_and_check(&steady, &open).await;
        }
        world.make_due().await;
        steady.drain().await.unwrap();
        steady.pass().await.unwrap();
        world.assert_ended(&open).await;
        let closed = rooms.live.join_live_room(&person("ann"), LiveRoomId(open.room.id)).await;
        assert_eq!(
            crate::harness::reason(closed),
            chassis::status::Reason::RoomNotActive,
            "after {polls} polls"
        );
        if announced && ended {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
}
