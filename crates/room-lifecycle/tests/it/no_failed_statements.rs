//! Repeated and concurrent requests cause no failed statements, because Postgres logs each failed statement as a whole.

use chassis::status::Reason;
use domain::{LiveRoomId, RecordingKind};
use futures::future::join_all;
use proto::room::v1::{
    CreateNestRequest, GetMyRoomRequest, GoLiveRequest, live_room_service_server::LiveRoomService,
};
use room_lifecycle::recordings::StartRequest;
use sqlx::postgres::PgConnectOptions;
use testkit::Tap;
use tonic::Request;

use crate::{
    harness::{
        World,
        hosts::{go_live, person},
        nests::{OpenNest, create, key, proof},
        reason,
        recordings::{host, record, scope},
    },
    webhooks::event,
};

fn assert_no_errors(tap: &Tap) {
    assert_eq!(tap.errors(), Vec::<String>::new());
}

#[testkit::test]
async fn repeated_live_requests_are_no_failed_statements(connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(connect).await;
    let replicas = [world.rooms().await, world.rooms().await];
    let my_room = |n: usize| {
        let request = GetMyRoomRequest { caller: Some(person("newcomer")) };
        LiveRoomService::get_my_room(&replicas[n % 2].live, Request::new(request))
    };
    assert!(join_all((0..20).map(my_room)).await.iter().all(Result::is_ok));
    let host = world.host().await;
    assert!(join_all((0..20).map(|n| host.go_live(&replicas[n % 2]))).await.iter().all(Result::is_ok));
    let keyed = |title: &str| GoLiveRequest {
        session_title: Some(title.to_owned()),
        idempotency_key: Some("key".to_owned()),
        ..host.request()
    };
    let other = world.host().await;
    let keyed_by_other = GoLiveRequest { idempotency_key: Some("key".to_owned()), ..other.request() };
    go_live(&replicas[0], keyed_by_other.clone()).await.unwrap();
    go_live(&replicas[1], keyed_by_other.clone()).await.unwrap();
    let reused = GoLiveRequest { session_title: Some("Another".to_owned()), ..keyed_by_other };
    assert_eq!(go_live(&replicas[0], reused).await.unwrap_err().reason, Reason::IdempotencyKeyReused);
    go_live(&replicas[0], keyed("One")).await.unwrap(); // returns the open session
    let room = host.room.id;
    let join = |n: usize| {
        let (rooms, caller) = (&replicas[n % 2], person("vera"));
        async move { rooms.live.join_live_room(&caller, LiveRoomId(room)).await }
    };
    assert!(join_all((0..20).map(join)).await.iter().all(Result::is_ok));
    for _ in 0..2 {
        replicas[0].live.ban(&host.caller, LiveRoomId(room), "vera", None).await.unwrap();
    }
    assert_eq!(reason(join(0).await), Reason::Banned);
    assert_no_errors(&tap);
}

#[testkit::test]
async fn repeated_recordings_are_no_failed_statements(connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::recording(connect).await;
    let replicas = [world.rooms().await, world.rooms().await];
    let (booking, room) = world.open_room(&replicas[0]).await;
    let started = join_all((0..10).map(|n| record(&replicas[n % 2], &booking))).await;
    let (created, refused): (Vec<_>, Vec<_>) = started.into_iter().partition(Result::is_ok);
    assert_eq!(created.len(), 1);
    assert!(refused.into_iter().all(|answer| reason(answer) == Reason::AlreadyRecording));
    let caller = host(&booking);
    let keyed = || StartRequest::new(scope(&booking), RecordingKind::File, Some("key".to_owned()));
    for _ in 0..2 {
        assert_eq!(reason(replicas[0].recordings.record(&caller, &keyed()).await), Reason::AlreadyRecording);
    }
    let body = event("EV_1", "participant_joined", &room, "ann", "PA_1");
    for rooms in &replicas {
        rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    }
    assert_no_errors(&tap);
}

#[testkit::test]
async fn repeated_nest_requests_are_no_failed_statements(connect: PgConnectOptions) {
    let (tap, connect) = Tap::on(&connect).await;
    let world = World::new(connect).await;
    let replicas = [world.rooms().await, world.rooms().await];
    let signed = CreateNestRequest {
        caller: Some(person(&key(1))),
        proof: Some(proof()),
        ..CreateNestRequest::default()
    };
    let created = join_all((0..10).map(|n| create(&replicas[n % 2], signed.clone()))).await;
    assert!(created.iter().all(Result::is_ok));
    assert_eq!(world.count_nests().await, 1, "nests");
    let nest = OpenNest::of(&replicas[0], &key(1)).await;
    let joins = join_all((0..20).map(|n| {
        let (rooms, nest) = (&replicas[n % 2], &nest);
        async move { nest.join(rooms, &key(2)).await }
    }));
    assert!(joins.await.iter().all(Result::is_ok));
    assert_no_errors(&tap);
}
