//! Participants who were lost in a crash leave, and no connected participant is mistaken for one.

use domain::{LiveStatus, RoomStatus};
use livekit_dev::{Code, Fault};
use time::Duration;

use crate::harness::{
    Service, WithRedis, World,
    seats::{Open, join},
};

#[testkit::test]
async fn participants_of_a_crash_leave_within_a_minute(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"], "the participants answer probes");
    world.server().restart();
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
    let listed = world.server().participants(&meeting.record.room_name);
    assert_eq!(listed.len(), 2, "LiveKit lists them forever");
    world.check_meeting(&rooms, &meeting).await;
    world.advance(Duration::seconds(6));
    world.check_meeting(&rooms, &meeting).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"], "LiveKit still lists them");
}

#[testkit::test]
async fn stale_participant_has_joined_when_back(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.watch_seconds(&rooms, 30).await;
    let guest = meeting.booking.guest.clone();
    world.enter_meeting(&rooms, &meeting, &guest).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "joined"]);
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "joined"]);
}

#[testkit::test]
async fn stale_participant_leaves_without_disturbing_others(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    let host = meeting.booking.host.clone();
    let sid = world.enter_meeting(&rooms, &meeting, &host).await;
    world.send_webhook(&rooms, &meeting.record, "participant_joined", &host, &sid).await;
    world.watch_seconds(&rooms, 150).await;
    rooms.pass().await.unwrap();
    assert_eq!(world.statuses(&meeting).await, ["joined", "left"]);
    assert_eq!(world.record(&meeting.booking).await.generation, 1, "generation");
    let connected = world.server().connected(&meeting.record.room_name);
    assert_eq!(connected.iter().map(|one| one.sid.as_str()).collect::<Vec<_>>(), [sid]);
}

#[testkit::test]
async fn seats_and_viewers_follow_stale_participants(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    let host = open.room.host.clone();
    enter(&world, &rooms, &open, &host).await;
    enter(&world, &rooms, &open, "ann").await;
    assert_eq!(world.numbers(&open).await, (1, 1, true), "viewers, peak, host present");
    world.server().restart();
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.numbers(&open).await, (0, 1, false), "viewers, peak, host present");
    let seat = world.seat_row(&open, "ann").await;
    assert!(seat.disconnected && seat.held && !seat.left, "the seat is held, as after any disconnect");
    world.advance(Duration::minutes(2));
    rooms.live.release_held().await.unwrap();
    assert_eq!(world.seated(&open).await, 0, "taken seats, without the host's");
}

async fn enter(world: &World, rooms: &Service, open: &Open, who: &str) {
    join(rooms, open, who).await;
    world.enter(open, who).await;
    world.check_live(rooms, open).await;
}

#[testkit::test]
async fn live_session_of_stale_participants_ends_when_empty(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let open = world.live(&rooms, 5).await;
    let host = open.room.host.clone();
    enter(&world, &rooms, &open, &host).await;
    world.server().restart();
    world.watch_seconds(&rooms, 100).await;
    world.advance(Duration::minutes(5));
    world.pass_and_check(&rooms, &open).await;
    assert!(world.closes(&open).await, "the end of the live session is announced");
    world.advance(Duration::seconds(21));
    world.pass_and_check(&rooms, &open).await;
    assert_eq!(world.session_status(&open).await, LiveStatus::Ended);
    assert_eq!(world.live_record(&open).await.status, RoomStatus::Ended, "status of the record");
}

#[testkit::test]
async fn failed_probe_proves_nothing(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    let faults = world.server().faults();
    let refuse = |code| Fault::Refuse { code };
    for fault in [refuse(Code::Unavailable), refuse(Code::DeadlineExceeded), Fault::BadGateway] {
        faults.set("UpdateSubscriptions", fault.clone());
        world.watch_seconds(&rooms, 40).await;
        faults.clear();
        assert_eq!(world.statuses(&meeting).await, ["joined", "joined"], "{fault:?}");
    }
}

/// A real server gave these answers for connected participants, and once more after Redis worked again.
#[testkit::test]
async fn no_participant_is_stale_while_redis_hangs_or_right_after(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    let faults = world.server().faults();
    faults.set("UpdateSubscriptions", Fault::NoResponse);
    faults.set("CreateRoom", Fault::Refuse { code: Code::Unknown });
    world.watch_seconds(&rooms, 60).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"]);
    faults.clear();
    faults.set_next("UpdateSubscriptions", 2, Fault::NoResponse);
    world.watch_seconds(&rooms, 60).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"]);
}

#[testkit::test]
async fn participants_stay_joined_until_livekit_creates_rooms(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    let faults = world.server().faults();
    faults.set("CreateRoom", Fault::Refuse { code: Code::Unknown });
    world.watch_seconds(&rooms, 60).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"]);
    faults.clear();
    world.watch_seconds(&rooms, 9).await;
    assert_eq!(
        world.statuses(&meeting).await,
        ["joined", "joined"],
        "probes without an answer from before do not count"
    );
    world.watch_seconds(&rooms, 15).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
}

#[testkit::test]
async fn event_between_two_probes_is_a_sign_of_life(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.watch_seconds(&rooms, 5).await;
    world.send_webhook(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    world.watch_seconds(&rooms, 15).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "joined"], "two probes since the event are needed");
    world.watch_seconds(&rooms, 15).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
}

/// The webhook skips a locked row. Then its event alone is the sign of life.
#[testkit::test]
async fn event_is_a_sign_of_life_when_the_participant_is_locked(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.server().restart();
    world.watch_seconds(&rooms, 5).await;
    // Locks the participants: the webhook skips them with `skip locked`.
    let lock = world
        .hold(&format!("select from livekit_participants where room_id = '{}' for update", meeting.record.id))
        .await;
    world.send_webhook(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    drop(lock);
    testkit::eventually("the lock is released", || world.quiet()).await;
    world.watch_seconds(&rooms, 8).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "joined"]);
}

#[testkit::test]
async fn stale_participant_has_joined_after_an_answer(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world
        .execute(
            "update livekit_participants set status = 'left', left_at = app_now(), ghost_since = app_now(),
                                             silent_since = app_now() where role = 'guest'",
        )
        .await;
    world.check_meeting(&rooms, &meeting).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "left"]);
    world.watch_seconds(&rooms, 16).await;
    world.make_due().await;
    rooms.drain().await.unwrap();
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"]);
}

/// The guest is marked stale but is connected. Without the event the next probe would be 10 s later.
#[testkit::test]
async fn stale_participant_is_probed_at_once_after_an_event(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world
        .execute(
            "update livekit_participants set checked_at = app_now(); \
             update livekit_participants set status = 'left', left_at = app_now(), ghost_since = app_now(),
                                             silent_since = app_now() where role = 'guest'",
        )
        .await;
    world.watch_seconds(&rooms, 2).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "left"]);
    world.send_webhook(&rooms, &meeting.record, "track_published", &meeting.booking.guest, "PA_guest").await;
    world.watch_seconds(&rooms, 1).await;
    world.make_due().await;
    rooms.drain().await.unwrap();
    assert_eq!(world.statuses(&meeting).await, ["joined", "joined"]);
}
