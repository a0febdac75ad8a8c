//! Stuck rooms: however a room was left, "Go live" works, and one pass brings it into order. And what time does.

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, SeatRole};
use proto::types::v1::{LiveStatus as Status, Readiness};
use room_lifecycle::live::decide::Verb;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::seed::live::{live_session, seat};
use time::Duration;

use crate::harness::{World, hosts::Host};

/// Every way in which a room was ever left: its name, and the SQL that leaves it so. `$room`, `$session` (ended),
/// `$other` (the session of another room).
const STUCK: [(&str, &str); 13] = [
    ("live with nothing", "update live_rooms set status = 'live' where id = $room"),
    ("lobby with nothing", "update live_rooms set status = 'lobby' where id = $room"),
    ("scheduled with nothing", "update live_rooms set status = 'scheduled' where id = $room"),
    (
        "live with an ended session",
        "update live_rooms set status = 'live', current_session_id = $session where id = $room",
    ),
    (
        "lobby with a cancelled session",
        "update live_room_sessions set status = 'cancelled' where id = $session;
         update live_rooms set status = 'lobby', current_session_id = $session where id = $room",
    ),
    (
        "another room's session",
        "update live_rooms set status = 'live', current_session_id = $other where id = $room",
    ),
    ("idle with a session", "update live_rooms set current_session_id = $session where id = $room"),
    ("a host in an idle room", "update live_rooms set host_present = true where id = $room"),
    (
        "an open session nobody points to",
        "insert into live_room_sessions (room_id, status, created_by, started_at) values ($room, 'live', 'x', app_now())",
    ),
    (
        "an open session that another is shown for",
        "insert into live_room_sessions (room_id, status, created_by) values ($room, 'lobby', 'x');
         update live_rooms set status = 'live', current_session_id = $session where id = $room",
    ),
    (
        "open and ended at once",
        "insert into live_room_sessions (room_id, status, created_by, ended_at)
         values ($room, 'live', 'x', app_now());
         update live_rooms set status = 'live', current_session_id = (select id from live_room_sessions
             where room_id = $room and status = 'live') where id = $room",
    ),
    ("over without an end", "update live_room_sessions set ended_at = null where id = $session"),
    (
        "a seat in what is over",
        "insert into live_room_attendance (session_id, live_room_id, user_id) values ($session, $room, 'ana')",
    ),
];

async fn leave_stuck(world: &World, how: &str) -> Host {
    let (host, session) = world.host_with(LiveStatus::Ended).await;
    let (_, other) = world.host_with(LiveStatus::Live).await;
    let literal = |id: uuid::Uuid| format!("'{id}'::uuid");
    let sql = how
        .replace("$room", &literal(host.room.id))
        .replace("$session", &literal(session))
        .replace("$other", &literal(other));
    world.execute(&sql).await;
    host
}

async fn unsettled(world: &World) -> usize {
    let rooms = sqlx::query_scalar!("select id from stale_live_rooms");
    rooms.fetch_all(&world.pool).await.unwrap().len()
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn going_live_works_however_a_room_was_left(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for (kind, how) in STUCK {
        let host = leave_stuck(&world, how).await;
        assert_eq!(unsettled(&world).await, 1, "{kind}");
        let answer = host.go_live(&rooms).await.unwrap_or_else(|refusal| panic!("{kind}: {refusal}"));
        let (room, session) = (answer.room.unwrap(), answer.session.unwrap());
        assert_eq!(room.current_session_id(), session.id, "{kind}");
        assert!(matches!(session.status(), Status::Live | Status::Lobby), "{kind}: {:?}", session.status());
        assert_eq!(session.livekit(), Readiness::Ready, "{kind}");
        assert_eq!(unsettled(&world).await, 0, "{kind}");
    }
    rooms.pass().await.unwrap(); // the other rooms' sessions were written by hand
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn one_pass_settles_every_kind_of_stuck_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    for (_, how) in STUCK {
        leave_stuck(&world, how).await;
    }
    assert_eq!(unsettled(&world).await, STUCK.len());
    assert!(world.stuck().await > 0);
    let (one, two) = futures::join!(rooms.live_pass(), other.live_pass());
    one.and(two).unwrap();
    rooms.pass().await.unwrap();
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn any_verb_heals_the_room_that_it_finds(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for (kind, how) in STUCK {
        let host = leave_stuck(&world, how).await;
        host.change(&rooms, Verb::Reset).await.unwrap();
        assert_eq!(unsettled(&world).await, 0, "{kind}");
        let idle = sqlx::query_scalar!("select status from live_rooms where id = $1", host.room.id);
        assert_eq!(idle.fetch_one(&world.pool).await.unwrap(), "idle", "{kind}");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_plan_is_followed_without_anybody(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (_, session) = world.host_with(LiveStatus::Scheduled).await; // in an hour, 15 minutes of lobby
    seat(&world.pool, session, "ana", SeatRole::Guest, LobbyStatus::Waiting).await;
    for (minutes, status, people) in [(44, "scheduled", 0), (2, "lobby", 0), (13, "lobby", 0), (2, "live", 1)]
    {
        world.pass_time(Duration::minutes(minutes));
        rooms.live_pass().await.unwrap();
        rooms.drain().await.unwrap();
        assert_eq!(world.live_status(session).await, status);
        assert_eq!(world.names().len(), usize::from(status != "scheduled"), "{status}");
        let inside = sqlx::query_scalar!(
            r#"select count(*) as "n!" from live_room_attendance where lobby_status = 'admitted'"#
        );
        assert_eq!(inside.fetch_one(&world.pool).await.unwrap(), people, "{status}");
        world.assert_live_rooms_whole().await;
    }
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_meets_a_session_that_is_due_moves_it_on_first(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Lobby).await;
    world.set_plan(session, -1, None).await;
    assert_eq!(host.change(&rooms, Verb::Cancel).await.unwrap_err().reason, Reason::MeetingStarted);
    assert_eq!(world.live_status(session).await, "live", "its time had come, whoever looked first");

    let (host, session) = world.host_with(LiveStatus::Scheduled).await;
    world.set_plan(session, 10, None).await; // its lobby is open
    let ended = host.change(&rooms, Verb::End).await.unwrap().session.unwrap();
    assert_eq!((ended.id.0, ended.status), (session, LiveStatus::Ended));
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn what_nobody_opened_in_its_time_is_cancelled(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (_, missed) = world.host_with(LiveStatus::Scheduled).await;
    let (host, met) = world.host_with(LiveStatus::Scheduled).await;
    for session in [missed, met] {
        world.set_plan(session, -120, Some(-60)).await;
    }
    let answer = host.go_live(&rooms).await.unwrap();
    assert!(answer.created, "what he missed is no reason to refuse him");
    assert_eq!(world.live_status(met).await, "cancelled");
    rooms.live_pass().await.unwrap();
    assert_eq!(world.live_status(missed).await, "cancelled");
    world.assert_live_rooms_whole().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn many_sessions_that_are_due_at_once_start_in_one_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    world
        .execute(
            "with rooms as (
                 insert into live_rooms (host_user_id, room_name, room_slug)
                 select 'host-' || n, 'x', 'room-' || n from generate_series(1, 1200) n returning id)
             insert into live_room_sessions (room_id, status, created_by, starts_at)
             select id, 'lobby', 'x', app_now() - interval '1 second' from rooms",
        )
        .await;
    rooms.live_pass().await.unwrap();
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "n!" from live_room_sessions where status <> 'live' or started_at is null"#
    );
    assert_eq!(waiting.fetch_one(&world.pool).await.unwrap(), 0);
    world.assert_live_rooms_whole().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_that_cannot_be_settled_stops_no_other(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let poison = leave_stuck(&world, STUCK[0].1).await;
    for (_, how) in STUCK {
        leave_stuck(&world, how).await;
    }
    let id = poison.room.id;
    world
        .execute(&format!(
            "create function refuse() returns trigger language plpgsql as $$
             begin raise exception 'refused by a test'; end $$;
             create trigger refuse before update on live_rooms for each row when (old.id = '{id}')
             execute function refuse();"
        ))
        .await;
    let session = live_session(&world.pool, &world.host().await.room, LiveStatus::Lobby).await;
    world.set_plan(session, -1, None).await;
    rooms.live_pass().await.unwrap();
    assert_eq!(unsettled(&world).await, 1);
    assert_eq!(world.live_status(session).await, "live");
    world.execute("drop trigger refuse on live_rooms").await;
    rooms.live_pass().await.unwrap();
    assert_eq!(unsettled(&world).await, 0);
}
