//! Going live: repeated requests make one session, and another open session is reported.

use chassis::{
    grpc::{datetime, timestamp},
    status::Reason,
};
use domain::{LiveRoomId, LiveStatus};
use futures::future::join_all;
use livekit_dev::Fault;
use proto::{
    room::v1::GoLiveRequest,
    types::v1::{AccessLevel, LiveRoomStatus, LiveStatus as Status, Readiness},
};
use room_lifecycle::live::{
    session_decision::{Verb, due},
    store::rooms::find_live,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::harness::{
    World,
    hosts::{Host, admin, go_live, person},
    refused,
};

/// A request for a start in this many minutes by the database's clock.
async fn at(world: &World, host: &Host, minutes: i64) -> GoLiveRequest {
    let now: OffsetDateTime =
        sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&world.pool).await.unwrap();
    GoLiveRequest { starts_at: Some(timestamp(now + Duration::minutes(minutes))), ..host.request() }
}

#[testkit::test]
async fn go_live_creates_one_session_for_100_requests(world: World) {
    let replicas = [world.rooms().await, world.rooms().await];
    let host = world.host().await;
    let answers = join_all((0..100).map(|n| host.go_live(&replicas[n % 2]))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| answer.created).count(), 1);
    let first = answers[0].session.as_ref().unwrap().id.clone();
    for answer in answers {
        let (room, session) = (answer.room.unwrap(), answer.session.unwrap());
        assert_eq!((session.id.as_str(), session.status()), (first.as_str(), Status::Live));
        assert_eq!((room.status(), room.current_session_id()), (LiveRoomStatus::Live, first.as_str()));
        assert_eq!(
            (session.livekit(), room.livekit_room_name),
            (Readiness::Ready, Some(format!("live-{first}")))
        );
    }
    assert_eq!(world.sessions_of(host.room.id).await, 1, "sessions of the room");
    assert_eq!(world.names(), [format!("live-{first}")]);
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn go_live_is_refused_to_others(world: World) {
    let rooms = world.rooms().await;
    let (host, other) = (world.host().await, world.host().await);
    for caller in [other.caller.clone(), admin(), chassis::grpc::system_caller()] {
        let request = GoLiveRequest { caller: Some(caller.clone()), ..host.request() };
        assert_eq!(go_live(&rooms, request).await.unwrap_err().reason, Reason::NotHost, "{caller:?}");
    }
    let nowhere = GoLiveRequest { room_id: Uuid::new_v4().to_string(), ..host.request() };
    assert_eq!(go_live(&rooms, nowhere).await.unwrap_err().reason, Reason::RoomNotFound);
    let anonymous = GoLiveRequest { caller: None, ..host.request() };
    assert_eq!(go_live(&rooms, anonymous).await.unwrap_err().reason, Reason::Unauthenticated);
    world.execute("update live_rooms set access_level = 'group'").await;
    let stranger = GoLiveRequest { caller: Some(person("a-stranger")), ..host.request() };
    assert_eq!(go_live(&rooms, stranger).await.unwrap_err().reason, Reason::RoomNotFound);
    assert_eq!(world.sessions_of(host.room.id).await, 0, "sessions of the room");
}

#[testkit::test]
async fn go_live_returns_the_open_session_when_repeated(world: World) {
    let rooms = world.rooms().await;
    // The open session's status and start, and its status after "Go live".
    for (status, starts_in, after) in [
        (LiveStatus::Live, -1, Some(Status::Live)),
        (LiveStatus::Lobby, 10, Some(Status::Lobby)),
        (LiveStatus::Scheduled, 14, Some(Status::Live)), // its lobby is due
        (LiveStatus::Scheduled, 29, Some(Status::Live)), // opens within the buffer
        (LiveStatus::Scheduled, 31, None),
    ] {
        let (host, session) = world.host_with(status).await;
        world.set_plan(session, starts_in, None).await;
        let answer = host.go_live(&rooms).await;
        let outcome = answer.map(|answer| {
            let shown = answer.session.unwrap();
            assert_eq!(
                (shown.id.clone(), answer.created, shown.livekit()),
                (session.to_string(), false, Readiness::Ready)
            );
            shown.status()
        });
        if let Some(after) = after {
            assert_eq!(outcome.unwrap(), after, "{status:?} {starts_in}");
        } else {
            let refusal = outcome.unwrap_err();
            assert_eq!(refusal.reason, Reason::RoomNotIdle);
            assert_eq!(refusal.facts["session_id"], session.to_string());
            assert!(refusal.facts.contains_key("starts_at"));
        }
        assert_eq!(world.sessions_of(host.room.id).await, 1, "sessions of the room");
    }
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn session_is_scheduled_once(world: World) {
    let rooms = world.rooms().await;
    for (minutes, status) in [(60, LiveStatus::Scheduled), (10, LiveStatus::Lobby), (-60, LiveStatus::Live)] {
        let host = world.host().await;
        let request = at(&world, &host, minutes).await;
        let first = go_live(&rooms, request.clone()).await.unwrap();
        let session = first.session.unwrap();
        assert!(first.created, "{status}");
        assert_eq!(
            (session.status, first.room.unwrap().status),
            (status.into(), status.of_room().into()),
            "{status}"
        );
        assert_eq!(session.started_at.is_some(), status == LiveStatus::Live, "{status}");
        let again = go_live(&rooms, request).await.unwrap();
        assert_eq!((again.session.unwrap().id, again.created), (session.id.clone(), false), "{status}");
        let other = go_live(&rooms, at(&world, &host, 90).await).await.unwrap_err();
        assert_eq!(
            (other.reason, &other.facts["session_id"]),
            (Reason::RoomNotIdle, &session.id),
            "{status}"
        );
    }
    let names = world.names();
    assert_eq!(names.len(), 2, "a scheduled session has no room yet: {names:?}");
}

#[testkit::test]
async fn start_by_the_host_ignores_the_planned_time(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let request = GoLiveRequest {
        session_title: Some("Tonight".into()),
        max_participants: Some(3),
        lobby_buffer_minutes: Some(0),
        auto_admit: Some(false),
        topic_keys: Some(proto::room::v1::TopicKeys { keys: vec!["stars".into()] }),
        access_level: Some(AccessLevel::Group.into()),
        ..at(&world, &host, 60).await
    };
    let planned = go_live(&rooms, request).await.unwrap().session.unwrap();
    assert_eq!(planned.status(), Status::Scheduled);
    assert_eq!((planned.session_title(), planned.access_level()), ("Tonight", AccessLevel::Group));
    assert_eq!((planned.max_participants, planned.lobby_buffer_minutes, planned.auto_admit), (3, 0, false));
    assert_eq!(planned.topic_keys, ["stars"]);
    let live = host.change(&rooms, Verb::Start).await.unwrap().session.unwrap();
    assert_eq!((live.id.to_string(), live.status), (planned.id, LiveStatus::Live));
    assert_eq!(Some(live.starts_at), datetime(&planned.starts_at.unwrap()));
    assert!(live.started_at.unwrap() < live.starts_at);
    let room = sqlx::query_scalar!(
        "select max_participants from livekit_rooms where live_session_id = $1",
        live.id.0
    );
    assert_eq!(
        room.fetch_one(&world.pool).await.unwrap(),
        8,
        "the seats are the limit, and LiveKit's limit has a margin"
    );
}

#[testkit::test]
async fn idempotency_key_creates_one_session(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let request = GoLiveRequest { idempotency_key: Some("one".into()), ..at(&world, &host, 10).await };
    let answers = join_all((0..20).map(|_| go_live(&rooms, request.clone()))).await;
    let first = answers[0].as_ref().unwrap().session.as_ref().unwrap().id.clone();
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!(
            (answer.session.unwrap().id, answer.created),
            (first.clone(), true),
            "the same answer as the first time"
        );
    }
    let other = GoLiveRequest { session_title: Some("Another".into()), ..request.clone() };
    assert_eq!(go_live(&rooms, other.clone()).await.unwrap_err().reason, Reason::IdempotencyKeyReused);
    host.change(&rooms, Verb::End).await.unwrap();
    world.advance(Duration::days(800));
    let late = go_live(&rooms, request).await.unwrap().session.unwrap();
    assert_eq!(
        (late.id.as_str(), late.status()),
        (first.as_str(), Status::Ended),
        "the session's current state"
    );
    assert_eq!(go_live(&rooms, other).await.unwrap_err().reason, Reason::IdempotencyKeyReused);
    assert!(host.go_live(&rooms).await.unwrap().created, "without the key a new session is created");
}

#[testkit::test]
async fn session_is_starting_until_a_pass_creates_its_room(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    world.server().faults().set("CreateRoom", refused());
    for created in [true, false] {
        let answer = host.go_live(&rooms).await.unwrap();
        let session = answer.session.unwrap();
        assert_eq!(
            (session.status(), session.livekit()),
            (Status::Live, Readiness::Starting),
            "created: {created}"
        );
        assert_eq!(answer.created, created, "created: {created}");
    }
    world.server().faults().clear();
    world.make_due().await;
    rooms.pass().await.unwrap();
    assert_eq!(host.go_live(&rooms).await.unwrap().session.unwrap().livekit(), Readiness::Ready);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn go_live_does_not_wait_for_a_hanging_livekit(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let started = std::time::Instant::now();
    let session = host.go_live(&rooms).await.unwrap().session.unwrap();
    assert_eq!(session.livekit(), Readiness::Starting);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
    world.server().faults().clear();
    testkit::eventually("a pass creates the room", async || {
        world.make_due().await;
        rooms.pass().await.unwrap();
        (host.go_live(&rooms).await.unwrap().session.unwrap().livekit() == Readiness::Ready).then_some(())
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn go_live_returns_a_concurrent_legacy_session(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let id = host.room.id;
    // Holds an uncommitted open session: the unique index makes the request wait for it.
    let mut writer = world
        .hold(&format!(
            "insert into live_room_sessions (room_id, status, created_by, started_at)
             values ('{id}', 'live', 'legacy', app_now())"
        ))
        .await;
    let click = tokio::spawn({
        let (rooms, host) = (rooms.clone(), host.clone());
        async move { host.go_live(&rooms).await }
    });
    testkit::eventually("the click waits for the writer", || world.waiting(1)).await;
    sqlx::raw_sql("commit").execute(&mut writer).await.unwrap();
    let answer = click.await.unwrap().unwrap();
    assert!(!answer.created);
    assert_eq!(world.sessions_of(id).await, 1, "sessions of the room");
    world.assert_live_rooms_whole().await;
}

#[testkit::test]
async fn wrong_go_live_fields_are_refused_by_name(world: World) {
    let rooms = world.rooms().await;
    let host = world.host().await;
    let topics = |keys: Vec<String>| Some(proto::room::v1::TopicKeys { keys });
    let (request, soon) = (host.request(), at(&world, &host, 60).await);
    let long = |length| "x".repeat(length);
    for (field, request) in [
        ("room_id", GoLiveRequest { room_id: "x".into(), ..request.clone() }),
        ("session_title", GoLiveRequest { session_title: Some(long(201)), ..request.clone() }),
        ("session_title", GoLiveRequest { session_title: Some("\u{200b}\n".into()), ..request.clone() }),
        ("starts_at", at(&world, &host, 366 * 24 * 60).await),
        ("ends_at", GoLiveRequest { ends_at: soon.starts_at, ..soon.clone() }),
        ("ends_at", GoLiveRequest { ends_at: at(&world, &host, -1).await.starts_at, ..request.clone() }),
        (
            "ends_at",
            GoLiveRequest { ends_at: at(&world, &host, 800 * 24 * 60).await.starts_at, ..request.clone() },
        ),
        ("lobby_buffer_minutes", GoLiveRequest { lobby_buffer_minutes: Some(-1), ..request.clone() }),
        ("lobby_buffer_minutes", GoLiveRequest { lobby_buffer_minutes: Some(1_441), ..request.clone() }),
        ("max_participants", GoLiveRequest { max_participants: Some(0), ..request.clone() }),
        ("max_participants", GoLiveRequest { max_participants: Some(10_001), ..request.clone() }),
        ("access_level", GoLiveRequest { access_level: Some(99), ..request.clone() }),
        ("topic_keys", GoLiveRequest { topic_keys: topics(vec!["x".into(); 21]), ..request.clone() }),
        ("topic_keys", GoLiveRequest { topic_keys: topics(vec![String::new()]), ..request.clone() }),
        ("Idempotency-Key", GoLiveRequest { idempotency_key: Some(long(201)), ..request.clone() }),
        ("Idempotency-Key", GoLiveRequest { idempotency_key: Some("\0".into()), ..request }),
    ] {
        let refusal = go_live(&rooms, request).await.unwrap_err();
        assert_eq!(
            (refusal.reason, refusal.facts.get("field").map(String::as_str)),
            (Reason::InvalidRequest, Some(field))
        );
    }
    let all = GoLiveRequest {
        session_title: Some(long(201)),
        starts_at: at(&world, &host, 366 * 24 * 60).await.starts_at,
        ends_at: at(&world, &host, -1).await.starts_at,
        max_participants: Some(0),
        ..host.request()
    };
    let refusal = go_live(&rooms, all).await.unwrap_err();
    let named: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(named, ["session_title", "max_participants", "starts_at", "ends_at"]);
    assert_eq!(world.sessions_of(host.room.id).await, 0, "sessions of the room");
}

/// The rule of due sessions is a function of the database for statements, and one of the code for decisions.
#[testkit::test]
async fn code_and_database_agree_on_which_sessions_are_due(world: World) {
    let open = world.open(LiveStatus::Scheduled, 5).await;
    for status in ["scheduled", "lobby", "live"] {
        for start in ["-3 days", "-5 min", "5 min", "10 hours"] {
            for lobby in ["null", "app_now() - interval '1 min'", "app_now() + interval '1 min'"] {
                let case = format!("{status}, starts at {start}, lobby at {lobby}");
                world.alter(open.session, "status", &format!("'{status}'")).await;
                world.alter(open.session, "starts_at", &format!("app_now() + interval '{start}'")).await;
                world.alter(open.session, "lobby_open_at", lobby).await;
                let live = find_live(&world.pool, LiveRoomId(open.room.id)).await.unwrap().unwrap();
                let session = live.open_session().unwrap();
                let rule = sqlx::query!(
                    r#"select is_live_session_due(s) as "is_due!", lobby_opens_at(s) as "lobby_opens_at!"
                       from live_room_sessions s where s.id = $1"#,
                    open.session
                );
                let rule = rule.fetch_one(&world.pool).await.unwrap();
                assert_eq!(due(session, live.now).is_some(), rule.is_due, "{case}");
                assert_eq!(session.lobby_opens_at(), rule.lobby_opens_at, "{case}");
            }
        }
    }
}
