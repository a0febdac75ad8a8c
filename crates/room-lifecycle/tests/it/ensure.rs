//! `ensure` returns one recently confirmed room, the same for all callers, even when LiveKit fails (I1).

use futures::future::join_all;
use livekit_dev::Fault;
use time::{Duration, OffsetDateTime};

use chassis::status::Reason;
use domain::{Owner, RoomStatus, SessionId};
use uuid::Uuid;

use crate::harness::{Service, State, World, owner, reason};

#[testkit::test]
async fn first_ensure_creates_room_with_metadata_and_limits(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let record = rooms.ensure(owner(&booking), false).await.unwrap();

    assert_eq!(record.room_name, format!("session-{}", booking.id));
    assert_eq!((record.status, record.generation), (RoomStatus::Active, 1));
    assert_eq!(world.names(), std::slice::from_ref(&record.room_name));
    let created = world.server().room(&record.room_name).unwrap();
    assert_eq!(Some(created.sid), record.room_sid);
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&created.metadata).unwrap();
    assert_eq!(metadata["deployment"], deployment.to_string());
    assert_eq!(metadata["session_id"], booking.id.to_string());
    assert_eq!(created.max_participants, 7, "two participants and a margin of five");
    // The timeouts end an hour after the window, which began 5 min ago and closes 2 h after the start.
    let left = Duration::seconds(i64::from(created.empty_timeout));
    assert!((Duration::minutes(174)..=Duration::minutes(175)).contains(&left), "{left}");
    assert_eq!(created.empty_timeout, created.departure_timeout);
    assert_eq!(world.status(&booking, &booking.guest).await, "invited");
}

#[testkit::test]
async fn ensure_does_not_call_livekit_when_the_record_is_fresh(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let calls = world.server().all_calls();
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!((again.room_name, again.room_sid), (first.room_name, first.room_sid));
    assert_eq!(world.server().all_calls(), calls);
}

#[testkit::test]
async fn ensure_lists_rooms_once_when_the_record_is_old(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let before = world.server().all_calls();
    world.advance(Duration::seconds(6));
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!(again.room_sid, first.room_sid);
    assert!(again.confirmed_at > first.confirmed_at);
    let mut expected = before;
    *expected.entry("ListRooms".to_owned()).or_default() += 1;
    assert_eq!(world.server().all_calls(), expected);
}

#[testkit::test]
async fn confirmation_from_the_future_is_replaced(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.advance(Duration::minutes(-10)); // the clock was ahead and is set back
    let before = world.server().calls("ListRooms");
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before + 1);
    assert!(again.confirmed_at.unwrap() <= again.now);
}

#[testkit::test]
async fn closing_room_is_checked_and_kept_open_by_ensure(world: World) {
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    sqlx::query!("update livekit_rooms set closing_at = app_now() where id = $1", record.id.0)
        .execute(&world.pool)
        .await
        .unwrap();
    let before = world.server().calls("ListRooms");
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!((world.server().calls("ListRooms"), again.closing_at), (before + 1, None));
}

#[testkit::test]
async fn missing_room_is_created_once_for_200_callers(world: World) {
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let answers = join_all((0..200).map(|_| rooms.ensure(owner(&booking), false))).await;
    let room = &world.server().rooms()[0];
    for answer in answers {
        let record = answer.unwrap();
        assert_eq!((&record.room_name, record.room_sid.as_ref()), (&room.name, Some(&room.sid)));
    }
    world.assert_rooms(1);
    assert_eq!(world.server().calls("CreateRoom"), 1);
}

#[testkit::test]
async fn forced_check_ignores_freshness_and_is_shared(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let began = std::time::Instant::now();
    rooms.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), 1);

    let lists_since = |lists| lists + (began.elapsed().as_secs() / 2).saturating_sub(1); // on a slow machine
    let answers = join_all((0..100).map(|_| rooms.ensure(owner(&booking), true))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().room_sid == first.room_sid));
    let lists = world.server().calls("ListRooms");
    assert!(lists == 2 || lists <= lists_since(2), "one list, 2 s later, for all callers: {lists}");

    let mut calls = Vec::new();
    for _ in 0..20 {
        let (rooms, owner) = (Service::clone(&rooms), owner(&booking));
        calls.push(tokio::spawn(async move { rooms.ensure(owner, true).await }));
        world.record(&booking).await; // the calls start one after the other
    }
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    let more = world.server().calls("ListRooms");
    assert!(
        more == lists + 1 || more <= lists_since(3),
        "callers that came during the wait share it: {more}"
    );
}

#[testkit::test]
async fn forced_ensure_replaces_a_lost_room(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    world.server().restart();
    let stale = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!(stale.room_name, first.room_name, "the record is still fresh");

    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    assert_eq!((next.generation, next.room_name), (2, format!("session-{}-g2", booking.id)));
    assert_eq!(world.names(), [format!("session-{}-g2", booking.id)]);
    let known = sqlx::query_scalar!(
        "select room_name from livekit_room_names where room_id = $1 order by generation",
        first.id.0
    )
    .fetch_all(&world.pool)
    .await
    .unwrap();
    assert_eq!(known, [first.room_name.clone(), format!("{}-g2", first.room_name)]);
}

#[testkit::test]
async fn room_gets_its_next_generation_after_a_livekit_restart(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for generation in 2..5 {
        world.server().restart();
        world.advance(Duration::seconds(6));
        assert_eq!(
            rooms.ensure(owner(&booking), false).await.unwrap().generation,
            generation,
            "generation {generation}"
        );
        world.assert_one_room_per_open_owner().await;
    }
}

#[testkit::test]
async fn closed_owner_is_refused_with_its_reason(world: World) {
    let rooms = world.rooms().await;
    for (state, why) in [
        (State::Completed, Reason::MeetingEnded),
        (State::WindowOver, Reason::MeetingEnded),
        (State::Cancelled, Reason::SessionCancelled),
    ] {
        let booking = world.booking(state).await;
        assert_eq!(reason(rooms.ensure(owner(&booking), false).await), why, "{state:?}");
        let pending = testkit::seed::pending_room(&world.pool, &booking).await;
        assert_eq!(reason(rooms.ensure(owner(&booking), true).await), why, "{state:?} with a record");
        assert_eq!(world.marks(pending.id).await, 1, "a mark schedules the end");
    }
    let unknown = Owner::Session(SessionId(Uuid::new_v4()));
    assert_eq!(reason(rooms.ensure(unknown, false).await), Reason::SessionNotFound);
    assert_eq!(world.server().calls("CreateRoom"), 0);
}

#[testkit::test]
async fn room_with_unknown_sid_is_adopted_with_our_metadata(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let metadata = world.server().room(&first.room_name).unwrap().metadata;
    world.recreate_on_livekit(&first.room_name).await;
    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    let there = world.server().room(&first.room_name).unwrap();
    assert_eq!((next.generation, next.room_sid.as_ref()), (1, Some(&there.sid)));
    assert_ne!(next.room_sid, first.room_sid);
    assert_eq!(there.metadata, metadata);
}

#[testkit::test]
async fn adopted_room_gets_our_metadata_after_a_failed_attempt(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let metadata = world.server().room(&first.room_name).unwrap().metadata;
    world.recreate_on_livekit(&first.room_name).await;
    world.server().faults().set_next("UpdateRoomMetadata", 1, crate::harness::refused());
    assert_eq!(reason(rooms.ensure(owner(&booking), true).await), Reason::LivekitUnavailable);
    rooms.pass().await.unwrap();
    assert_eq!(world.server().room(&first.room_name).unwrap().metadata, metadata);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn occupied_room_is_kept_when_not_listed(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    world.join(&first.room_name, &booking.guest);
    world.server().faults().set("ListRooms", Fault::OmitRoom(first.room_name.clone()));
    assert_eq!(reason(rooms.ensure(owner(&booking), true).await), Reason::LivekitUnavailable);
    world.server().faults().clear();
    world.advance(Duration::seconds(6));
    let other = world.rooms().await; // the first replica shares its failure for a second
    assert_eq!(other.ensure(owner(&booking), true).await.unwrap().room_sid, first.room_sid);
}

#[testkit::test]
async fn deleted_record_is_recreated(world: World) {
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let other = world.booking(State::OpenNow).await;
    sqlx::query!("delete from livekit_rooms where id = $1", first.id.0).execute(&world.pool).await.unwrap();
    rooms.pass().await.unwrap();
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&other).await.status, RoomStatus::Active, "other bookings are not delayed");
    assert_eq!(rooms.ensure(owner(&booking), false).await.unwrap().room_name, first.room_name);
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn ensured_room_was_confirmed_within_five_seconds(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for step in [1, 4, 5, 6, 60, 3_000, -20, -3_000] {
        world.advance(Duration::seconds(step));
        let record = rooms.ensure(owner(&booking), false).await.unwrap();
        let confirmed: OffsetDateTime = record.confirmed_at.unwrap();
        assert!(confirmed <= record.now && record.now - confirmed <= Duration::seconds(5), "after {step} s");
    }
}

#[testkit::test]
async fn prefetch_renews_an_aging_record_once_for_all(world: World) {
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let before = world.server().calls("ListRooms");
    rooms.refresh(owner(&booking)).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before, "a fresh record needs no check");
    world.advance(Duration::seconds(3));
    let lists = join_all((0..50).map(|_| rooms.refresh(owner(&booking)))).await;
    assert!(lists.iter().all(Result::is_ok));
    assert_eq!(world.server().calls("ListRooms"), before + 1);
    world.complete(&booking).await;
    world.advance(Duration::seconds(3));
    rooms.refresh(owner(&booking)).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before + 1, "a closed room is not refreshed");
}
