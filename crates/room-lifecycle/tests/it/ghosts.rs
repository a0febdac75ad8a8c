//! Participants of a crash leave, and no living one is taken for one of them.

use domain::{LiveStatus, RoomStatus};
use livekit_dev::{Code, Fault, Store};
use room_lifecycle::{Rooms, store::Record};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    harness::{
        Booking, Replica, World, owner,
        seats::{Open, join},
    },
    webhooks::event,
};

/// A booking with its host and its guest inside, on a LiveKit with Redis.
struct Meeting {
    booking: Booking,
    record: Record,
}

async fn world(connect: PgConnectOptions) -> (World, Replica) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let rooms = world.rooms().await;
    (world, rooms)
}

impl World {
    async fn watched_meeting(&self, rooms: &Rooms) -> Meeting {
        let (booking, record) = self.open_room(rooms).await;
        let meeting = Meeting { booking, record };
        self.enter_meeting(rooms, &meeting, &meeting.booking.host).await;
        self.enter_meeting(rooms, &meeting, &meeting.booking.guest).await;
        assert_eq!(self.both(&meeting).await, ["joined", "joined"]);
        meeting
    }

    /// Joins, and a check finds them.
    async fn enter_meeting(&self, rooms: &Rooms, meeting: &Meeting, who: &str) -> String {
        let sid = self.join(&meeting.record.room_name, who).sid;
        self.check_meeting(rooms, meeting).await;
        sid
    }

    async fn check_meeting(&self, rooms: &Rooms, meeting: &Meeting) {
        let id = meeting.record.id;
        assert_eq!(rooms.reconcile(&[id]).await.unwrap(), [id]);
    }

    async fn both(&self, meeting: &Meeting) -> [String; 2] {
        let booking = &meeting.booking;
        [self.status(booking, &booking.host).await, self.status(booking, &booking.guest).await]
    }

    /// Turns of one second each.
    async fn turns(&self, rooms: &Rooms, seconds: u32) {
        for _ in 0..seconds {
            self.pass_time(Duration::SECOND);
            rooms.watch_ghosts().await.unwrap();
        }
    }

    fn probes(&self) -> u64 {
        self.server().calls("UpdateSubscriptions")
    }

    /// A webhook about this participant.
    async fn tell(&self, rooms: &Rooms, record: &Record, kind: &str, who: &str, sid: &str) {
        let body = event(&format!("EV_{kind}_{sid}"), kind, record, who, sid);
        rooms.receive_webhook(&self.signed(&body), &body).await.unwrap();
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn participants_of_a_crash_leave_within_a_minute(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
    let (world, rooms) = world(connect).await;
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
async fn room_of_ghosts_is_replaced_after_a_minute(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 70).await;
    world.server().restart();
    world.turns(&rooms, 59).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
    assert_eq!(world.names(), std::slice::from_ref(&meeting.record.room_name), "clients may still come back");
    world.turns(&rooms, 20).await;
    let next = world.record(&meeting.booking).await;
    assert_eq!(next.generation, 2);
    assert!(world.names().contains(&next.room_name));
    assert!(world.server().participants(&next.room_name).is_empty());
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_of_ghosts_is_replaced_with_a_kicked_one_in_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 70).await;
    world.server().restart();
    assert!(rooms.kick(owner(&meeting.booking), &meeting.booking.guest).await.unwrap());
    world.turns(&rooms, 79).await;
    assert_eq!(world.both(&meeting).await, ["left", "kicked"]);
    assert_eq!(world.record(&meeting.booking).await.generation, 2);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_of_ghosts_is_kept_when_someone_comes(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 70).await;
    world.server().restart();
    world.turns(&rooms, 59).await;
    // During the last probes: the list before them lacks the newcomer, and the webhook is late.
    world.join(&meeting.record.room_name, "newcomer");
    for _ in 0..20 {
        let fault = Fault::OmitParticipant("newcomer".to_owned());
        world.server().faults().set_next("ListParticipants", 1, fault);
        world.turns(&rooms, 1).await;
        world.server().faults().clear();
    }
    assert_eq!(world.record(&meeting.booking).await.generation, 1);
    assert!(world.inside(&meeting.record.room_name).contains(&"newcomer".to_owned()));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_of_ghosts_is_kept_for_a_minute_after_an_outage(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.turns(&rooms, 50).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
    let booking = world.watched_meeting(&rooms).await;
    world.server().faults().set("*", Fault::BadGateway);
    world.turns(&rooms, 20).await;
    world.server().faults().clear();
    world.turns(&rooms, 59).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 1);
    world.turns(&rooms, 20).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 2);
    assert_eq!(world.both(&booking).await, ["joined", "joined"]);
}

/// LiveKit's list can lack a participant that is there (livekit.md §3).
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_is_kept_while_an_unlisted_participant_answers(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    let host = meeting.booking.host.clone();
    world.server().restart();
    world.turns(&rooms, 30).await;
    let sid = world.join(&meeting.record.room_name, &host).sid;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant(host.clone()));
    world.tell(&rooms, &meeting.record, "participant_joined", &host, &sid).await;
    world.turns(&rooms, 150).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 1);
    assert_eq!(world.server().connected(&meeting.record.room_name)[0].sid, sid);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn ghost_that_answers_has_joined(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
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

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn probes_are_five_a_second_and_the_quietest_come_first(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let mut meetings = Vec::new();
    for _ in 0..8 {
        meetings.push(world.watched_meeting(&rooms).await);
    }
    for meeting in &meetings[..3] {
        for who in [&meeting.booking.host, &meeting.booking.guest] {
            let kind = if *who == meeting.booking.host { "participant_joined" } else { "track_published" };
            world.tell(&rooms, &meeting.record, kind, who, &format!("PA_{who}")).await;
        }
    }
    world.pass_time(Duration::seconds(15)); // all are due
    world.turns(&rooms, 1).await;
    let quiet = sqlx::query_scalar!(
        r#"select distinct room_id as "room!" from livekit_participants where checked_at > '-infinity'
           and not exists (select from livekit_events e where e.room_id = livekit_participants.room_id
                           and e.event_id like 'EV%')"#
    );
    assert_eq!(quiet.fetch_all(&world.pool).await.unwrap().len(), 5, "all five that were quiet");
    for seconds in 1..=3 {
        assert!(world.probes() <= 5 * seconds, "{} probes in {seconds} s", world.probes());
        world.turns(&rooms, 1).await;
    }
    world.turns(&rooms, 40).await;
    let spared = world.probes();
    assert!((16..=80).contains(&spared), "{spared}: no participant is probed more often than every 10 s");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn rooms_are_probed_at_fifty_a_second_after_a_crash(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    // As many rooms that LiveKit does not have: no node answers for their people, either.
    world
        .execute(
            "with booked as (
                 insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
                 select 'h' || i, 'g' || i, 'h' || i, 't', app_now(), 60, 'u' from generate_series(1, 120) i
                 returning id),
             rooms as (
                 insert into livekit_rooms (session_id, room_name, room_sid, status, max_participants, made_at)
                 select id, 'session-' || id, 'RM_' || id, 'active', 5, app_now() from booked
                 returning id)
             insert into livekit_participants (room_id, user_id, role, status, participant_sid)
             select id, role, role, 'joined', 'PA_' || role from rooms cross join (values ('host'), ('guest')) r (role)",
        )
        .await;
    world.server().restart();
    world.turns(&rooms, 1).await;
    assert_eq!(world.probes(), 5);
    world.turns(&rooms, 1).await;
    assert!((100..=5 + 100 + 5).contains(&world.probes()), "{}: 50 rooms", world.probes());
    world.turns(&rooms, 30).await;
    let left = sqlx::query_scalar!("select count(*) from livekit_participants where status = 'left'");
    assert_eq!(left.fetch_one(&world.pool).await.unwrap(), Some(242));
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn one_replica_at_a_time_probes(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let other = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 1).await;
    let probed = world.probes();
    assert!(probed > 0);
    world.pass_time(Duration::seconds(20));
    other.watch_ghosts().await.unwrap();
    assert_eq!(world.probes(), probed);
    world.pass_time(Duration::seconds(11));
    other.watch_ghosts().await.unwrap();
    assert!(world.probes() > probed, "the first one has stopped");
    world.server().restart();
    world.turns(&other, 30).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn clock_that_is_set_back_stops_no_probe(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    world.turns(&rooms, 30).await;
    world.server().restart();
    world.turns(&rooms, 5).await;
    world.pass_time(Duration::minutes(-30));
    world.turns(&rooms, 40).await;
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
    world.pass_time(Duration::minutes(-30));
    world.turns(&rooms, 100).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 2);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn probe_rooms_are_deleted(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    let created = world.server().calls("CreateRoom");
    world.turns(&rooms, 30).await;
    assert_eq!(world.server().calls("CreateRoom"), created, "while nothing is wrong there are none");
    world.server().restart();
    world.server().faults().set_next("DeleteRoom", 3, Fault::BadGateway);
    world.turns(&rooms, 30).await;
    assert!(world.server().calls("CreateRoom") > created);
    assert_eq!(world.both(&meeting).await, ["left", "left"]);
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), [meeting.record.room_name]);
}

/// A copy of the database does not touch the original's LiveKit.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn no_participant_is_probed_where_deletion_is_off(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    world.watched_meeting(&rooms).await;
    world.execute("update deployment set database_identity = 'another'").await;
    rooms.pass().await.unwrap();
    world.turns(&rooms, 30).await;
    assert_eq!(world.probes(), 0);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn departure_that_a_probe_meets_raises_no_alarm(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms) = world(connect).await;
    let meeting = world.watched_meeting(&rooms).await;
    let guest = meeting.booking.guest.clone();
    let left = world.server().participants(&meeting.record.room_name);
    let sid = left.into_iter().find(|one| one.identity == guest).unwrap().sid;
    world.server().leave(&meeting.record.room_name, &guest).unwrap();
    world.pass_time(Duration::SECOND);
    let turn = tokio::spawn({
        let rooms = Rooms::clone(&rooms);
        async move { rooms.watch_ghosts().await }
    });
    world.reached("UpdateSubscriptions", 2).await;
    world.tell(&rooms, &meeting.record, "participant_left", &guest, &sid).await;
    turn.await.unwrap().unwrap();
    let alarms = sqlx::query_scalar!("select count(*) from ghost_watch where alarmed_at is not null");
    assert_eq!(alarms.fetch_one(&world.pool).await.unwrap(), Some(0));
    world.check_meeting(&rooms, &meeting).await;
    world.turns(&rooms, 30).await;
    assert_eq!(world.both(&meeting).await, ["joined", "left"]);
}
