//! Rows of `rooms_to_close`: after a crash between any two steps, another replica closes the room (I2).

use livekit_dev::Fault;
use room_lifecycle::rooms::store;
use time::Duration;

use crate::{
    crashes::{cut, cuts},
    harness::{WithRedis, World, refused},
};

#[testkit::test]
async fn row_of_a_room_that_ended_outlives_its_replica(WithRedis(world): WithRedis) {
    let (dies, lives) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.meeting(&lives).await;
    world.server().flush(); // LiveKit lists no room
    world.complete(&booking).await;
    let ended = store::set_ended(&world.pool, record.id, true).await.unwrap().unwrap();
    drop(dies); // between the row and DeleteRoom
    assert!(ended.to_close);
    lives.close_due().await.unwrap();
    assert_eq!(world.connected(&record.room_name).len(), 2, "the row's own replica has 2 s");
    world.advance(Duration::seconds(2));
    lives.close_due().await.unwrap();
    world.assert_connected(&record.room_name, 0);
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn room_created_to_be_deleted_is_deleted_after_a_crash(WithRedis(world): WithRedis) {
    let (dies, lives) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.meeting(&lives).await;
    world.server().flush();
    world.complete(&booking).await;
    world.server().faults().set_next("DeleteRoom", 1, refused());
    dies.drain().await.unwrap();
    // It retries, creates the room, and dies before the deletion.
    world.server().faults().set("DeleteRoom", Fault::Hang);
    world.advance(Duration::seconds(2));
    let deletes = world.server().calls("DeleteRoom");
    tokio::select! {
        _ = dies.close_due() => unreachable!("DeleteRoom hangs"),
        () = world.reached("DeleteRoom", deletes + 1) => {}
    }
    drop(dies);
    world.server().faults().clear();
    assert_eq!(world.to_close().await, [record.room_name.as_str()]);
    world.advance(Duration::seconds(16));
    lives.close_due().await.unwrap();
    assert!(world.names().is_empty() && world.connected(&record.room_name).is_empty());
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn end_of_an_unlisted_room_is_finished_after_a_crash(WithRedis(world): WithRedis) {
    let steady = world.rooms().await;
    let mut ended = Vec::new();
    for polls in cuts().step_by(4) {
        let (booking, record) = world.meeting(&steady).await;
        world.server().flush();
        world.complete(&booking).await;
        ended.push(record.room_name);
        let dies = world.rooms().await;
        if cut(polls, dies.drain()).await.is_some() {
            break;
        }
    }
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    for _ in 0..3 {
        world.make_due().await;
        world.advance(Duration::seconds(16));
        steady.pass().await.unwrap();
    }
    for room in ended {
        assert!(world.connected(&room).is_empty(), "{room}");
    }
    world.assert_rooms(0);
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn two_replicas_close_a_room_together(WithRedis(world): WithRedis) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.meeting(&one).await;
    world.server().flush();
    world.complete(&booking).await;
    let (first, second) = tokio::join!(one.drain(), two.drain());
    first.unwrap();
    second.unwrap();
    world.advance(Duration::seconds(16));
    let (first, second) = tokio::join!(one.close_due(), two.close_due());
    first.unwrap();
    second.unwrap();
    assert!(world.names().is_empty() && world.connected(&record.room_name).is_empty());
    assert_eq!(world.to_close().await.join(" "), "", "rooms that wait to be closed");
}

#[testkit::test]
async fn room_that_a_record_uses_again_is_not_closed(world: World) {
    let rooms = world.rooms().await;
    let (_, record) = world.meeting(&rooms).await;
    world
        .execute(&format!(
            "insert into rooms_to_close (room_name, room_id, not_before)
             values ('{}', '{}', app_now())",
            record.room_name, record.id
        ))
        .await;
    rooms.pass().await.unwrap();
    world.assert_connected(&record.room_name, 2);
    assert!(world.to_close().await.is_empty(), "the row is dropped");
    assert_eq!(world.server().calls("DeleteRoom"), 0);
}

#[testkit::test]
async fn row_from_before_the_clock_was_set_back_is_due(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.meeting(&rooms).await;
    world.complete(&booking).await;
    store::set_ended(&world.pool, record.id, true).await.unwrap();
    world.advance(Duration::hours(-1));
    rooms.close_due().await.unwrap();
    world.assert_rooms(0);
}
