//! Stuck live rooms: "Go live" works in every one, and one pass repairs them. Also transitions that are due by time.

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, SeatRole};
use proto::types::v1::{LiveStatus as Status, Readiness};
use room_lifecycle::live::session_decision::Verb;
use testkit::seed::live::{live_session, seat};
use time::Duration;

use crate::harness::{World, hosts::Host};

/// Every known kind of stuck room: its name and the SQL that produces it. `$room` is the room, `$session` its ended
/// session, and `$other` the session of another room.
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
        "an open session that no room points to",
        "insert into live_room_sessions (room_id, status, created_by, started_at) values ($room, 'live', 'x', app_now())",
    ),
    (
        "an open session behind an ended one",
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
        "a seat in an ended session",
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

#[testkit::test]
async fn go_live_works_for_every_kind_of_stuck_room(world: World) {
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
    rooms.pass().await.unwrap(); // creates the rooms of the other sessions, which the fixture inserted
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn one_pass_settles_every_kind_of_stuck_room(world: World) {
    let (rooms, other) = (world.rooms().await, world.rooms().await);
    for (_, how) in STUCK {
        leave_stuck(&world, how).await;
    }
    assert_eq!(unsettled(&world).await, STUCK.len(), "unsettled live rooms");
    assert!(world.stuck().await > 0);
    let (one, two) = futures::join!(rooms.live.pass(), other.live.pass());
    one.and(two).unwrap();
    rooms.pass().await.unwrap();
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn reset_repairs_every_kind_of_stuck_room(world: World) {
    let rooms = world.rooms().await;
    for (kind, how) in STUCK {
        let host = leave_stuck(&world, how).await;
        host.change(&rooms, Verb::Reset).await.unwrap();
        assert_eq!(unsettled(&world).await, 0, "{kind}");
        let idle = sqlx::query_scalar!("select status from live_rooms where id = $1", host.room.id);
        assert_eq!(idle.fetch_one(&world.pool).await.unwrap(), "idle", "{kind}");
    }
}

#[testkit::test]
async fn plan_is_followed_without_requests(world: World) {
    let rooms = world.rooms().await;
    let (_, session) = world.host_with(LiveStatus::Scheduled).await; // starts in an hour, with 15 minutes of lobby
    seat(&world.pool, session, "ana", SeatRole::Guest, LobbyStatus::Waiting).await;
    for (minutes, status, seats) in [(44, "scheduled", 0), (2, "lobby", 0), (13, "lobby", 0), (2, "live", 1)]
    {
        world.advance(Duration::minutes(minutes));
        rooms.live.pass().await.unwrap();
        rooms.drain().await.unwrap();
        assert_eq!(world.live_status(session).await, status, "{status}");
        assert_eq!(world.names().len(), usize::from(status != "scheduled"), "{status}");
        let admitted = sqlx::query_scalar!(
            r#"select count(*) as "n!" from live_room_attendance where lobby_status = 'admitted'"#
        );
        assert_eq!(admitted.fetch_one(&world.pool).await.unwrap(), seats, "{status}");
        world.assert_live_rooms_whole().await;
    }
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn due_session_is_moved_on_before_a_verb(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Lobby).await;
    world.set_plan(session, -1, None).await;
    assert_eq!(host.change(&rooms, Verb::Cancel).await.unwrap_err().reason, Reason::MeetingStarted);
    assert_eq!(world.live_status(session).await, "live", "the due start comes before the cancel");

    let (host, session) = world.host_with(LiveStatus::Scheduled).await;
    world.set_plan(session, 10, None).await; // its lobby is due
    let ended = host.change(&rooms, Verb::End).await.unwrap().session.unwrap();
    assert_eq!((ended.id.0, ended.status), (session, LiveStatus::Ended));
}

#[testkit::test]
async fn session_is_cancelled_when_not_opened_in_time(world: World) {
    let rooms = world.rooms().await;
    let (_, missed) = world.host_with(LiveStatus::Scheduled).await;
    let (host, met) = world.host_with(LiveStatus::Scheduled).await;
    for session in [missed, met] {
        world.set_plan(session, -120, Some(-60)).await;
    }
    let answer = host.go_live(&rooms).await.unwrap();
    assert!(answer.created, "a missed session does not block a new one");
    assert_eq!(world.live_status(met).await, "cancelled");
    rooms.live.pass().await.unwrap();
    assert_eq!(world.live_status(missed).await, "cancelled");
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn due_sessions_all_start_in_one_pass(world: World) {
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
    rooms.live.pass().await.unwrap();
    let waiting = sqlx::query_scalar!(
        r#"select count(*) as "n!" from live_room_sessions where status <> 'live' or started_at is null"#
    );
    assert_eq!(waiting.fetch_one(&world.pool).await.unwrap(), 0);
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn room_that_cannot_be_settled_stops_no_other(world: World) {
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
    rooms.live.pass().await.unwrap();
    assert_eq!(unsettled(&world).await, 1, "unsettled live rooms");
    assert_eq!(world.live_status(session).await, "live");
    world.execute("drop trigger refuse on live_rooms").await;
    rooms.live.pass().await.unwrap();
    assert_eq!(unsettled(&world).await, 0, "unsettled live rooms");
}
