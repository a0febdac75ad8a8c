//! A room with only stale participants gets its next generation, and no other room does.

use livekit_dev::Fault;

use crate::harness::{WithRedis, owner};

#[testkit::test]
async fn stale_room_is_replaced_after_a_minute(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 70).await;
    world.server().restart();
    world.watch_seconds(&rooms, 59).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
    assert_eq!(world.names(), std::slice::from_ref(&meeting.record.room_name), "clients may still come back");
    world.watch_seconds(&rooms, 20).await;
    let next = world.record(&meeting.booking).await;
    assert_eq!(next.generation, 2, "generation");
    assert!(world.names().contains(&next.room_name));
    assert!(world.server().participants(&next.room_name).is_empty());
}

#[testkit::test]
async fn stale_room_is_replaced_despite_a_kicked_participant(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 70).await;
    world.server().restart();
    assert!(
        rooms.kick(owner(&meeting.booking), &meeting.booking.guest).await.unwrap(),
        "the kicked user was in the room"
    );
    world.watch_seconds(&rooms, 79).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "kicked"]);
    assert_eq!(world.record(&meeting.booking).await.generation, 2, "generation");
}

#[testkit::test]
async fn stale_room_is_kept_when_a_participant_joins(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 70).await;
    world.server().restart();
    world.watch_seconds(&rooms, 59).await;
    // During the last probes the list before them lacks the newcomer, and the webhook is late.
    world.join(&meeting.record.room_name, "newcomer");
    for _ in 0..20 {
        let fault = Fault::OmitParticipant("newcomer".to_owned());
        world.server().faults().set_next("ListParticipants", 1, fault);
        world.watch_seconds(&rooms, 1).await;
        world.server().faults().clear();
    }
    assert_eq!(world.record(&meeting.booking).await.generation, 1, "generation");
    assert!(world.connected(&meeting.record.room_name).contains(&"newcomer".to_owned()));
}

#[testkit::test]
async fn stale_room_is_kept_for_a_minute_after_an_outage(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.watch_seconds(&rooms, 50).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
    let other = world.watched_meeting(&rooms).await;
    world.server().faults().set("*", Fault::BadGateway);
    world.watch_seconds(&rooms, 20).await;
    world.server().faults().clear();
    world.watch_seconds(&rooms, 59).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 1, "generation");
    world.watch_seconds(&rooms, 20).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 2, "generation");
    assert_eq!(world.statuses(&other).await, ["joined", "joined"]);
}

/// LiveKit's list can lack a participant who is connected (livekit.md §3).
#[testkit::test]
async fn room_is_kept_while_an_unlisted_participant_answers(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    let host = meeting.booking.host.clone();
    world.server().restart();
    world.watch_seconds(&rooms, 30).await;
    let sid = world.join(&meeting.record.room_name, &host).sid;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant(host.clone()));
    world.send_webhook(&rooms, &meeting.record, "participant_joined", &host, &sid).await;
    world.watch_seconds(&rooms, 150).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 1, "generation");
    assert_eq!(world.server().connected(&meeting.record.room_name)[0].sid, sid);
}
