//! How often participants are probed, by which replica, and which rooms a probe leaves.

use livekit_dev::Fault;
use time::Duration;

use crate::harness::{Service, WithRedis};

#[testkit::test]
async fn probes_are_five_a_second_and_the_quietest_come_first(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let mut meetings = Vec::new();
    for _ in 0..8 {
        meetings.push(world.watched_meeting(&rooms).await);
    }
    for meeting in &meetings[..3] {
        for who in [&meeting.booking.host, &meeting.booking.guest] {
            let kind = if *who == meeting.booking.host { "participant_joined" } else { "track_published" };
            world.send_webhook(&rooms, &meeting.record, kind, who, &format!("PA_{who}")).await;
        }
    }
    world.advance(Duration::seconds(15)); // all are due
    world.watch_seconds(&rooms, 1).await;
    let quiet = sqlx::query_scalar!(
        r#"select distinct room_id as "room!" from livekit_participants where checked_at > '-infinity'
           and not exists (select from livekit_events e where e.room_id = livekit_participants.room_id
                           and e.event_id like 'EV%')"#
    );
    assert_eq!(quiet.fetch_all(&world.pool).await.unwrap().len(), 5, "the five meetings without events");
    for seconds in 1..=3 {
        assert!(world.probes() <= 5 * seconds, "{} probes in {seconds} s", world.probes());
        world.watch_seconds(&rooms, 1).await;
    }
    world.watch_seconds(&rooms, 40).await;
    let probes = world.probes();
    assert!((16..=80).contains(&probes), "{probes}: no participant is probed more often than every 10 s");
}

#[testkit::test]
async fn rooms_are_probed_at_fifty_a_second_after_a_crash(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    // Rooms that LiveKit does not have: no node answers for their participants either.
    world
        .execute(
            "with booked as (
                 insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url)
                 select 'h' || i, 'g' || i, 'h' || i, 't', app_now(), 60, 'u' from generate_series(1, 120) i
                 returning id),
             rooms as (
                 insert into livekit_rooms (session_id, room_name, room_sid, status, max_participants, made_at)
                 select id, 'session-' || id, 'RM_' || id, 'active', 5, app_now() from booked
                 returning id)
             insert into livekit_participants (room_id, user_id, role, status, participant_sid)
             select id, role, role, 'joined', 'PA_' || role from rooms cross join (values ('host'), ('guest')) r (role)",
        )
        .await;
    world.server().restart();
    world.watch_seconds(&rooms, 1).await;
    assert_eq!(world.probes(), 5, "probes so far");
    world.watch_seconds(&rooms, 1).await;
    assert!((100..=5 + 100 + 5).contains(&world.probes()), "{}: 50 rooms", world.probes());
    world.watch_seconds(&rooms, 30).await;
    let left = sqlx::query_scalar!("select count(*) from livekit_participants where status = 'left'");
    assert_eq!(left.fetch_one(&world.pool).await.unwrap(), Some(242));
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
}

#[testkit::test]
async fn one_replica_at_a_time_probes(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let other = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 1).await;
    let probed = world.probes();
    assert!(probed > 0);
    world.advance(Duration::seconds(20));
    other.stale_participants.probe_participants().await.unwrap();
    assert_eq!(world.probes(), probed, "probes so far");
    world.advance(Duration::seconds(11));
    other.stale_participants.probe_participants().await.unwrap();
    assert!(world.probes() > probed, "the other replica takes over from the stopped one");
    world.server().restart();
    world.watch_seconds(&other, 30).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
}

#[testkit::test]
async fn probes_go_on_when_the_clock_is_set_back(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    world.watch_seconds(&rooms, 30).await;
    world.server().restart();
    world.watch_seconds(&rooms, 5).await;
    world.advance(Duration::minutes(-30));
    world.watch_seconds(&rooms, 40).await;
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
    world.advance(Duration::minutes(-30));
    world.watch_seconds(&rooms, 100).await;
    assert_eq!(world.record(&meeting.booking).await.generation, 2, "generation");
}

#[testkit::test]
async fn probe_rooms_are_deleted(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    let created = world.server().calls("CreateRoom");
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.server().calls("CreateRoom"), created, "a healthy LiveKit needs no probe room");
    world.server().restart();
    world.server().faults().set_next("DeleteRoom", 3, Fault::BadGateway);
    world.watch_seconds(&rooms, 30).await;
    assert!(world.server().calls("CreateRoom") > created);
    assert_eq!(world.statuses(&meeting).await, ["left", "left"]);
    rooms.pass().await.unwrap();
    assert_eq!(world.names(), [meeting.record.room_name]);
}

/// A copy of the database does not touch the original's LiveKit.
#[testkit::test]
async fn no_participant_is_probed_where_deletion_is_off(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    world.watched_meeting(&rooms).await;
    world.execute("update deployment set database_identity = 'another'").await;
    rooms.pass().await.unwrap();
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.probes(), 0, "probes so far");
}

#[testkit::test]
async fn departure_during_a_probe_raises_no_alarm(WithRedis(world): WithRedis) {
    let rooms = world.rooms().await;
    let meeting = world.watched_meeting(&rooms).await;
    let guest = meeting.booking.guest.clone();
    let left = world.server().participants(&meeting.record.room_name);
    let sid = left.into_iter().find(|one| one.identity == guest).unwrap().sid;
    world.server().leave(&meeting.record.room_name, &guest).unwrap();
    world.advance(Duration::SECOND);
    let probing = tokio::spawn({
        let rooms = Service::clone(&rooms);
        async move { rooms.stale_participants.probe_participants().await }
    });
    world.reached("UpdateSubscriptions", 2).await;
    world.send_webhook(&rooms, &meeting.record, "participant_left", &guest, &sid).await;
    probing.await.unwrap().unwrap();
    let alarms = sqlx::query_scalar!("select count(*) from ghost_watch where alarmed_at is not null");
    assert_eq!(alarms.fetch_one(&world.pool).await.unwrap(), Some(0));
    world.check_meeting(&rooms, &meeting).await;
    world.watch_seconds(&rooms, 30).await;
    assert_eq!(world.statuses(&meeting).await, ["joined", "left"]);
}
