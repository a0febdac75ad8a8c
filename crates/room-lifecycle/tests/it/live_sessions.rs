//! Going live: one session whoever clicks how often, and what is said when another one is in the way.

use chassis::{
    grpc::{datetime, timestamp},
    status::Reason,
};
use domain::LiveStatus;
use futures::future::join_all;
use livekit_dev::Fault;
use proto::{
    room::v1::GoLiveRequest,
    types::v1::{AccessLevel, LiveRoomStatus, LiveStatus as Status, Readiness},
};
use room_lifecycle::live::decide::Verb;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::harness::{
    World,
    hosts::{Host, admin, go_live, person},
    refused,
};

/// A wish for a start in so many minutes by the database's clock.
async fn at(world: &World, host: &Host, minutes: i64) -> GoLiveRequest {
    let now: OffsetDateTime =
        sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(&world.pool).await.unwrap();
    GoLiveRequest { starts_at: Some(timestamp(now + Duration::minutes(minutes))), ..host.wish() }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_hundred_clicks_make_one_session(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
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
    assert_eq!(world.sessions_of(host.room.id).await, 1);
    assert_eq!(world.names(), [format!("live-{first}")]);
    world.assert_live_rooms_whole().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn nobody_but_the_host_goes_live(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (host, other) = (world.host().await, world.host().await);
    for caller in [other.caller.clone(), admin(), chassis::grpc::system_caller()] {
        let wish = GoLiveRequest { caller: Some(caller), ..host.wish() };
        assert_eq!(go_live(&rooms, wish).await.unwrap_err().reason, Reason::NotHost);
    }
    let nowhere = GoLiveRequest { room_id: Uuid::new_v4().to_string(), ..host.wish() };
    assert_eq!(go_live(&rooms, nowhere).await.unwrap_err().reason, Reason::RoomNotFound);
    let nobody = GoLiveRequest { caller: None, ..host.wish() };
    assert_eq!(go_live(&rooms, nobody).await.unwrap_err().reason, Reason::Unauthenticated);
    world.execute("update live_rooms set access_level = 'group'").await;
    let stranger = GoLiveRequest { caller: Some(person("a-stranger")), ..host.wish() };
    assert_eq!(go_live(&rooms, stranger).await.unwrap_err().reason, Reason::RoomNotFound);
    assert_eq!(world.sessions_of(host.room.id).await, 0);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn going_live_again_answers_with_what_is_on(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    // What is on and when it starts; what it is after a click on "Go live".
    for (status, starts_in, after) in [
        (LiveStatus::Live, -1, Some(Status::Live)),
        (LiveStatus::Lobby, 10, Some(Status::Lobby)),
        (LiveStatus::Scheduled, 14, Some(Status::Live)), // its lobby is open
        (LiveStatus::Scheduled, 29, Some(Status::Live)), // opens within the buffer
        (LiveStatus::Scheduled, 31, None),
    ] {
        let (host, session) = world.host_with(status).await;
        world.set_plan(session, starts_in, None).await;
        let answer = host.go_live(&rooms).await;
        let told = answer.map(|answer| {
            let told = answer.session.unwrap();
            assert_eq!(
                (told.id.clone(), answer.created, told.livekit()),
                (session.to_string(), false, Readiness::Ready)
            );
            told.status()
        });
        if let Some(after) = after {
            assert_eq!(told.unwrap(), after, "{status:?} {starts_in}");
        } else {
            let refusal = told.unwrap_err();
            assert_eq!(refusal.reason, Reason::RoomNotIdle);
            assert_eq!(refusal.facts["session_id"], session.to_string());
            assert!(refusal.facts.contains_key("starts_at"));
        }
        assert_eq!(world.sessions_of(host.room.id).await, 1);
    }
    world.assert_live_rooms_whole().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_session_is_scheduled_once(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for (minutes, status) in [(60, LiveStatus::Scheduled), (10, LiveStatus::Lobby), (-60, LiveStatus::Live)] {
        let host = world.host().await;
        let wish = at(&world, &host, minutes).await;
        let first = go_live(&rooms, wish.clone()).await.unwrap();
        let session = first.session.unwrap();
        assert!(first.created);
        assert_eq!((session.status, first.room.unwrap().status), (status.into(), status.of_room().into()));
        assert_eq!(session.started_at.is_some(), status == LiveStatus::Live);
        let again = go_live(&rooms, wish).await.unwrap();
        assert_eq!((again.session.unwrap().id, again.created), (session.id.clone(), false), "{status}");
        let other = go_live(&rooms, at(&world, &host, 90).await).await.unwrap_err();
        assert_eq!((other.reason, &other.facts["session_id"]), (Reason::RoomNotIdle, &session.id));
    }
    let names = world.names();
    assert_eq!(names.len(), 2, "what is scheduled has no room yet: {names:?}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_start_by_the_host_is_now_whatever_was_planned(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    let wish = GoLiveRequest {
        session_title: Some("Tonight".into()),
        max_participants: Some(3),
        lobby_buffer_minutes: Some(0),
        auto_admit: Some(false),
        topic_keys: Some(proto::room::v1::TopicKeys { keys: vec!["stars".into()] }),
        access_level: Some(AccessLevel::Group.into()),
        ..at(&world, &host, 60).await
    };
    let planned = go_live(&rooms, wish).await.unwrap().session.unwrap();
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
    assert_eq!(room.fetch_one(&world.pool).await.unwrap(), 8, "our record decides, LiveKit is the fence");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_key_makes_one_session_for_ever(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    let wish = GoLiveRequest { idempotency_key: Some("one".into()), ..at(&world, &host, 10).await };
    let answers = join_all((0..20).map(|_| go_live(&rooms, wish.clone()))).await;
    let first = answers[0].as_ref().unwrap().session.as_ref().unwrap().id.clone();
    for answer in answers {
        let answer = answer.unwrap();
        assert_eq!((answer.session.unwrap().id, answer.created), (first.clone(), true), "as the first time");
    }
    let other = GoLiveRequest { session_title: Some("Another".into()), ..wish.clone() };
    assert_eq!(go_live(&rooms, other.clone()).await.unwrap_err().reason, Reason::IdempotencyKeyReused);
    host.change(&rooms, Verb::End).await.unwrap();
    world.pass_time(Duration::days(800));
    let late = go_live(&rooms, wish).await.unwrap().session.unwrap();
    assert_eq!((late.id.as_str(), late.status()), (first.as_str(), Status::Ended), "as it is now");
    assert_eq!(go_live(&rooms, other).await.unwrap_err().reason, Reason::IdempotencyKeyReused);
    assert!(host.go_live(&rooms).await.unwrap().created, "without the key it is another session");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn without_livekit_a_session_is_starting_until_a_pass_makes_its_room(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    world.server().faults().set("CreateRoom", refused());
    for created in [true, false] {
        let answer = host.go_live(&rooms).await.unwrap();
        let session = answer.session.unwrap();
        assert_eq!((session.status(), session.livekit()), (Status::Live, Readiness::Starting));
        assert_eq!(answer.created, created);
    }
    world.server().faults().clear();
    world.hurry().await;
    rooms.pass().await.unwrap();
    assert_eq!(host.go_live(&rooms).await.unwrap().session.unwrap().livekit(), Readiness::Ready);
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_answer_does_not_wait_for_a_livekit_that_hangs(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let started = std::time::Instant::now();
    let session = host.go_live(&rooms).await.unwrap().session.unwrap();
    assert_eq!(session.livekit(), Readiness::Starting);
    assert!(started.elapsed() < std::time::Duration::from_secs(8), "{:?}", started.elapsed());
    world.server().faults().clear();
    testkit::eventually("a pass makes its room", async || {
        world.hurry().await;
        rooms.pass().await.unwrap();
        (host.go_live(&rooms).await.unwrap().session.unwrap().livekit() == Readiness::Ready).then_some(())
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_session_that_a_legacy_writer_adds_meanwhile_is_the_one(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    let id = host.room.id;
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
    assert_eq!(world.sessions_of(id).await, 1);
    world.assert_live_rooms_whole().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn wrong_wishes_are_refused_by_the_name_of_the_field(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let host = world.host().await;
    let topics = |keys: Vec<String>| Some(proto::room::v1::TopicKeys { keys });
    let (wish, soon) = (host.wish(), at(&world, &host, 60).await);
    let long = |length| "x".repeat(length);
    for (field, wish) in [
        ("room_id", GoLiveRequest { room_id: "x".into(), ..wish.clone() }),
        ("session_title", GoLiveRequest { session_title: Some(long(201)), ..wish.clone() }),
        ("session_title", GoLiveRequest { session_title: Some("\u{200b}\n".into()), ..wish.clone() }),
        ("starts_at", at(&world, &host, 366 * 24 * 60).await),
        ("ends_at", GoLiveRequest { ends_at: soon.starts_at, ..soon.clone() }),
        ("ends_at", GoLiveRequest { ends_at: at(&world, &host, -1).await.starts_at, ..wish.clone() }),
        (
            "ends_at",
            GoLiveRequest { ends_at: at(&world, &host, 800 * 24 * 60).await.starts_at, ..wish.clone() },
        ),
        ("lobby_buffer_minutes", GoLiveRequest { lobby_buffer_minutes: Some(-1), ..wish.clone() }),
        ("lobby_buffer_minutes", GoLiveRequest { lobby_buffer_minutes: Some(1_441), ..wish.clone() }),
        ("max_participants", GoLiveRequest { max_participants: Some(0), ..wish.clone() }),
        ("max_participants", GoLiveRequest { max_participants: Some(10_001), ..wish.clone() }),
        ("access_level", GoLiveRequest { access_level: Some(99), ..wish.clone() }),
        ("topic_keys", GoLiveRequest { topic_keys: topics(vec!["x".into(); 21]), ..wish.clone() }),
        ("topic_keys", GoLiveRequest { topic_keys: topics(vec![String::new()]), ..wish.clone() }),
        ("Idempotency-Key", GoLiveRequest { idempotency_key: Some(long(201)), ..wish.clone() }),
        ("Idempotency-Key", GoLiveRequest { idempotency_key: Some("\0".into()), ..wish }),
    ] {
        let refusal = go_live(&rooms, wish).await.unwrap_err();
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
        ..host.wish()
    };
    let refusal = go_live(&rooms, all).await.unwrap_err();
    let named: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
    assert_eq!(named, ["session_title", "max_participants", "starts_at", "ends_at"]);
    assert_eq!(world.sessions_of(host.room.id).await, 0);
}
