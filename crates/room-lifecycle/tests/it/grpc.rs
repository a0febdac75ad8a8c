//! The gRPC service: which callers may call what, and work that completes without its client.

use std::time::Duration;

use chassis::{
    grpc::system_caller,
    status::{Reason, Refusal},
    transport::Transport,
};
use domain::RoomStatus;
use livekit_dev::Fault;
use proto::{
    room::v1::{
        CreateRoomRequest, EndRoomRequest, EnsureRoomRequest, GetSessionStatusRequest,
        KickParticipantRequest, ReceiveWebhookRequest, RetimeRoomRequest, ensure_room_request::Owner as Wire,
        room_service_client::RoomServiceClient, room_service_server::RoomServiceServer,
    },
    types::v1::{Caller, ParticipantStatus, Role, SessionStatus},
};
use sqlx::postgres::PgConnectOptions;
use testkit::TestRuntime;
use tonic::{Response, Status, service::Routes};
use uuid::Uuid;

use crate::harness::{Booking, Replica, Service, State, World, owner};

type Client = RoomServiceClient<Transport>;

/// Serves a replica without loops on a socket.
async fn serve(rooms: &Service, runtime: &TestRuntime) -> Client {
    let routes = Routes::new(RoomServiceServer::new(rooms.rpcs.clone()));
    let served = testkit::serve_routes(routes, &testkit::internal(), &runtime.lifecycle).await;
    RoomServiceClient::new(served.transport)
}

async fn world(connect: PgConnectOptions) -> (World, Replica, Client, TestRuntime) {
    let world = World::new(connect).await;
    let (rooms, runtime) = (world.rooms().await, testkit::runtime());
    let client = serve(&rooms, &runtime).await;
    (world, rooms, client, runtime)
}

fn person(id: &str) -> Caller {
    Caller { user_id: id.to_owned(), ..Caller::default() }
}

fn admin() -> Caller {
    Caller { user_id: "an-admin".to_owned(), is_admin: true, ..Caller::default() }
}

fn why<T>(answer: Result<Response<T>, Status>) -> Option<Reason> {
    answer.err().map(|status| Refusal::from_status(&status).reason)
}

/// The refusals of all calls for this caller and session.
async fn ask_all(client: &Client, caller: Option<&Caller>, id: &str, user: &str) -> [Option<Reason>; 6] {
    let (caller, session_id) = (|| caller.cloned(), || id.to_owned());
    let user_id = user.to_owned();
    let mut client = client.clone();
    [
        why(client.create_room(CreateRoomRequest { caller: caller(), session_id: session_id() }).await),
        why(client
            .ensure_room(EnsureRoomRequest {
                caller: caller(),
                owner: Some(Wire::SessionId(session_id())),
                now: false,
                ..EnsureRoomRequest::default()
            })
            .await),
        why(client.retime_room(RetimeRoomRequest { caller: caller(), session_id: session_id() }).await),
        why(client
            .get_session_status(GetSessionStatusRequest { caller: caller(), session_id: session_id() })
            .await),
        why(client
            .kick_participant(KickParticipantRequest { caller: caller(), session_id: session_id(), user_id })
            .await),
        why(client.end_room(EndRoomRequest { caller: caller(), session_id: session_id() }).await),
    ]
}

#[testkit::test]
async fn each_call_answers_only_permitted_callers(connect: PgConnectOptions) {
    let (world, _rooms, client, _runtime) = world(connect).await;
    let booking = world.booking(State::OpenNow).await;
    let id = booking.id.to_string();
    let unknown = Some(Reason::Unauthenticated);
    let not_party = Some(Reason::NotParticipant);
    // CreateRoom, EnsureRoom, RetimeRoom, GetSessionStatus, KickParticipant, EndRoom
    for (caller, wanted) in [
        (None, [unknown; 6]),
        (Some(person("")), [unknown; 6]),
        (Some(person(&"x".repeat(201))), [unknown; 6]),
        (Some(person("a-stranger")), [not_party; 6]),
        (Some(person(&booking.guest)), [None, not_party, not_party, None, Some(Reason::NotHost), not_party]),
        (Some(person(&booking.host)), [None, not_party, not_party, None, None, not_party]),
        (Some(admin()), [None, not_party, not_party, None, None, not_party]),
        (Some(system_caller()), [None; 6]),
    ] {
        assert_eq!(ask_all(&client, caller.as_ref(), &id, &booking.guest).await, wanted, "{caller:?}");
    }
}

#[testkit::test]
async fn invalid_id_and_unknown_session_have_own_reasons(connect: PgConnectOptions) {
    let (_world, _rooms, client, _runtime) = world(connect).await;
    let (wrong, absent) = (Some(Reason::InvalidSessionId), Some(Reason::SessionNotFound));
    for caller in [system_caller(), admin()] {
        let ours = caller.system;
        let alone = |reason| if ours { reason } else { Some(Reason::NotParticipant) };
        for id in ["", "x", "123e4567-e89b-12d3-a456-42661417400", "'; drop table sessions"] {
            let wanted = [wrong, alone(wrong), alone(wrong), wrong, wrong, alone(wrong)];
            assert_eq!(ask_all(&client, Some(&caller), id, "x").await, wanted, "{id}");
        }
        // EndRoom and RetimeRoom of an unknown session have nothing to do and succeed.
        let id = Uuid::new_v4().to_string();
        let wanted = [absent, alone(absent), alone(None), absent, absent, alone(None)];
        assert_eq!(ask_all(&client, Some(&caller), &id, "x").await, wanted, "{caller:?}");
    }
}

#[testkit::test]
async fn closed_session_is_refused_with_its_reason(connect: PgConnectOptions) {
    let (world, _rooms, client, _runtime) = world(connect).await;
    for (state, reason) in [
        (State::Completed, Reason::MeetingEnded),
        (State::WindowOver, Reason::MeetingEnded),
        (State::Cancelled, Reason::SessionCancelled),
    ] {
        let booking = world.booking(state).await;
        let answers = ask_all(&client, Some(&system_caller()), &booking.id.to_string(), &booking.guest).await;
        assert_eq!(answers, [Some(reason), Some(reason), None, None, Some(reason), None], "{state:?}");
    }
}

#[testkit::test]
async fn kick_of_host_or_stranger_is_refused(connect: PgConnectOptions) {
    let (world, rooms, mut client, _runtime) = world(connect).await;
    let (booking, _) = world.open_room(&rooms).await;
    for user in [booking.host.as_str(), "a-stranger", ""] {
        let kick = KickParticipantRequest {
            caller: Some(admin()),
            session_id: booking.id.to_string(),
            user_id: user.to_owned(),
        };
        assert_eq!(why(client.kick_participant(kick).await), Some(Reason::InvalidRequest), "{user}");
    }
    assert_eq!(world.status(&booking, &booking.host).await, "invited");
}

#[testkit::test]
async fn end_room_is_idempotent(connect: PgConnectOptions) {
    let (world, rooms, mut client, _runtime) = world(connect).await;
    let (booking, record) = world.open_room(&rooms).await;
    let end = || EndRoomRequest { caller: Some(system_caller()), session_id: booking.id.to_string() };
    client.end_room(end()).await.unwrap();
    assert_eq!(world.names(), [record.room_name], "the owner is still open, so the room stays");
    world.complete(&booking).await;
    for _ in 0..2 {
        client.end_room(end()).await.unwrap();
        world.assert_rooms(0);
    }
    assert_eq!(world.server().calls("DeleteRoom"), 1);
}

#[testkit::test]
async fn session_status_has_room_and_participants(connect: PgConnectOptions) {
    let (world, rooms, mut client, _runtime) = world(connect).await;
    let booking = world.booking(State::OpenNow).await;
    let ask = |booking: &Booking| GetSessionStatusRequest {
        caller: Some(person(&booking.guest)),
        session_id: booking.id.to_string(),
    };
    let before = client.get_session_status(ask(&booking)).await.unwrap().into_inner();
    assert_eq!((before.room, before.session_status), (None, SessionStatus::Scheduled.into()));
    let record = rooms.ensure(owner(&booking), false).await.unwrap();
    world.join(&record.room_name, &booking.guest);
    rooms.reconcile(&[record.id]).await.unwrap();
    let after = client.get_session_status(ask(&booking)).await.unwrap().into_inner();
    assert_eq!(after.room.unwrap().room_name, record.room_name);
    let participants: Vec<_> =
        after.participants.iter().map(|one| (one.role(), one.name.as_str(), one.status())).collect();
    assert_eq!(
        participants,
        [
            (Role::Host, "Hanna Host", ParticipantStatus::Invited),
            (Role::Guest, "Gustav Guest", ParticipantStatus::Joined)
        ]
    );
}

#[testkit::test]
async fn webhook_is_accepted_by_its_signature_alone(connect: PgConnectOptions) {
    let (world, _rooms, mut client, _runtime) = world(connect).await;
    let body = br#"{"id": "EV_1", "event": "room_started"}"#.to_vec();
    let send = |authorization: String| ReceiveWebhookRequest { authorization, body: body.clone() };
    assert_eq!(why(client.receive_webhook(send(String::new())).await), Some(Reason::Unauthenticated));
    client.receive_webhook(send(world.signed(&body))).await.unwrap();
}

#[testkit::test]
async fn create_room_completes_after_the_client_disconnects(connect: PgConnectOptions) {
    let (world, _rooms, client, _runtime) = world(connect).await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let call = tokio::spawn({
        let mut client = client.clone();
        let session_id = booking.id.to_string();
        async move { client.create_room(CreateRoomRequest { caller: Some(system_caller()), session_id }).await }
    });
    world.reached("CreateRoom", 1).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    world.server().faults().clear();
    testkit::eventually("the room is active", async || {
        (world.record(&booking).await.status == RoomStatus::Active).then_some(())
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn running_service_creates_and_removes_rooms_by_itself(world: World) {
    let runtime = testkit::runtime();
    let mut config = world.config();
    config.pass_period = Duration::from_millis(100);
    let routes = room_lifecycle::start(&config, &runtime).await.unwrap();
    let served = testkit::serve_routes(routes, &config.grpc, &runtime.lifecycle).await;
    let mut client = RoomServiceClient::new(served.transport);

    let booking = world.booking(State::OpenNow).await; // CreateRoom is not called
    let active = testkit::eventually("the room is created", async || {
        let record = room_lifecycle::rooms::store::find_record(&world.pool, booking.id).await.unwrap();
        record.filter(|record| record.status == RoomStatus::Active)
    })
    .await;
    let again = client
        .ensure_room(EnsureRoomRequest {
            caller: Some(system_caller()),
            owner: Some(Wire::SessionId(booking.id.to_string())),
            now: true,
            ..EnsureRoomRequest::default()
        })
        .await
        .unwrap();
    assert_eq!(again.into_inner().room.unwrap().room_name, active.room_name);
    world.join(&active.room_name, &booking.guest);
    testkit::eventually("the guest has joined", async || {
        (world.status(&booking, &booking.guest).await == "joined").then_some(())
    })
    .await;
    world.complete(&booking).await;
    testkit::eventually("the room is deleted", async || world.names().is_empty().then_some(())).await;
}
