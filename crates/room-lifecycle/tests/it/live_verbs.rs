//! Verbs of a host on the open session. They are idempotent.

use chassis::status::Reason;
use domain::{LiveStatus, LobbyStatus, RoomStatus, SeatRole};
use livekit_dev::Fault;
use room_lifecycle::live::session_decision::Verb;
use sqlx::postgres::PgConnectOptions;
use testkit::seed::live::seat;
use uuid::Uuid;

use crate::harness::{
    Service, World,
    hosts::{Host, admin, person},
};

const ALL: [Verb; 6] =
    [Verb::Start, Verb::OpenLobby, Verb::End, Verb::Cancel, Verb::Reset, Verb::HostPresent(true)];

async fn reset_as(rooms: &Service, host: &Host, caller: proto::types::v1::Caller) -> Option<Reason> {
    let other = Host { caller, ..host.clone() };
    other.change(rooms, Verb::Reset).await.err().map(|refusal| refusal.reason)
}

#[testkit::test]
async fn end_is_idempotent(world: World) {
    let rooms = world.rooms().await;
    for (status, over) in [
        (LiveStatus::Scheduled, LiveStatus::Cancelled),
        (LiveStatus::Lobby, LiveStatus::Ended),
        (LiveStatus::Live, LiveStatus::Ended),
    ] {
        let (host, session) = world.host_with(status).await;
        rooms.pass().await.unwrap(); // creates the room
        assert_eq!(world.names().len(), usize::from(status.has_room()), "{status}");
        seat(&world.pool, session, "ana", SeatRole::Guest, LobbyStatus::Admitted).await;
        let mut first = None;
        for _ in 0..2 {
            let live = host.change(&rooms, Verb::End).await.unwrap();
            let answered = live.session.unwrap();
            assert_eq!(
                (answered.id.0, answered.status, live.room.open_status),
                (session, over, None),
                "{status}"
            );
            assert_eq!(first.get_or_insert(answered.ended_at), &answered.ended_at, "{status}");
            assert!(answered.ended_at.is_some(), "{status}");
        }
        assert!(world.names().is_empty(), "the room is deleted with the session");
        let seats =
            sqlx::query_scalar!(r#"select count(*) as "n!" from live_room_attendance where left_at is null"#);
        assert_eq!(seats.fetch_one(&world.pool).await.unwrap(), 0, "{status}");
    }
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn live_session_is_not_cancelled(world: World) {
    let rooms = world.rooms().await;
    for status in [LiveStatus::Scheduled, LiveStatus::Lobby] {
        let (host, session) = world.host_with(status).await;
        for _ in 0..2 {
            let answered = host.change(&rooms, Verb::Cancel).await.unwrap().session.unwrap();
            assert_eq!((answered.id.0, answered.status), (session, LiveStatus::Cancelled), "{status}");
        }
    }
    let (host, session) = world.host_with(LiveStatus::Live).await;
    assert_eq!(host.change(&rooms, Verb::Cancel).await.unwrap_err().reason, Reason::MeetingStarted);
    assert_eq!(world.live_status(session).await, "live");
    rooms.pass().await.unwrap(); // writes the record that the seed left out
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn lobby_opens_and_session_starts_once(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Scheduled).await;
    for (verb, status) in [
        (Verb::OpenLobby, LiveStatus::Lobby),
        (Verb::OpenLobby, LiveStatus::Lobby),
        (Verb::Start, LiveStatus::Live),
        (Verb::Start, LiveStatus::Live),
        (Verb::OpenLobby, LiveStatus::Live), // the lobby is already open
    ] {
        let live = host.change(&rooms, verb).await.unwrap();
        let answered = live.session.unwrap();
        assert_eq!(
            (answered.id.0, answered.status, answered.livekit),
            (session, status, Some(RoomStatus::Active)),
            "{verb:?}"
        );
        assert_eq!(live.room.open_status, Some(status), "{verb:?}");
    }
    assert_eq!(world.server().calls("CreateRoom"), 1);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn start_admits_waiting_users_up_to_the_limit(world: World) {
    let rooms = world.rooms().await;
    for (auto_admit, admitted) in [(true, 2), (false, 0)] {
        let (host, session) = world.host_with(LiveStatus::Lobby).await;
        let set = format!("set max_participants = 2, auto_admit = {auto_admit} where id = '{session}'");
        world.execute(&format!("update live_room_sessions {set}")).await;
        for user in ["ana", "bob", "carl"] {
            seat(&world.pool, session, user, SeatRole::Guest, LobbyStatus::Waiting).await;
        }
        host.change(&rooms, Verb::Start).await.unwrap();
        let seated = sqlx::query_scalar!(
            "select user_id from live_room_attendance
             where session_id = $1 and lobby_status = 'admitted' order by user_id",
            session
        );
        assert_eq!(
            seated.fetch_all(&world.pool).await.unwrap(),
            &["ana", "bob"][..admitted],
            "auto_admit: {auto_admit}"
        );
    }
}

#[testkit::test]
async fn host_present_is_set_and_projected(world: World) {
    let rooms = world.rooms().await;
    let (host, _) = world.host_with(LiveStatus::Lobby).await;
    for present in [true, true, false] {
        let live = host.change(&rooms, Verb::HostPresent(present)).await.unwrap();
        assert_eq!(live.room.host_present, present, "present: {present}");
        let projected =
            sqlx::query_scalar!("select host_present from live_rooms where id = $1", host.room.id);
        assert_eq!(projected.fetch_one(&world.pool).await.unwrap(), present, "present: {present}");
    }
    host.change(&rooms, Verb::HostPresent(true)).await.unwrap();
    assert!(!host.change(&rooms, Verb::End).await.unwrap().room.host_present);
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn verbs_change_nothing_without_an_open_session(world: World) {
    let rooms = world.rooms().await;
    let never = world.host().await;
    let (over, last) = world.host_with(LiveStatus::Ended).await;
    for verb in ALL {
        for (host, session) in [(&never, None), (&over, Some(last))] {
            let outcome = host.change(&rooms, verb).await;
            if matches!(verb, Verb::End | Verb::Cancel | Verb::Reset) {
                assert_eq!(
                    outcome.unwrap().session.map(|session| session.id.0),
                    session,
                    "{verb:?}, last session: {session:?}"
                );
            } else {
                assert_eq!(outcome.unwrap_err().reason, Reason::RoomNotActive, "{verb:?}");
            }
        }
    }
}

#[testkit::test]
async fn verbs_are_refused_to_others_and_admin_may_reset(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    let stranger = Host { caller: person("stranger"), ..host.clone() };
    let boss = Host { caller: admin(), ..host.clone() };
    for verb in ALL {
        assert_eq!(stranger.change(&rooms, verb).await.unwrap_err().reason, Reason::NotHost, "{verb:?}");
        if verb != Verb::Reset {
            assert_eq!(boss.change(&rooms, verb).await.unwrap_err().reason, Reason::NotHost, "{verb:?}");
        }
    }
    world.execute("update live_room_sessions set access_level = 'group'").await;
    for verb in ALL {
        assert_eq!(stranger.change(&rooms, verb).await.unwrap_err().reason, Reason::RoomNotFound, "{verb:?}");
    }
    assert_eq!(world.live_status(session).await, "live");
    assert_eq!(reset_as(&rooms, &host, admin()).await, None);
    assert_eq!(world.live_status(session).await, "ended");
    let mut nowhere = boss;
    nowhere.room.id = Uuid::new_v4();
    assert_eq!(nowhere.change(&rooms, Verb::Reset).await.unwrap_err().reason, Reason::RoomNotFound);
}

#[testkit::test]
async fn stranger_is_refused_without_waiting_for_the_room(world: World) {
    let rooms = world.rooms().await;
    let (host, session) = world.host_with(LiveStatus::Live).await;
    // Holds the room's row lock, which verbs of the host wait for.
    let mut busy =
        world.hold(&format!("select from live_rooms where id = '{}' for update", host.room.id)).await;
    let end = tokio::spawn({
        let (rooms, host) = (Service::clone(&rooms), host.clone());
        async move { host.change(&rooms, Verb::End).await }
    });
    testkit::eventually("the host's end waits for the room", async || world.waiting(1).await).await;
    let stranger = Host { caller: person("stranger"), ..host.clone() };
    assert_eq!(stranger.change(&rooms, Verb::End).await.unwrap_err().reason, Reason::NotHost);
    assert_eq!(stranger.go_live(&rooms).await.unwrap_err().reason, Reason::NotHost);
    sqlx::raw_sql("commit").execute(&mut busy).await.unwrap();
    end.await.unwrap().unwrap();
    assert_eq!(world.live_status(session).await, "ended");
}

/// Runs `first` with a CreateRoom that hangs, and `then` meanwhile. No room is left.
async fn stopped_while_starting(connect: PgConnectOptions, first: Verb, then: Verb) {
    let world = World::new(connect).await;
    let replicas = [world.rooms().await, world.rooms().await];
    let (host, session) = world.host_with(LiveStatus::Scheduled).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let starting = tokio::spawn({
        let (rooms, host) = (replicas[0].clone(), host.clone());
        async move { host.change(&rooms, first).await }
    });
    world.reached("CreateRoom", 1).await;
    let stopped = host.change(&replicas[1], then).await.unwrap().session.unwrap();
    assert!(!stopped.status.is_open(), "after {then:?}: {stopped:?}");
    world.server().faults().clear(); // now LiveKit creates the room
    let late = starting.await.unwrap().unwrap().session.unwrap();
    assert_eq!((late.id.0, late.status), (session, stopped.status), "{first:?}, then {then:?}");
    testkit::eventually("no room is left on LiveKit", async || world.names().is_empty().then_some(())).await;
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn end_while_going_live_leaves_no_room(connect: PgConnectOptions) {
    stopped_while_starting(connect, Verb::Start, Verb::End).await;
}

#[testkit::test]
async fn cancel_while_starting_leaves_no_room(connect: PgConnectOptions) {
    stopped_while_starting(connect, Verb::OpenLobby, Verb::Cancel).await;
}

#[testkit::test]
async fn concurrent_verbs_leave_a_consistent_room(world: World) {
    let replicas = [world.rooms().await, world.rooms().await];
    let host = world.host().await;
    let crowd = (0..8_usize).map(|n| {
        let (rooms, host) = (&replicas[n % 2], &host);
        async move {
            for attempt in 0..20 {
                if (n + attempt) % 3 == 0 {
                    host.go_live(rooms).await.unwrap();
                } else if let Err(refusal) = host.change(rooms, ALL[(n * 5 + attempt) % ALL.len()]).await {
                    assert!(
                        [Reason::RoomNotActive, Reason::MeetingStarted].contains(&refusal.reason),
                        "{refusal}"
                    );
                }
            }
        }
    });
    let passes = async {
        for _ in 0..10 {
            replicas[0].pass().await.unwrap();
        }
    };
    futures::join!(futures::future::join_all(crowd), passes);
    for _ in 0..3 {
        world.make_due().await;
        replicas[1].pass().await.unwrap();
        world.advance(time::Duration::seconds(6));
    }
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}
