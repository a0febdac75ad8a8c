//! Two replicas on one database, in the interleavings of correctness.md §2-§4: both always reach the same room, and no
//! room in use is deleted.

use std::sync::Arc;

use chassis::status::Reason;
use domain::RoomStatus;
use futures::future::join_all;
use livekit_dev::Fault;
use room_lifecycle::{
    Error,
    rooms::store::{self, Record},
};
use sqlx::Connection;
use time::Duration;
use tokio::task::JoinHandle;

use crate::harness::{Booking, Service, State, World, owner, reason};

/// Starts an ensure in the background.
fn spawn(rooms: &Service, booking: &Booking, forced: bool) -> JoinHandle<Result<Record, Error>> {
    let (rooms, owner) = (rooms.clone(), owner(booking));
    tokio::spawn(async move { rooms.ensure(owner, forced).await })
}

/// Makes updates of records fail for the replica named `slow` where `condition` holds.
async fn refuse(world: &World, condition: &str) {
    world
        .execute(&format!(
            "create or replace function refuse() returns trigger language plpgsql as $$
             begin
                 if current_setting('application_name') = 'slow' and ({condition}) then
                     raise exception 'refused by a test';
                 end if;
                 return new;
             end $$;
             create or replace trigger refuse before update on livekit_rooms
             for each row execute function refuse();"
        ))
        .await;
}

#[testkit::test]
async fn concurrent_replicas_create_the_same_room(world: World) {
    let replicas = [world.rooms().await, world.rooms().await];
    for attempt in 0..10 {
        let booking = world.booking(State::OpenNow).await;
        let calls = (0..8).map(|n| spawn(&replicas[n % 2], &booking, n % 3 == 0));
        let answers = join_all(calls.collect::<Vec<_>>()).await;
        let names: Vec<String> =
            answers.into_iter().map(|answer| answer.unwrap().unwrap().room_name).collect();
        assert!(names.iter().all(|name| *name == names[0]), "attempt {attempt}: {names:?}");
    }
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn concurrent_intent_is_written_once(world: World) {
    for _ in 0..100 {
        let owner = owner(&world.booking(State::OpenNow).await);
        let intents = (0..4).map(|_| store::insert_intents(&world.pool, std::slice::from_ref(&owner)));
        let written: usize = join_all(intents).await.into_iter().map(|intents| intents.unwrap().len()).sum();
        assert_eq!(written, 1);
    }
}

#[testkit::test]
async fn concurrent_replicas_reach_the_same_generation(world: World) {
    let replicas = [world.rooms().await, world.rooms().await];
    for _ in 0..10 {
        let (booking, _) = world.open_room(&replicas[0]).await;
        world.server().restart();
        world.advance(Duration::seconds(6));
        let calls = (0..8).map(|n| spawn(&replicas[n % 2], &booking, n % 3 == 0));
        for answer in join_all(calls.collect::<Vec<_>>()).await {
            assert_eq!(answer.unwrap().unwrap().generation, 2, "generation");
        }
        world.complete(&booking).await;
        replicas[0].drain().await.unwrap();
    }
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn late_create_deletes_only_its_own_generation(world: World) {
    let (slow, quick) = (world.rooms().await, world.rooms().await);
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let late = spawn(&slow, &booking, false);
    world.reached("CreateRoom", 1).await;

    quick.ensure(owner(&booking), false).await.unwrap();
    world.server().restart();
    let moved_on = quick.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(moved_on.generation, 2, "generation");
    world.server().faults().clear(); // now the slow replica creates generation 1 on LiveKit

    let late = late.await.unwrap().unwrap();
    assert_eq!((late.generation, &late.room_sid), (2, &moved_on.room_sid));
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn late_create_leaves_no_room_after_the_end(world: World) {
    let (slow, quick) = (world.rooms().await, world.rooms().await);
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let late = spawn(&slow, &booking, false);
    world.reached("CreateRoom", 1).await;
    world.complete(&booking).await;
    quick.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    world.server().faults().clear();

    assert_eq!(reason(late.await.unwrap()), Reason::MeetingEnded);
    world.assert_rooms(0);
}

#[testkit::test]
async fn ensure_is_refused_when_the_meeting_ends_meanwhile(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let late = spawn(&rooms, &booking, false);
    world.reached("CreateRoom", 1).await;
    world.complete(&booking).await; // its mark is not drained yet
    world.server().faults().clear();

    assert_eq!(reason(late.await.unwrap()), Reason::MeetingEnded);
    rooms.drain().await.unwrap();
    world.assert_rooms(0);
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
}

#[testkit::test]
async fn old_list_does_not_replace_the_next_generation(world: World) {
    let (slow, quick) = (world.rooms().await, world.rooms().await);
    let (booking, _) = world.open_room(&quick).await;
    world.server().restart();
    world.server().faults().set_next("ListRooms", 1, Fault::HangAfterEffect);
    let late = spawn(&slow, &booking, true);
    world.reached("ListRooms", 1).await; // the list shows that generation 1 is missing

    let moved_on = quick.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(moved_on.generation, 2, "generation");
    world.server().faults().clear();
    let late = late.await.unwrap().unwrap();
    assert_eq!((late.generation, late.room_sid), (2, moved_on.room_sid));
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn room_missed_by_two_replicas_is_replaced_once(world: World) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.open_room(&one).await;
    world.server().restart();
    // Holds the record's row lock until both replicas wait for it.
    let lock = world.hold(&format!("select from livekit_rooms where id = '{}' for update", record.id)).await;
    let answers = [spawn(&one, &booking, true), spawn(&two, &booking, true)];
    world.reached("ListParticipants", 2).await; // both have confirmed the loss
    testkit::eventually("both wait for the row", || async { world.waiting(2).await }).await;
    lock.close().await.unwrap();
    for answer in join_all(answers).await {
        assert_eq!(answer.unwrap().unwrap().generation, 2, "generation");
    }
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn concurrent_end_and_create_leave_no_room(world: World) {
    let (one, two) = (world.rooms().await, world.rooms().await);
    let booking = world.booking(State::OpenNow).await;
    let room = testkit::seed::pending_room(&world.pool, &booking).await;
    // Holds the record's row lock until the result and the end wait for it.
    let lock = world.hold(&format!("select from livekit_rooms where id = '{}' for update", room.id)).await;
    let create = spawn(&one, &booking, false);
    testkit::eventually("the result waits for the row", || async { world.waiting(1).await }).await;
    world.complete(&booking).await;
    let end = tokio::spawn({
        let two = Service::clone(&two);
        async move { two.drain().await }
    });
    testkit::eventually("the end waits for the row", || async { world.waiting(2).await }).await;
    lock.close().await.unwrap();
    assert_eq!(reason(create.await.unwrap()), Reason::MeetingEnded);
    end.await.unwrap().unwrap();
    one.drain().await.unwrap();
    world.assert_rooms(0);
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
}

#[testkit::test]
async fn create_is_refused_when_the_meeting_ends_meanwhile(world: World) {
    let one = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    // Blocks inserts into the table, and so the commit of the intent.
    let lock = world.hold("lock table livekit_room_names in share mode").await;
    let create = tokio::spawn({
        let (one, owner) = (Service::clone(&one), owner(&booking));
        async move { one.create(owner).await }
    });
    testkit::eventually("the intent waits", || async { world.waiting(1).await }).await;
    world.complete(&booking).await; // writes no mark: the record is not committed yet
    lock.close().await.unwrap();
    assert_eq!(reason(create.await.unwrap()), Reason::MeetingEnded);
    one.drain().await.unwrap();
    world.assert_rooms(0);
}

#[testkit::test]
async fn created_room_is_deleted_when_its_result_is_not_written(world: World) {
    let slow = world.rooms_named("slow").await;
    let booking = world.booking(State::OpenNow).await;
    refuse(&world, "new.status = 'active'").await;
    assert_eq!(reason(slow.ensure(owner(&booking), false).await), Reason::Internal);
    let record = world.record(&booking).await;
    assert_eq!((record.status, record.generation), (RoomStatus::Pending, 2));
    assert!(world.names().is_empty(), "the room is deleted at once, not by the next pass");

    world.execute("drop trigger refuse on livekit_rooms").await;
    slow.pass().await.unwrap();
    assert_eq!(world.names(), [record.room_name]);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn room_completed_by_another_replica_is_kept(world: World) {
    let (slow, quick) = (world.rooms_named("slow").await, world.rooms().await);
    let booking = world.booking(State::OpenNow).await;
    refuse(&world, "new.status = 'active'").await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let late = spawn(&slow, &booking, false);
    world.reached("CreateRoom", 1).await;
    let completed = quick.ensure(owner(&booking), false).await.unwrap();
    world.join(&completed.room_name, &booking.guest);
    world.server().faults().clear();

    assert!(late.await.unwrap().is_err());
    let record = world.record(&booking).await;
    assert_eq!((record.generation, record.room_sid), (1, completed.room_sid));
    assert_eq!(world.server().participants(&record.room_name).len(), 1, "participants that LiveKit lists");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn failed_writes_delete_no_room_until_a_pass(world: World) {
    let (slow, quick) = (world.rooms_named("slow").await, world.rooms().await);
    let (stays, ends) = (world.booking(State::OpenNow).await, world.booking(State::OpenNow).await);
    refuse(&world, "true").await;
    for booking in [&stays, &ends] {
        assert!(slow.ensure(owner(booking), false).await.is_err(), "{booking:?}");
        assert_eq!(world.record(booking).await.status, RoomStatus::Pending, "status of the record");
    }
    world.assert_rooms(2);
    assert_eq!(world.server().calls("DeleteRoom"), 0);

    world.complete(&ends).await;
    quick.pass().await.unwrap();
    assert_eq!(world.names(), [world.record(&stays).await.room_name]);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn database_outage_during_create_loses_nothing(world: World) {
    let (alone, wire) = world.rooms_on_a_wire().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let late = spawn(&alone, &booking, false);
    world.reached("CreateRoom", 1).await;
    drop(wire);
    world.server().faults().clear();
    assert_eq!(reason(late.await.unwrap()), Reason::DatabaseUnavailable);
    assert_eq!((world.names().len(), world.server().calls("DeleteRoom")), (1, 0));
    world.rooms().await.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn waiting_caller_takes_over_after_a_cancelled_one(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let first = spawn(&rooms, &booking, false);
    world.reached("CreateRoom", 1).await;
    let second = spawn(&rooms, &booking, false);
    first.abort();
    assert_eq!(second.await.unwrap().unwrap().generation, 1, "generation");
    world.server().faults().clear();
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn old_listing_does_not_miss_a_new_room(world: World) {
    let (slow, quick) = (Arc::new(world.rooms().await), world.rooms().await);
    world.server().faults().set_next("ListRooms", 1, Fault::HangAfterEffect);
    let pass = {
        let slow = Arc::clone(&slow);
        tokio::spawn(async move { slow.pass().await })
    };
    world.reached("ListRooms", 1).await;
    let (booking, record) = world.open_room(&quick).await;
    world.server().faults().clear();
    pass.await.unwrap().unwrap();
    let after = world.record(&booking).await;
    assert_eq!((after.generation, after.room_sid), (1, record.room_sid));
    assert_eq!(world.server().calls("ListParticipants"), 0, "the room was not checked as missing");
    world.assert_one_room_per_open_owner().await;
}
