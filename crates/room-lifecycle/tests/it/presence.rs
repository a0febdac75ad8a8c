//! Recorded presence: no absent participant counts as joined, and no connected one as left (I6).

use livekit_dev::Fault;
use room_lifecycle::rooms::store::Record;
use time::Duration;

use crate::{
    harness::{Booking, Service, World, owner},
    webhooks::event,
};

/// Delivers a webhook about this participant.
async fn send_webhook(world: &World, rooms: &Service, record: &Record, kind: &str, who: &str, sid: &str) {
    let id = format!("EV_{kind}_{sid}");
    let body = event(&id, kind, record, who, sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
}

async fn joined_guest(world: &World) -> (crate::harness::Replica, Booking, Record, String) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    let sid = world.join(&record.room_name, &booking.guest).sid;
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    (rooms, booking, record, sid)
}

#[testkit::test]
async fn connected_participant_has_not_joined_until_active(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.server().connect(&world.token(&record.room_name, &booking.guest)).unwrap();
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "invited");
    world.server().activate(&record.room_name, &booking.guest).unwrap();
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[testkit::test]
async fn left_takes_two_checks_five_seconds_apart(world: World) {
    let (rooms, booking, record, _) = joined_guest(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    for wait in [0, 2, 2] {
        world.advance(Duration::seconds(wait));
        world.check(&rooms, &record).await;
        assert_eq!(world.status(&booking, &booking.guest).await, "joined", "after {wait} s");
    }
    world.advance(Duration::seconds(2));
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn participant_stays_joined_after_one_missed_check(world: World) {
    let (rooms, booking, record, _) = joined_guest(&world).await;
    for _ in 0..3 {
        world.server().faults().set_next(
            "ListParticipants",
            1,
            Fault::OmitParticipant(booking.guest.clone()),
        );
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(6));
        world.check(&rooms, &record).await;
        world.advance(Duration::seconds(6));
    }
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[testkit::test]
async fn left_takes_two_checks_when_the_clock_was_set_back(world: World) {
    let (rooms, booking, record, _) = joined_guest(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    world.check(&rooms, &record).await;
    world.advance(Duration::minutes(-30));
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
    world.advance(Duration::seconds(6));
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn left_event_of_the_current_sid_needs_one_check(world: World) {
    let (rooms, booking, record, sid) = joined_guest(&world).await;
    send_webhook(&world, &rooms, &record, "participant_left", &booking.guest, &sid).await;
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined", "the participant is still connected");
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn late_left_event_of_an_old_sid_is_ignored(world: World) {
    let (rooms, booking, record, old) = joined_guest(&world).await;
    let new = world.join(&record.room_name, &booking.guest).sid; // a second tab
    assert_ne!(new, old);
    world.check(&rooms, &record).await;
    send_webhook(&world, &rooms, &record, "participant_left", &booking.guest, &old).await;
    world.server().faults().set_next("ListParticipants", 1, Fault::OmitParticipant(booking.guest.clone()));
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, &booking.guest).await, "joined");
}

#[testkit::test]
async fn recorders_are_not_participants(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    sqlx::query!(
        "update livekit_participants set user_id = 'EG_recorder' where room_id = $1 and user_id = $2",
        record.id.0,
        booking.guest
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.join(&record.room_name, "EG_recorder");
    world.join(&record.room_name, "a-stranger");
    world.check(&rooms, &record).await;
    assert_eq!(world.status(&booking, "EG_recorder").await, "invited");
}

#[testkit::test]
async fn check_during_the_end_leaves_no_participant_joined(world: World) {
    let (slow, quick) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.open_room(&quick).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set_next("ListParticipants", 1, Fault::HangAfterEffect);
    let late = tokio::spawn({
        let slow = Service::clone(&slow);
        let id = record.id;
        async move { slow.reconcile(&[id]).await }
    });
    world.reached("ListParticipants", 1).await; // the slow check has read the participant
    world.complete(&booking).await;
    quick.drain().await.unwrap();
    world.server().faults().clear();
    late.await.unwrap().unwrap();
    assert_ne!(world.status(&booking, &booking.guest).await, "joined");

    // If the late check had written the participant as joined, a pass would correct it.
    sqlx::query!("update livekit_participants set status = 'joined' where room_id = $1", record.id.0)
        .execute(&world.pool)
        .await
        .unwrap();
    quick.pass().await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn participant_of_a_lost_room_has_left_after_two_passes(world: World) {
    let (rooms, booking, _, _) = joined_guest(&world).await;
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    rooms.pass().await.unwrap();
    world.advance(Duration::seconds(10));
    rooms.pass().await.unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "left");
}

#[testkit::test]
async fn kick_is_not_undone_by_a_concurrent_check(world: World) {
    let (rooms, booking, record, _) = joined_guest(&world).await;
    world.server().leave(&record.room_name, &booking.guest).unwrap();
    world.check(&rooms, &record).await;
    world.advance(Duration::seconds(6));
    // Holds the locks of a kick that is not committed yet.
    let mut kick = world
        .hold(&format!(
            "update livekit_rooms set watched_until = app_now() + interval '1 hour' where id = '{0}';
             update livekit_participants set status = 'kicked', kicked_at = app_now(), absent_since = null
             where room_id = '{0}' and user_id = '{1}'",
            record.id, booking.guest
        ))
        .await;
    let late = tokio::spawn({
        let (rooms, id) = (Service::clone(&rooms), record.id);
        async move { rooms.reconcile(&[id]).await }
    });
    testkit::eventually("the check waits for the room", async || world.waiting(1).await).await;
    sqlx::raw_sql("commit").execute(&mut kick).await.unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");
}
