//! A kicked participant is removed at once, after a return with an old token, and when LiveKit cannot find them (I9).

use chassis::status::Reason;
use domain::{Owner, SessionId};
use livekit_dev::{Code, Fault};
use room_lifecycle::rooms::store::{Record, participants};
use time::Duration;
use uuid::Uuid;

use crate::{
    harness::{Booking, Replica, State, World, owner, reason},
    webhooks::event,
};

async fn kicked(world: &World) -> (Replica, Booking, Record) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    (rooms, booking, record)
}

fn connected(world: &World, record: &Record) -> usize {
    world.server().connected(&record.room_name).len()
}

/// The guest returns with an old token. LiveKit reports the join but cannot find the participant (livekit.md §3).
async fn return_as_stale(world: &World, rooms: &Replica, booking: &Booking, record: &Record) {
    let sid = world.join(&record.room_name, &booking.guest).sid;
    world.server().faults().set("*", Fault::OmitParticipant(booking.guest.clone()));
    world.server().faults().set("RemoveParticipant", Fault::Refuse { code: Code::NotFound });
    let body = event(&format!("EV_{sid}"), "participant_joined", record, &booking.guest, &sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
}

#[testkit::test]
async fn kicked_participant_is_removed_at_once(world: World) {
    let (_, booking, record) = kicked(&world).await;
    world.assert_connected(&record.room_name, 0);
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");
    assert_eq!(world.status(&booking, &booking.host).await, "invited");
    let watched = world.record(&booking).await;
    let wanted = Duration::minutes(70); // the lifetime of a token and 10 min
    let left = watched.watched_until.unwrap() - watched.now;
    assert!((wanted - Duration::minutes(1)..=wanted).contains(&left), "{left}");
}

#[testkit::test]
async fn returned_participant_is_removed_without_webhooks(world: World) {
    let (rooms, booking, record) = kicked(&world).await;
    for _ in 0..3 {
        world.join(&record.room_name, &booking.guest);
        rooms.watch().await.unwrap();
        world.assert_connected(&record.room_name, 0);
        assert_eq!(world.status(&booking, &booking.guest).await, "kicked");
        world.advance(Duration::seconds(40));
    }
    assert_eq!(world.record(&booking).await.generation, 1, "other participants are not disturbed");
    // Also before the participant is active.
    world.server().connect(&world.token(&record.room_name, &booking.guest)).unwrap();
    rooms.watch().await.unwrap();
    world.assert_connected(&record.room_name, 0);
}

/// With each return LiveKit renews the token for the lifetime of the first one.
#[testkit::test]
async fn return_is_watched_as_long_as_its_renewed_token_lives(world: World) {
    let (rooms, booking, record) = kicked(&world).await;
    world.join(&record.room_name, &booking.host); // keeps the room from expiring while empty
    world.advance(Duration::minutes(59));
    world.join(&record.room_name, &booking.guest);
    rooms.watch().await.unwrap();
    assert_eq!(world.connected(&record.room_name), std::slice::from_ref(&booking.host));
    let record = world.record(&booking).await;
    let watched = record.watched_until.unwrap() - record.now;
    assert!(
        watched > Duration::minutes(69),
        "{watched}: a token is valid for 60 min, and LiveKit accepts it a little longer"
    );
}

#[testkit::test]
async fn room_is_not_checked_every_second_after_the_watch(world: World) {
    let (rooms, _, _) = kicked(&world).await;
    world.advance(Duration::minutes(71));
    let calls = world.server().all_calls();
    rooms.watch().await.unwrap();
    assert_eq!(world.server().all_calls(), calls);
}

#[testkit::test]
async fn kicked_participant_is_removed_until_gone(world: World) {
    let (rooms, booking, record) = kicked(&world).await;
    return_as_stale(&world, &rooms, &booking, &record).await;
    for second in 1..=3 {
        let before = world.server().calls("RemoveParticipant");
        rooms.watch().await.unwrap();
        assert_eq!(world.server().calls("RemoveParticipant"), before + 1, "in second {second}");
        world.advance(Duration::seconds(9));
    }
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
    world.advance(Duration::seconds(5));
    world.server().faults().clear_method("ListRooms");
    rooms.watch().await.unwrap();
    let next = world.record(&booking).await;
    assert_eq!(next.generation, 2, "the last resort is a new room without the participant");
    assert_eq!(world.names(), [next.room_name]);
}

#[testkit::test]
async fn second_kick_does_not_restart_the_removal(world: World) {
    let (rooms, booking, record) = kicked(&world).await;
    return_as_stale(&world, &rooms, &booking, &record).await;
    world.advance(Duration::seconds(31));
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    rooms.watch().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 2, "generation");
}

#[testkit::test]
async fn kicked_participant_is_not_removed_again_after_leaving(world: World) {
    let (rooms, booking, record) = kicked(&world).await;
    return_as_stale(&world, &rooms, &booking, &record).await;
    let sid = &world.server().connected(&record.room_name)[0].sid;
    let body = event("EV_left", "participant_left", &record, &booking.guest, sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    let before = world.server().calls("RemoveParticipant");
    world.advance(Duration::seconds(40));
    rooms.watch().await.unwrap();
    assert_eq!(world.server().calls("RemoveParticipant"), before);
    assert_eq!(world.record(&booking).await.generation, 1, "generation");
}

#[testkit::test]
async fn failed_removal_is_retried(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    for fault in [Fault::Refuse { code: Code::Unavailable }, Fault::BadGateway] {
        world.server().faults().set("RemoveParticipant", fault);
        assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kick is recorded");
        rooms.drain().await.unwrap();
        rooms.watch().await.unwrap();
        world.assert_connected(&record.room_name, 1);
        assert!(world.marks(record.id.0).await > 0, "the removal is still marked");
        world.server().faults().clear();
    }
    world.advance(Duration::seconds(3));
    rooms.drain().await.unwrap();
    assert_eq!((connected(&world, &record), world.marks(record.id.0).await), (0, 0));
}

#[testkit::test]
async fn kick_before_creation_holds_in_the_created_room(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    let record = rooms.ensure(owner(&booking), false).await.unwrap();
    world.join(&record.room_name, &booking.guest);
    rooms.watch().await.unwrap();
    world.assert_connected(&record.room_name, 0);
}

#[testkit::test]
async fn kick_holds_in_the_next_generation(world: World) {
    let (rooms, booking, _) = kicked(&world).await;
    world.server().restart();
    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    world.join(&next.room_name, &booking.guest);
    rooms.watch().await.unwrap();
    world.assert_connected(&next.room_name, 0);
}

#[testkit::test]
async fn kick_needs_an_open_room_and_its_participant(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    assert!(!rooms.kick(owner(&booking), "a-stranger").await.unwrap(), "the kicked user was not in the room");
    assert_eq!(world.record(&booking).await.watched_until, None);
    assert_eq!(world.marks(record.id.0).await, 0, "marks of the room");
    let unknown = Owner::Session(SessionId(Uuid::new_v4()));
    assert_eq!(reason(rooms.kick(unknown, "x").await), Reason::SessionNotFound);
    let over = world.booking(State::WindowOver).await;
    assert_eq!(reason(rooms.kick(owner(&over), &over.guest).await), Reason::MeetingEnded);
}

#[testkit::test]
async fn stale_return_is_the_first_without_an_end(world: World) {
    let (_, booking, record) = kicked(&world).await;
    let stale_since = async || {
        let kicked = participants::list_excluded(&world.pool, record.id).await.unwrap();
        assert_eq!(kicked.len(), 1);
        let kicked_at = sqlx::query_scalar!(
            r#"select kicked_at as "at!" from livekit_participants where room_id = $1 and status = 'kicked'"#,
            record.id.0
        );
        let kicked_at = kicked_at.fetch_one(&world.pool).await.unwrap();
        kicked[0].rejoined_since.map(|since| (since - kicked_at).whole_seconds())
    };
    let sid = record.room_sid.as_deref();
    let record_event =
        async |room_sid: Option<&str>, kind: &str, who: &str, participant: Option<&str>, second: f64| {
            sqlx::query!(
                "insert into livekit_events
                 (event_id, room_id, room_sid, event_type, identity, participant_sid, received_at)
             select gen_random_uuid(), $1, $2, $3, $4, $5, kicked_at + make_interval(secs => $6)
             from livekit_participants where room_id = $1 and status = 'kicked'",
                record.id.0,
                room_sid,
                kind,
                who,
                participant,
                second
            )
            .execute(&world.pool)
            .await
            .unwrap();
        };
    let (guest, host) = (booking.guest.as_str(), booking.host.as_str());
    assert_eq!(stale_since().await, None);
    record_event(sid, "participant_joined", guest, Some("PA_before"), -5.0).await;
    record_event(Some("RM_other"), "participant_joined", guest, Some("PA_elsewhere"), 1.0).await;
    record_event(sid, "participant_joined", host, Some("PA_host"), 1.0).await;
    record_event(sid, "track_published", guest, Some("PA_track"), 1.0).await;
    assert_eq!(stale_since().await, None, "no return to this room");
    for (n, gone) in ["left", "connection_aborted", "removed"].into_iter().enumerate() {
        let participant = format!("PA_{n}");
        record_event(sid, &format!("participant_{gone}"), guest, Some(&participant), 2.0).await;
        record_event(sid, "participant_joined", guest, Some(&participant), 3.0).await; // webhooks arrive in any order
    }
    assert_eq!(stale_since().await, None, "each return ended");
    for (participant, second) in [("PA_late", 20.0), ("PA_early", 10.0), ("PA_early", 12.0)] {
        record_event(sid, "participant_joined", guest, Some(participant), second).await;
    }
    assert_eq!(stale_since().await, Some(10));
    record_event(sid, "participant_left", host, Some("PA_early"), 13.0).await;
    assert_eq!(stale_since().await, Some(10), "another participant left");
    record_event(None, "participant_left", guest, Some("PA_early"), 14.0).await;
    assert_eq!(stale_since().await, Some(20));
    record_event(sid, "participant_joined", guest, None, 15.0).await;
    record_event(sid, "participant_left", guest, None, 16.0).await;
    assert_eq!(stale_since().await, Some(15), "without a SID the ended return is unknown");
}
