//! After a crash of a LiveKit with Redis, every closed room is still deleted, and no answer waits for that (I2, I9).

use std::time::Instant;

use domain::{LiveRoomId, RoomStatus};
use livekit_api::services::room::CreateRoomOptions;
use livekit_dev::{ClockHandle, Fault, Stop, Store};
use proto::room::v1::{EndRoomRequest, room_service_server::RoomService};
use room_lifecycle::{Config, live::session_decision::Verb};
use sqlx::postgres::PgConnectOptions;
use time::Duration;
use tonic::Request;

use crate::harness::{State, WithRedis, World, nests::key, owner, refused, seats::person};

/// Shortens the time that an answer waits for LiveKit.
fn brief(config: &mut Config) {
    config.timeouts.answer = std::time::Duration::from_millis(50);
    config.pace.quick = config.timeouts.answer;
}

#[testkit::test]
async fn ended_rooms_go_after_a_crash(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    for stop in [Stop::Crash, Stop::Graceful { webhooks: 0 }] {
        let (ended, _) = world.meeting(&rooms).await;
        let (cancelled, _) = world.meeting(&rooms).await;
        let host = world.host().await;
        host.go_live(&rooms).await.unwrap();
        let nest = world.nest(&rooms).await;
        world.server().restart_after(stop);
        // A graceful stop deletes the occupied rooms.
        assert!(!world.names().is_empty(), "{stop:?}: Redis keeps the rooms");
        world.complete(&ended).await;
        world.set_status(&cancelled, "cancelled").await;
        host.change(&rooms, Verb::End).await.unwrap();
        nest.end(&rooms, &key(1)).await.unwrap();
        rooms.drain().await.unwrap();
        assert!(world.names().is_empty(), "{stop:?}: {:?}", world.names());
        assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
    }
}

#[testkit::test]
async fn replaced_room_goes_after_a_crash(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpensTomorrow).await;
    rooms.ensure(owner(&booking), false).await.unwrap();
    world.server().restart();
    world.reschedule(&booking, Duration::days(1)).await;
    rooms.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn node_that_never_answers_is_not_waited_for(connect: PgConnectOptions) {
    let livekit = testkit::livekit_with(|config| {
        config.manual_clock = true;
        config.store = Store::RedisLike;
        config.wait_speed = 0; // LiveKit's timeout of 3 s never passes
    });
    let world = World::with_livekit(connect, std::sync::Arc::new(livekit.await)).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.meeting(&rooms).await;
    world.server().restart();
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn listed_orphans_of_a_dead_node_are_deleted(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let id = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    for (name, metadata) in [("retired", String::new()), ("unknown", format!(r#"{{"deployment": "{id}"}}"#))]
    {
        let options = CreateRoomOptions { metadata, ..CreateRoomOptions::default() };
        world.admin().create_room(name, options).await.unwrap();
    }
    world.execute("insert into livekit_room_names values ('retired', gen_random_uuid(), 1)").await;
    world.server().restart();
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), ["unknown"], "the pass removes only rooms that are certainly closed");
    let strays = rooms.admin.find_orphans().await.unwrap();
    assert_eq!(strays.unknown, ["unknown"]);
    rooms.admin.delete_orphan("unknown").await.unwrap(); // `greenroom repair orphans --yes`
    world.assert_rooms(0);
}

#[testkit::test]
async fn end_is_answered_before_livekit_deletes(world: World) {
    let rooms = world.rooms_with(brief).await;
    let (booking, record) = world.meeting(&rooms).await;
    world.complete(&booking).await;
    world.server().faults().set("DeleteRoom", Fault::Hang);
    let created = world.server().calls("CreateRoom");
    let caller = Some(chassis::grpc::system_caller());
    let request = EndRoomRequest { caller, session_id: booking.id.to_string() };
    rooms.rpcs.end_room(Request::new(request)).await.unwrap();
    assert_eq!(world.server().calls("CreateRoom"), created, "the first attempt has not timed out yet");
    world.assert_connected(&record.room_name, 2);
    world.server().faults().clear();
    testkit::eventually("the deletion completes in the background", async || {
        world.names().is_empty().then_some(())
    })
    .await;
}

#[testkit::test]
async fn kick_is_answered_before_livekit_removes(world: World) {
    let rooms = world.rooms_with(brief).await;
    let (booking, record) = world.meeting(&rooms).await;
    world.server().faults().set("RemoveParticipant", Fault::Hang);
    let began = Instant::now();
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "LiveKit itself takes 3 s");
    world.assert_connected(&record.room_name, 2);
    world.server().faults().clear();
    testkit::eventually("the deletion completes in the background", async || {
        (world.connected(&record.room_name) == [booking.host.as_str()]).then_some(())
    })
    .await;
}

#[testkit::test]
async fn ban_is_answered_before_livekit_removes(world: World) {
    let rooms = world.rooms_with(brief).await;
    let open = world.live(&rooms, 5).await;
    crate::live_seats::join_and_connect(&world, &rooms, &open, "ann").await;
    world.server().faults().set("RemoveParticipant", Fault::Hang);
    let began = Instant::now();
    let host = person(&open.room.host);
    rooms.live.ban(&host, LiveRoomId(open.room.id), "ann", None).await.unwrap();
    assert!(began.elapsed() < std::time::Duration::from_secs(3), "LiveKit itself takes 3 s");
    world.server().faults().clear();
}

#[testkit::test]
async fn ended_room_is_closed_within_seconds_when_livekit_works(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    let old = world.token(&record.room_name, &booking.guest);
    world.server().faults().set("*", refused());
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    for _ in 0..60 {
        world.advance(Duration::seconds(2));
        rooms.close_due().await.unwrap();
    }
    world.server().restart();
    world.server().faults().clear();
    world.server().join(&old).unwrap();
    world.advance(Duration::seconds(1));
    rooms.close_due().await.unwrap();
    assert!(world.connected(&record.room_name).is_empty(), "closed within a second after any outage");
    assert!(world.server().join(&old).is_err());
}

#[testkit::test]
async fn deletions_are_tried_one_at_a_time_while_livekit_fails(world: World) {
    let rooms = world.rooms().await;
    world.server().faults().set("DeleteRoom", refused());
    for _ in 0..8 {
        let (booking, _) = world.open_room(&rooms).await;
        world.complete(&booking).await;
    }
    rooms.drain().await.unwrap();
    assert_eq!(world.to_close().await.len(), 8);
    for _ in 0..3 {
        world.advance(Duration::seconds(2));
        let before = world.server().calls("DeleteRoom");
        rooms.close_due().await.unwrap();
        assert_eq!(world.server().calls("DeleteRoom"), before + 1);
    }
    world.server().faults().clear();
    world.advance(Duration::seconds(2));
    rooms.close_due().await.unwrap();
    assert!(world.to_close().await.is_empty(), "all rooms follow as soon as one deletion succeeds");
    world.assert_rooms(0);
}

#[testkit::test]
async fn takeover_waits_until_the_crash_is_noticed(connect: PgConnectOptions) {
    let livekit = testkit::livekit_with(|config| {
        config.manual_clock = true;
        config.store = Store::RedisLike;
        config.dead_node_timeout = std::time::Duration::from_secs(5);
    });
    let world = World::with_livekit(connect, std::sync::Arc::new(livekit.await)).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.server().restart();
    world.complete(&booking).await;
    rooms.drain().await.unwrap();
    assert_eq!(world.to_close().await, [record.room_name.as_str()], "CreateRoom calls the dead node too");
    world.server().advance(ClockHandle::Rooms, std::time::Duration::from_secs(5));
    world.advance(Duration::seconds(1));
    rooms.close_due().await.unwrap();
    world.assert_rooms(0);
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn room_is_not_taken_over_where_deletion_is_off(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let (booking, _) = world.meeting(&rooms).await;
    let live = world.live(&rooms, 5).await;
    let elsewhere = world.rooms_with(|config| config.livekit.url += "/").await;
    world.server().restart();
    world.complete(&booking).await;
    world.alter(live.session, "status", "'ended', ended_at = app_now()").await;
    let created = world.server().calls("CreateRoom");
    elsewhere.pass().await.unwrap();
    world.advance(Duration::seconds(31));
    elsewhere.pass().await.unwrap();
    assert_eq!((world.server().calls("CreateRoom"), world.server().calls("DeleteRoom")), (created, 0));
    assert!(world.to_close().await.is_empty(), "no row asks for a deletion");
}
