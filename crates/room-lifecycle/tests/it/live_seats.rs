//! Seats: never more than there are, never lost to a short disconnect, and always what LiveKit shows (I6).

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, Owner, SeatRole};
use livekit_dev::Fault;
use proto::types::v1::Caller;
use room_lifecycle::{
    Rooms,
    store::{self, Record, live::seats::Seat},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::seed::live::{self, LiveRoom};
use time::Duration;
use uuid::Uuid;

use crate::{
    crashes::{cut, cuts},
    harness::{Replica, World, reason},
    webhooks::event,
};

/// A live room with an open session.
pub struct Open {
    pub room: LiveRoom,
    pub session: Uuid,
}

pub fn person(id: &str) -> Caller {
    Caller { user_id: id.to_owned(), name: format!("Name of {id}"), ..Caller::default() }
}

pub const VIEWER: Seat = Seat { role: SeatRole::Guest, lobby_status: LobbyStatus::Admitted };
pub const WAITING: Seat = Seat { role: SeatRole::Guest, lobby_status: LobbyStatus::Waiting };

/// A seat as it is written, without the times.
#[derive(Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each column")]
pub struct Written {
    pub lobby_status: LobbyStatus,
    pub joined: bool,
    pub left: bool,
    pub disconnected: bool,
    pub held: bool,
    pub sid: Option<String>,
}

impl World {
    /// A session in a room of its own, in this state, for so many people.
    pub async fn open(&self, status: LiveStatus, places: i32) -> Open {
        let host = format!("host-{}", Uuid::new_v4().simple());
        let room = live::live_room(&self.pool, &host).await;
        let session = live::live_session(&self.pool, &room, status).await;
        self.alter(session, "max_participants", &places.to_string()).await;
        Open { room, session }
    }

    /// Live, with its room on LiveKit.
    pub async fn live(&self, rooms: &Rooms, places: i32) -> Open {
        let open = self.open(LiveStatus::Live, places).await;
        rooms.ensure(Owner::LiveSession(open.session), false).await.unwrap();
        open
    }

    /// Sets one column of a session.
    pub async fn alter(&self, session: Uuid, column: &str, value: &str) {
        self.execute(&format!("update live_room_sessions set {column} = {value} where id = '{session}'"))
            .await;
    }

    pub async fn live_record(&self, open: &Open) -> Record {
        store::find_record(&self.pool, open.session).await.unwrap().unwrap()
    }

    pub async fn enter(&self, open: &Open, who: &str) -> String {
        let record = self.live_record(open).await;
        self.join(&record.room_name, who).sid
    }

    pub async fn exit(&self, open: &Open, who: &str) {
        let record = self.live_record(open).await;
        self.server().leave(&record.room_name, who).unwrap();
    }

    /// A look at the room.
    pub async fn see(&self, rooms: &Rooms, open: &Open) {
        let record = self.live_record(open).await;
        assert_eq!(rooms.reconcile(&[record.id]).await.unwrap(), [record.id]);
    }

    /// They left LiveKit and two looks agree on it.
    pub async fn see_gone(&self, rooms: &Rooms, open: &Open) {
        self.see(rooms, open).await;
        self.pass_time(Duration::seconds(6));
        self.see(rooms, open).await;
    }

    pub async fn written(&self, open: &Open, who: &str) -> Written {
        sqlx::query_as!(
            Written,
            r#"select lobby_status as "lobby_status: LobbyStatus", joined_at is not null as "joined!",
                      left_at is not null as "left!", disconnected_at is not null as "disconnected!",
                      held_until is not null as "held!", participant_sid as sid
               from live_room_attendance where session_id = $1 and user_id = $2"#,
            open.session,
            who
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    /// Viewers now, the peak, and whether the host is there, by session and room.
    pub async fn numbers(&self, open: &Open) -> (i32, i32, bool) {
        let row = sqlx::query!(
            r#"select p.viewer_count as "viewers!", p.peak_viewers as "peak!", r.host_present,
                      s.host_present as session_says
               from live_stream_projection p join live_rooms r on r.id = p.id
               join live_room_sessions s on s.id = $2
               where p.id = $1"#,
            open.room.id,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(row.host_present, row.session_says);
        (row.viewers, row.peak, row.host_present)
    }

    /// How many admitted seats are taken, the host's not counted.
    pub async fn seated(&self, open: &Open) -> i64 {
        sqlx::query_scalar!(
            r#"select count(*) as "n!" from live_room_attendance
               where session_id = $1 and left_at is null and lobby_status = 'admitted' and role <> 'host'"#,
            open.session
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }
}

pub async fn join(rooms: &Rooms, open: &Open, who: &str) -> Seat {
    let (seat, session) = rooms.join_live_room(&person(who), open.room.id).await.unwrap();
    assert_eq!(session, open.session);
    seat
}

pub async fn refused(rooms: &Rooms, open: &Open, who: &str) -> Reason {
    reason(rooms.join_live_room(&person(who), open.room.id).await)
}

/// Somebody who has a seat and is seen on LiveKit.
async fn seen(world: &World, rooms: &Rooms, open: &Open, who: &str) -> String {
    join(rooms, open, who).await;
    let sid = world.enter(open, who).await;
    world.see(rooms, open).await;
    assert!(world.written(open, who).await.joined);
    sid
}

async fn world(connect: PgConnectOptions, places: i32) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, places).await;
    (world, rooms, open)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn of_fifty_people_for_the_last_three_seats_three_get_one(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    let other = world.rooms().await;
    for early in ["ann", "ben"] {
        assert_eq!(join(&rooms, &open, early).await, VIEWER);
    }
    let joins = (0..50).map(|n| {
        let replica = Rooms::clone(if n % 2 == 0 { &rooms } else { &other });
        let room = open.room.id;
        tokio::spawn(async move { replica.join_live_room(&person(&format!("viewer-{n}")), room).await })
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
    assert_eq!(host.role, SeatRole::Host, "he needs no place");
    assert_eq!(join(&rooms, &open, "ann").await, VIEWER, "who has a seat has it");
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
    rooms.leave_live_room(&person("ann"), open.room.id).await.unwrap();
    world.exit(&open, "ann").await;
    rooms.disconnect_from_live_room(&person("ben"), open.room.id).await.unwrap();
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
        let seat = rooms.leave_live_room(&person("ann"), open.room.id).await.unwrap();
        assert_eq!(seat, Some(VIEWER));
    }
    world.see(&rooms, &open).await; // LiveKit has not noticed yet
    assert!(world.written(&open, "ann").await.left);
    // Who is still there long after that has not left.
    world.pass_time(Duration::seconds(31));
    world.see(&rooms, &open).await;
    assert!(!world.written(&open, "ann").await.left);
    let nobody = rooms.leave_live_room(&person("a-stranger"), open.room.id).await.unwrap();
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
        rooms.disconnect_from_live_room(&person("ann"), open.room.id).await.unwrap();
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
    assert_eq!((record.owner(), record.generation), (Owner::LiveSession(open.session), 2));
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
    assert!(rooms.kick(Owner::LiveSession(open.session), "ann").await.unwrap());
    world.see(&rooms, &open).await;
    assert!(world.written(&open, "ann").await.left);
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Kicked);
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_join_that_meets_the_end_gets_no_seat(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    let mut end = world
        .hold(&format!(
            "update live_room_sessions set status = 'ended', ended_at = app_now() where id = '{}';
             select settle_live_room('{}')",
            open.session, open.room.id
        ))
        .await;
    let late = tokio::spawn({
        let (rooms, room) = (Rooms::clone(&rooms), open.room.id);
        async move { rooms.join_live_room(&person("ann"), room).await }
    });
    testkit::eventually("the join waits for the session", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut end).await.unwrap();
    assert_eq!(reason(late.await.unwrap()), Reason::RoomNotActive);
    assert_eq!(world.seated(&open).await, 0);
}

/// Everything that writes seats, at once, and again and again: nobody waits in a circle, nobody is too many.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_crowd_that_comes_and_goes_never_has_more_seats_than_there_are(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect, 4).await;
    let other = world.rooms().await;
    let record = world.live_record(&open).await;
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..12 {
        let (rooms, room) = (Rooms::clone(if n % 2 == 0 { &rooms } else { &other }), open.room.id);
        crowd.spawn(async move {
            let one = person(&format!("viewer-{n}"));
            for _ in 0..5 {
                match rooms.join_live_room(&one, room).await {
                    Ok(_) => drop(rooms.disconnect_from_live_room(&one, room).await.unwrap()),
                    full => assert_eq!(reason(full), Reason::RoomFull),
                }
                rooms.leave_live_room(&one, room).await.unwrap();
            }
        });
    }
    for n in 0..4 {
        world.join(&record.room_name, &format!("viewer-{n}"));
    }
    for replica in [&rooms, &other] {
        let (rooms, id) = (Rooms::clone(replica), record.id);
        crowd.spawn(async move {
            for _ in 0..5 {
                rooms.reconcile(&[id]).await.unwrap();
                rooms.release_held().await.unwrap();
                rooms.settle_live_rooms().await.unwrap();
            }
        });
    }
    while let Some(done) = crowd.join_next().await {
        assert!(world.seated(&open).await <= 4);
        done.unwrap();
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn joins_and_leaves_that_die_anywhere_leave_no_half_a_seat(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, open) = world(connect, 1).await;
    let steady = world.rooms().await;
    for polls in cuts() {
        let died = cut(polls, rooms.join_live_room(&person("ann"), open.room.id)).await.is_none();
        assert!(world.seated(&open).await <= 1);
        assert_eq!(join(&steady, &open, "ann").await, VIEWER);
        assert_eq!(refused(&steady, &open, "ben").await, Reason::RoomFull);
        let left = cut(polls, rooms.leave_live_room(&person("ann"), open.room.id)).await.is_some();
        steady.leave_live_room(&person("ann"), open.room.id).await.unwrap();
        assert_eq!(join(&steady, &open, "ben").await, VIEWER);
        steady.leave_live_room(&person("ben"), open.room.id).await.unwrap();
        if left && !died {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
    // Presence that is written down only in half is made whole by the next look.
    for polls in cuts() {
        seen(&world, &steady, &open, "ann").await;
        let record = world.live_record(&open).await;
        world.execute("update live_room_attendance set joined_at = null, held_until = app_now()").await;
        let whole = cut(polls, rooms.project_presence(record.id)).await.is_some();
        world.see(&steady, &open).await;
        assert_eq!(world.numbers(&open).await.0, 1);
        if whole {
            break;
        }
    }
}
