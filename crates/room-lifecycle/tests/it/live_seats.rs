//! Seats: never more than the limit, kept during a short disconnect, and always as LiveKit shows them (I6).

use chassis::status::Reason;
use domain::{LiveRoomId, LiveSessionId, LobbyStatus, Owner, SeatRole};
use livekit_dev::Fault;
use room_lifecycle::live::store::seats::Seat;
use sqlx::postgres::PgConnectOptions;
use testkit::seed::live;
use time::Duration;

use crate::{
    harness::{
        Replica, Service, World,
        seats::{Open, SeatRow, VIEWER, join, person, refused},
    },
    webhooks::event,
};

/// A user takes a seat, connects to LiveKit, and a check finds them. Returns the participant's SID.
pub async fn join_and_connect(world: &World, rooms: &Service, open: &Open, who: &str) -> String {
    join(rooms, open, who).await;
    let sid = world.enter(open, who).await;
    world.check_live(rooms, open).await;
    assert!(world.seat_row(open, who).await.joined, "{who}");
    sid
}

pub async fn world(connect: PgConnectOptions, max_participants: i32) -> (World, Replica, Open) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let open = world.live(&rooms, max_participants).await;
    (world, rooms, open)
}

#[testkit::test]
async fn join_writes_nothing_when_the_seat_exists(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    // A write of the join or the check would wait for this lock.
    let _locked = world
        .hold(&format!("select from live_room_sessions where id = '{}' for no key update", open.session))
        .await;
    for _ in 0..3 {
        assert_eq!(join(&rooms, &open, "ann").await, VIEWER);
    }
    world.check_live(&rooms, &open).await; // a check that finds no change writes nothing either
}

#[testkit::test]
async fn seat_is_kept_for_a_disconnect_of_two_minutes(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    let old = join_and_connect(&world, &rooms, &open, "ann").await;
    sqlx::query!("update live_room_attendance set role = 'speaker' where user_id = 'ann'")
        .execute(&world.pool)
        .await
        .unwrap();
    world.exit(&open, "ann").await;
    world.confirm_gone(&rooms, &open).await;
    assert!(world.seat_row(&open, "ann").await.disconnected);
    world.advance(Duration::seconds(115));
    rooms.live.release_held().await.unwrap();
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
    let speaker = Seat { role: SeatRole::Speaker, lobby_status: LobbyStatus::Admitted };
    assert_eq!(join(&rooms, &open, "ann").await, speaker, "the same seat and role");
    world.advance(Duration::seconds(50));
    rooms.live.release_held().await.unwrap();
    let new = world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    let there = SeatRow {
        lobby_status: LobbyStatus::Admitted,
        joined: true,
        left: false,
        disconnected: false,
        held: false,
        sid: Some(new.clone()),
    };
    assert_eq!(world.seat_row(&open, "ann").await, there);
    assert_ne!(new, old);
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
}

#[testkit::test]
async fn seat_is_lost_after_a_disconnect_of_over_two_minutes(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    world.exit(&open, "ann").await;
    world.confirm_gone(&rooms, &open).await;
    world.advance(Duration::seconds(121));
    // A seat with an expired hold is free, whether released or not.
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::RoomFull);
    rooms.live.release_held().await.unwrap();
    assert!(world.seat_row(&open, "ann").await.left);
    assert_eq!(world.seated(&open).await, 1, "taken seats, without the host's");
}

#[testkit::test]
async fn seat_is_released_when_not_connected_for_a_minute(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join(&rooms, &open, "ann").await;
    world.advance(Duration::seconds(55));
    rooms.live.release_held().await.unwrap();
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
    world.advance(Duration::seconds(10));
    rooms.live.release_held().await.unwrap();
    assert!(world.seat_row(&open, "ann").await.left);
    // A late participant counts, because LiveKit shows them.
    world.enter(&open, "ann").await;
    world.check_live(&rooms, &open).await;
    assert!(!world.seat_row(&open, "ann").await.left);
    assert_eq!(refused(&rooms, &open, "ben").await, Reason::RoomFull);
}

#[testkit::test]
async fn hold_is_no_longer_when_the_clock_was_set_back(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join(&rooms, &open, "ann").await;
    world.advance(Duration::hours(-3));
    rooms.live.release_held().await.unwrap();
    world.advance(Duration::seconds(121));
    rooms.live.release_held().await.unwrap();
    assert!(world.seat_row(&open, "ann").await.left);
}

#[testkit::test]
async fn second_tab_replaces_the_first_and_counts_once(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    let first = join_and_connect(&world, &rooms, &open, "ann").await;
    let second = join_and_connect(&world, &rooms, &open, "ann").await;
    assert_ne!(first, second);
    assert_eq!(world.seat_row(&open, "ann").await.sid.as_deref(), Some(second.as_str()));
    assert_eq!(world.numbers(&open).await, (1, 1, false), "viewers, peak, host present");
    // A late webhook about the first connection does not concern the second one.
    let record = world.live_record(&open).await;
    let body = event("EV_late", "participant_left", &record, "ann", &first);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    world.check_live(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false), "viewers, peak, host present");
}

#[testkit::test]
async fn viewers_are_connected_guests_without_the_host(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    join(&rooms, &open, "not-connected").await;
    join_and_connect(&world, &rooms, &open, &open.room.host).await;
    assert_eq!(world.numbers(&open).await, (0, 0, true), "viewers, peak, host present");
    for who in ["ann", "ben", "eve"] {
        join_and_connect(&world, &rooms, &open, who).await;
    }
    assert_eq!(world.numbers(&open).await, (3, 3, true), "viewers, peak, host present");
    rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
    world.exit(&open, "ann").await;
    rooms.live.disconnect_from_live_room(&person("ben"), LiveRoomId(open.room.id)).await.unwrap();
    world.exit(&open, "ben").await;
    world.exit(&open, &open.room.host).await;
    assert_eq!(world.numbers(&open).await, (1, 3, true), "leave and disconnect count at once");
    world.confirm_gone(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 3, false), "viewers, peak, host present");
    let (ann, ben) = (world.seat_row(&open, "ann").await, world.seat_row(&open, "ben").await);
    assert_eq!((ann.left, ann.held), (true, false), "the seat is given up");
    assert_eq!((ben.left, ben.held), (false, true), "the seat is held");
    // After the return they count as a viewer only once a check finds them.
    join(&rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await, (1, 3, false), "viewers, peak, host present");
}

#[testkit::test]
async fn seat_stays_given_up_until_the_user_returns(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    for _ in 0..2 {
        let seat = rooms.live.leave_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
        assert_eq!(seat, Some(VIEWER));
    }
    world.check_live(&rooms, &open).await; // LiveKit still lists the participant
    assert!(world.seat_row(&open, "ann").await.left);
    // A participant who is still connected long after that has not left.
    world.advance(Duration::seconds(31));
    world.check_live(&rooms, &open).await;
    assert!(!world.seat_row(&open, "ann").await.left);
    let stranger = rooms.live.leave_live_room(&person("a-stranger"), LiveRoomId(open.room.id)).await.unwrap();
    assert_eq!(stranger, None);
}

#[testkit::test]
async fn repeated_disconnect_keeps_the_first_time(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    world.exit(&open, "ann").await;
    for _ in 0..3 {
        rooms.live.disconnect_from_live_room(&person("ann"), LiveRoomId(open.room.id)).await.unwrap();
        world.advance(Duration::seconds(41));
    }
    rooms.live.release_held().await.unwrap();
    assert!(
        !world.seat_row(&open, "ann").await.left,
        "the user may be connected until a check says otherwise"
    );
    world.confirm_gone(&rooms, &open).await;
    rooms.live.release_held().await.unwrap();
    assert!(world.seat_row(&open, "ann").await.left);
}

#[testkit::test]
async fn seat_is_kept_when_one_check_misses_the_viewer(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 5).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    world.server().faults().set_next("ListParticipants", 1, Fault::OmitParticipant("ann".to_owned()));
    world.check_live(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false), "viewers, peak, host present");
    world.advance(Duration::seconds(10));
    world.check_live(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (1, 1, false), "viewers, peak, host present");
}

#[testkit::test]
async fn seats_are_kept_when_livekit_restarts(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 2).await;
    for who in ["ann", "ben"] {
        join_and_connect(&world, &rooms, &open, who).await;
    }
    world.server().restart();
    world.check_live(&rooms, &open).await;
    let record = world.live_record(&open).await;
    assert_eq!((record.owner(), record.generation), (Owner::LiveSession(LiveSessionId(open.session)), 2));
    world.confirm_gone(&rooms, &open).await;
    assert_eq!(world.numbers(&open).await, (0, 2, false), "viewers, peak, host present");
    world.advance(Duration::seconds(100));
    rooms.live.release_held().await.unwrap();
    for who in ["ann", "ben"] {
        assert_eq!(join(&rooms, &open, who).await, VIEWER, "{who}");
        join_and_connect(&world, &rooms, &open, who).await;
    }
    assert_eq!(world.numbers(&open).await, (2, 2, false), "viewers, peak, host present");
}

/// Three users join, leave and rejoin. Their webhooks are dropped (None), or delivered this many times, backwards if
/// the flag is set.
async fn scenario(world: &World, rooms: &Service, delivery: Option<(usize, bool)>) -> Vec<SeatRow> {
    let open = world.live(rooms, 5).await;
    let record = world.live_record(&open).await;
    let mut events = Vec::new();
    let mut record_event = |kind: &str, who: &str, sid: &str| {
        events.push(event(&format!("EV_{kind}_{sid}"), kind, &record, who, sid));
    };
    for who in ["ann", "ben", "eve"] {
        join(rooms, &open, who).await;
        record_event("participant_joined", who, &world.enter(&open, who).await);
    }
    world.check_live(rooms, &open).await;
    let old = world.seat_row(&open, "ben").await.sid.unwrap();
    world.exit(&open, "ann").await;
    record_event("participant_left", "ann", &world.seat_row(&open, "ann").await.sid.unwrap());
    record_event("participant_joined", "ben", &world.enter(&open, "ben").await);
    record_event("participant_left", "ben", &old);
    if let Some((times, backwards)) = delivery {
        if backwards {
            events.reverse();
        }
        for _ in 0..times {
            for body in &events {
                rooms.webhooks.receive(&world.signed(body), body).await.unwrap();
                rooms.drain().await.unwrap();
            }
        }
    }
    for _ in 0..2 {
        world.confirm_gone(rooms, &open).await;
    }
    let mut seats = Vec::new();
    for who in ["ann", "ben", "eve"] {
        seats.push(SeatRow { sid: None, ..world.seat_row(&open, who).await });
    }
    assert_eq!(world.numbers(&open).await, (2, 3, false), "viewers, peak, host present");
    seats
}

#[testkit::test]
async fn seats_are_the_same_when_webhooks_are_lost_or_reordered(world: World) {
    let rooms = world.rooms().await;
    let undelivered = scenario(&world, &rooms, None).await;
    for delivery in [(1, false), (3, false), (3, true)] {
        assert_eq!(scenario(&world, &rooms, Some(delivery)).await, undelivered, "{delivery:?}");
    }
}

#[testkit::test]
async fn seats_by_other_writers_are_corrected_from_livekit(connect: PgConnectOptions) {
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
        world.check_live(&rooms, &open).await;
    }
    assert_eq!(world.numbers(&open).await, (1, 1, false), "viewers, peak, host present");
    let (there, gone) = (world.seat_row(&open, "there").await, world.seat_row(&open, "not-there").await);
    assert_eq!((there.joined, there.held), (true, false));
    assert_eq!((gone.disconnected, gone.held), (true, true));
}

#[testkit::test]
async fn kicked_viewers_seat_is_closed(connect: PgConnectOptions) {
    let (world, rooms, open) = world(connect, 1).await;
    join_and_connect(&world, &rooms, &open, "ann").await;
    assert!(
        rooms.kick(Owner::LiveSession(LiveSessionId(open.session)), "ann").await.unwrap(),
        "the kicked user was in the room"
    );
    world.check_live(&rooms, &open).await;
    assert!(world.seat_row(&open, "ann").await.left);
    assert_eq!(refused(&rooms, &open, "ann").await, Reason::Kicked);
    assert_eq!(join(&rooms, &open, "ben").await, VIEWER);
}
