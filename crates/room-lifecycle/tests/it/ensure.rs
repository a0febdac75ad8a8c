//! A room that was seen just now: one, the same for everybody, whatever LiveKit does (I1).

use futures::future::join_all;
use livekit_dev::Fault;
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::{Duration, OffsetDateTime};

use crate::harness::{State, World, owner, reason};
use chassis::status::Reason;
use domain::{Owner, RoomStatus, SessionId};
use uuid::Uuid;

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn the_first_call_makes_one_room_with_our_metadata_limits_and_timeouts(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let record = rooms.ensure(owner(&booking), false).await.unwrap();

    assert_eq!(record.room_name, format!("session-{}", booking.id));
    assert_eq!((record.status, record.generation), (RoomStatus::Active, 1));
    assert_eq!(world.names(), std::slice::from_ref(&record.room_name));
    let made = world.server().room(&record.room_name).unwrap();
    assert_eq!(Some(made.sid), record.room_sid);
    let deployment = sqlx::query_scalar!("select id from deployment").fetch_one(&world.pool).await.unwrap();
    let metadata: serde_json::Value = serde_json::from_str(&made.metadata).unwrap();
    assert_eq!(metadata["deployment"], deployment.to_string());
    assert_eq!(metadata["session_id"], booking.id.to_string());
    assert_eq!(made.max_participants, 7, "two and a fence");
    // Until an hour after the window: it began 5 min ago and stays open for 2 h after the start.
    let left = Duration::seconds(i64::from(made.empty_timeout));
    assert!((Duration::minutes(174)..=Duration::minutes(175)).contains(&left), "{left}");
    assert_eq!(made.empty_timeout, made.departure_timeout);
    assert_eq!(world.status(&booking, &booking.guest).await, "invited");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn while_the_record_is_fresh_livekit_is_not_called(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let calls = world.server().all_calls();
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!((again.room_name, again.room_sid), (first.room_name, first.room_sid));
    assert_eq!(world.server().all_calls(), calls);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_record_that_is_not_fresh_costs_one_list(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let before = world.server().all_calls();
    world.pass_time(Duration::seconds(6));
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!(again.room_sid, first.room_sid);
    assert!(again.confirmed_at > first.confirmed_at);
    let mut expected = before;
    *expected.entry("ListRooms".to_owned()).or_default() += 1;
    assert_eq!(world.server().all_calls(), expected);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_confirmation_from_the_future_is_not_believed_and_heals(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    world.pass_time(Duration::minutes(-10)); // the clock was ahead and is set back
    let before = world.server().calls("ListRooms");
    let again = rooms.ensure(owner(&booking), false).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before + 1);
    assert!(again.confirmed_at.unwrap() <= again.now);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_about_to_close_is_looked_at_again_and_stays(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
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

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn two_hundred_people_at_a_missing_room_get_the_same_one(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let booking = world.booking(State::OpenNow).await;
    let answers = join_all((0..200).map(|_| rooms.ensure(owner(&booking), false))).await;
    let room = &world.server().rooms()[0];
    for answer in answers {
        let record = answer.unwrap();
        assert_eq!((&record.room_name, record.room_sid.as_ref()), (&room.name, Some(&room.sid)));
    }
    assert_eq!(world.names().len(), 1);
    assert_eq!(world.server().calls("CreateRoom"), 1);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_forced_look_skips_freshness_and_is_shared(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let began = std::time::Instant::now();
    rooms.ensure(owner(&booking), true).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), 1);

    let looks_since = |looks| looks + (began.elapsed().as_secs() / 2).saturating_sub(1); // on a slow machine
    let answers = join_all((0..100).map(|_| rooms.ensure(owner(&booking), true))).await;
    assert!(answers.iter().all(|answer| answer.as_ref().unwrap().room_sid == first.room_sid));
    let looks = world.server().calls("ListRooms");
    assert!(looks == 2 || looks <= looks_since(2), "one look, 2 s later, for everybody who asked: {looks}");

    let mut calls = Vec::new();
    for _ in 0..20 {
        let (rooms, owner) = (Rooms::clone(&rooms), owner(&booking));
        calls.push(tokio::spawn(async move { rooms.ensure(owner, true).await }));
        world.record(&booking).await; // they come one after the other
    }
    assert!(join_all(calls).await.into_iter().all(|answer| answer.unwrap().is_ok()));
    let more = world.server().calls("ListRooms");
    assert!(more == looks + 1 || more <= looks_since(3), "also for those who came while it waited: {more}");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_livekit_refuses_gets_a_working_room_by_asking_once_more(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
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

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_restart_of_livekit_leads_to_the_next_generation(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for generation in 2..5 {
        world.server().restart();
        world.pass_time(Duration::seconds(6));
        assert_eq!(rooms.ensure(owner(&booking), false).await.unwrap().generation, generation);
        world.assert_one_room_per_open_owner().await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn owners_that_are_not_open_are_refused_with_their_reason(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
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
        assert_eq!(world.marks(pending.id).await, 1, "its end is not far");
    }
    let nobody = Owner::Session(SessionId(Uuid::new_v4()));
    assert_eq!(reason(rooms.ensure(nobody, false).await), Reason::SessionNotFound);
    assert_eq!(world.server().calls("CreateRoom"), 0);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_room_under_an_unknown_sid_is_adopted_and_gets_our_metadata(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let metadata = world.server().room(&first.room_name).unwrap().metadata;
    world.remake_on_livekit(&first.room_name).await;
    let next = rooms.ensure(owner(&booking), true).await.unwrap();
    let there = world.server().room(&first.room_name).unwrap();
    assert_eq!((next.generation, next.room_sid.as_ref()), (1, Some(&there.sid)));
    assert_ne!(next.room_sid, first.room_sid);
    assert_eq!(there.metadata, metadata);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_adopted_room_gets_our_metadata_even_if_the_first_try_fails(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let metadata = world.server().room(&first.room_name).unwrap().metadata;
    world.remake_on_livekit(&first.room_name).await;
    world.server().faults().set_next("UpdateRoomMetadata", 1, crate::harness::refused());
    assert_eq!(reason(rooms.ensure(owner(&booking), true).await), Reason::LivekitUnavailable);
    rooms.pass().await.unwrap();
    assert_eq!(world.server().room(&first.room_name).unwrap().metadata, metadata);
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_person_inside_outweighs_a_list_without_the_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    world.join(&first.room_name, &booking.guest);
    world.server().faults().set("ListRooms", Fault::OmitRoom(first.room_name.clone()));
    assert_eq!(reason(rooms.ensure(owner(&booking), true).await), Reason::LivekitUnavailable);
    world.server().faults().clear();
    world.pass_time(Duration::seconds(6));
    let other = world.rooms().await; // the first one shares its failure for a second
    assert_eq!(other.ensure(owner(&booking), true).await.unwrap().room_sid, first.room_sid);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_record_that_somebody_deleted_is_made_anew(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, first) = world.open_room(&rooms).await;
    let other = world.booking(State::OpenNow).await;
    sqlx::query!("delete from livekit_rooms where id = $1", first.id.0).execute(&world.pool).await.unwrap();
    rooms.pass().await.unwrap();
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&other).await.status, RoomStatus::Active, "nobody else is held up");
    assert_eq!(rooms.ensure(owner(&booking), false).await.unwrap().room_name, first.room_name);
    world.server().restart();
    rooms.ensure(owner(&booking), true).await.unwrap();
    rooms.pass().await.unwrap();
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_answer_is_never_older_than_five_seconds(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    for step in [1, 4, 5, 6, 60, 3_000, -20, -3_000] {
        world.pass_time(Duration::seconds(step));
        let record = rooms.ensure(owner(&booking), false).await.unwrap();
        let seen: OffsetDateTime = record.confirmed_at.unwrap();
        assert!(seen <= record.now && record.now - seen <= Duration::seconds(5), "after {step} s");
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_look_ahead_renews_a_record_that_grows_old_once_for_all(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, _) = world.open_room(&rooms).await;
    let before = world.server().calls("ListRooms");
    rooms.refresh(owner(&booking)).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before, "a young record needs no look");
    world.pass_time(Duration::seconds(3));
    let looks = join_all((0..50).map(|_| rooms.refresh(owner(&booking)))).await;
    assert!(looks.iter().all(Result::is_ok));
    assert_eq!(world.server().calls("ListRooms"), before + 1);
    world.complete(&booking).await;
    world.pass_time(Duration::seconds(3));
    rooms.refresh(owner(&booking)).await.unwrap();
    assert_eq!(world.server().calls("ListRooms"), before + 1, "nobody needs a room that is over");
}
