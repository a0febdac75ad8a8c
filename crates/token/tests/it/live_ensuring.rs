//! When room-lifecycle is called for a live session's room, and what may change before it answers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use chassis::status::{Reason, Refusal};
use domain::{LiveStatus, LobbyStatus, Owner, SeatRole};
use proto::room::v1::ensure_room_request::Owner as Asked;
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use testkit::seed::live::{self, LiveRoom};
use tonic::Status;
use uuid::Uuid;

use crate::world::{FakeRoom, SlowClock, open, run, world};

/// Inserts Hanna's live session with the intent of a room, and a seat for Gus.
async fn going_live(pool: &PgPool) -> (LiveRoom, Uuid) {
    let room = live::live_room(pool, "hanna").await;
    let session = live::live_session(pool, &room, LiveStatus::Live).await;
    live::seat(pool, session, "gus", SeatRole::Guest, LobbyStatus::Admitted).await;
    live::pending_room(pool, session).await;
    (room, session)
}

/// Does what a successful `EnsureRoom` does: the session's room is active at `generation`, observed just now.
async fn activate(pool: &PgPool, session: Uuid, generation: i32) -> Result<i32, Status> {
    sqlx::query!(
        "update livekit_rooms set status = 'active', room_sid = 'RM_' || room_name, generation = $2,
                room_name = $3, confirmed_at = app_now(), closing_at = null
         where live_session_id = $1",
        session,
        generation,
        Owner::LiveSession(session.into()).room_name(generation)
    )
    .execute(pool)
    .await
    .unwrap();
    Ok(generation)
}

/// An `EnsureRoom` that runs the SQL `meanwhile` and then succeeds.
fn activating(pool: &PgPool, session: Uuid, generation: i32, meanwhile: &'static str) -> FakeRoom {
    let pool = pool.clone();
    FakeRoom::new(move || {
        let pool = pool.clone();
        async move {
            run(&pool, meanwhile).await;
            activate(&pool, session, generation).await
        }
    })
}

#[testkit::test]
async fn pending_live_room_is_ensured_before_signing(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, session) = going_live(&pool).await;
    let fake = activating(&pool, session, 2, "");
    let world = world(&connect, &fake).await;
    let issued = world.enter("gus", &room).await.unwrap();
    assert_eq!(issued.room_name, Owner::LiveSession(session.into()).room_name(2));
    world.enter("gus", &room).await.unwrap();
    let asked = fake.asked();
    assert_eq!(asked.len(), 1, "the record is fresh for the second token");
    assert_eq!(asked[0].owner, Some(Asked::LiveSessionId(session.to_string())));
    assert!(asked[0].caller.as_ref().unwrap().system && !asked[0].now && !asked[0].ahead);
}

#[testkit::test]
async fn stale_closing_or_doubted_live_room_is_ensured_first(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, session) = going_live(&pool).await;
    let fake = activating(&pool, session, 1, "");
    let world = world(&connect, &fake).await;
    activate(&pool, session, 1).await.unwrap();
    run(&pool, "update livekit_rooms set confirmed_at = app_now() - interval '6 s'").await;
    world.enter("gus", &room).await.unwrap();
    assert_eq!(fake.asked().len(), 1, "stale");
    run(&pool, "update livekit_rooms set closing_at = app_now() + interval '20 s', confirmed_at = app_now()")
        .await;
    world.enter("gus", &room).await.unwrap();
    assert_eq!(fake.asked().len(), 2, "about to close");
    world.enter_now("gus", &room).await.unwrap();
    assert!(fake.asked().len() == 3 && fake.asked()[2].now, "LiveKit has just refused a token");
}

#[testkit::test]
async fn guest_banned_during_ensure_gets_no_token(SlowClock(pool): SlowClock, connect: PgConnectOptions) {
    let (room, session) = going_live(&pool).await;
    let ban = "insert into live_room_bans (live_room_id, user_id, banned_by) select id, 'gus', 'hanna' from live_rooms";
    let fake = activating(&pool, session, 1, ban);
    let world = world(&connect, &fake).await;
    assert_eq!(world.enter("gus", &room).await.unwrap_err().reason, Reason::Banned);
}

/// `EnsureRoom` answers generation 1. Before the row is read again, the room gets generation 2: a second call follows.
#[testkit::test]
async fn live_room_is_ensured_again_when_its_generation_changed(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, session) = going_live(&pool).await;
    let rooms = pool.clone();
    let fake = FakeRoom::new(move || {
        let pool = rooms.clone();
        async move {
            let answered = sqlx::query_scalar!("select generation from livekit_rooms");
            let answered = answered.fetch_one(&pool).await.unwrap();
            activate(&pool, session, 2).await?;
            Ok(answered)
        }
    });
    let world = world(&connect, &fake).await;
    assert!(world.enter("gus", &room).await.unwrap().room_name.ends_with("-g2"));
    assert_eq!(fake.asked().len(), 2, "calls of EnsureRoom");
}

/// An `EnsureRoom` during which the session ends and the next one begins. It answers `first`, then succeeds.
fn overtaken(pool: &PgPool, room: &LiveRoom, first: Result<i32, Reason>) -> FakeRoom {
    const END: &str = "update live_room_sessions set status = 'ended', ended_at = app_now()";
    let (pool, room, again) = (pool.clone(), room.clone(), Arc::new(AtomicBool::new(false)));
    FakeRoom::new(move || {
        let (pool, room, again) = (pool.clone(), room.clone(), again.swap(true, Ordering::Relaxed));
        async move {
            if again {
                return Ok(1);
            }
            run(&pool, END).await;
            let next = live::live_session(&pool, &room, LiveStatus::Live).await;
            live::seat(&pool, next, "gus", SeatRole::Guest, LobbyStatus::Admitted).await;
            live::active_room(&pool, next).await;
            first.map_err(|reason| Refusal::new(reason, "It is over.").into())
        }
    })
}

/// The next session has another room, whatever its generation. Callers with a seat in it get their token.
#[testkit::test]
async fn next_session_is_ensured_when_it_began_during_ensure(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, first) = going_live(&pool).await;
    let mut ensured = vec![first];
    for answer in [Ok(1), Err(Reason::RoomNotActive), Err(Reason::SessionNotFound)] {
        let fake = overtaken(&pool, &room, answer);
        let issued = world(&connect, &fake).await.enter("gus", &room).await.unwrap();
        let next = sqlx::query_scalar!("select id from live_room_sessions where status = 'live'");
        ensured.push(next.fetch_one(&pool).await.unwrap());
        let [last, next] = ensured[ensured.len() - 2..] else { unreachable!() };
        assert_eq!(issued.room_name, Owner::LiveSession(next.into()).room_name(1), "{answer:?}");
        let asked: Vec<_> = fake.asked().into_iter().filter_map(|asked| asked.owner).collect();
        let expected = [last, next].map(|session| Asked::LiveSessionId(session.to_string()));
        assert_eq!(asked, expected, "{answer:?}");
        run(&pool, "update livekit_rooms set status = 'pending'").await;
    }
}

#[testkit::test]
async fn issue_is_refused_when_the_live_session_ends_during_ensure(
    options: PgPoolOptions,
    connect: PgConnectOptions,
) {
    const END: &str = "update live_room_sessions set status = 'ended', ended_at = app_now()";
    let pool = open(options, &connect).await;
    let (room, session) = going_live(&pool).await;
    let answers = activating(&pool, session, 1, END);
    let refusal = world(&connect, &answers).await.enter("gus", &room).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RoomNotActive);

    run(&pool, "update live_room_sessions set status = 'live', ended_at = null").await;
    run(&pool, "update livekit_rooms set status = 'pending'").await;
    let rooms = pool.clone();
    let refuses = FakeRoom::new(move || {
        let pool = rooms.clone();
        async move {
            run(&pool, "update live_room_sessions set status = 'cancelled', ended_at = app_now()").await;
            Err(Refusal::new(Reason::RoomNotActive, "The live session is over.").into())
        }
    });
    let refusal = world(&connect, &refuses).await.enter("gus", &room).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::RoomNotActive);
    assert_eq!(refuses.asked().len(), 1, "the row has the reason");
}

/// While LiveKit is down, the answer asks the host to retry. The session stays open.
#[testkit::test]
async fn issue_is_livekit_unavailable_when_livekit_is_down(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, _) = going_live(&pool).await;
    let down = Refusal::unavailable(Reason::LivekitUnavailable, 7);
    let fake = FakeRoom::refusing(&down);
    assert_eq!(world(&connect, &fake).await.enter("gus", &room).await.unwrap_err(), down);
    let unsettled = FakeRoom::new(|| async { Ok(1) }); // answers, but the record stays pending
    let refusal = world(&connect, &unsettled).await.enter("gus", &room).await.unwrap_err();
    assert_eq!(refusal.reason, Reason::LivekitUnavailable);
    assert!(refusal.facts.contains_key("retry_after") && unsettled.asked().len() == 2);
}

#[testkit::test]
async fn aging_live_record_is_refreshed_ahead_once_for_all_joins(
    SlowClock(pool): SlowClock,
    connect: PgConnectOptions,
) {
    let (room, session) = going_live(&pool).await;
    activate(&pool, session, 1).await.unwrap();
    run(&pool, "update livekit_rooms set confirmed_at = app_now() - interval '3 s'").await;
    let fake = FakeRoom::new(std::future::pending); // LiveKit hangs
    let world = world(&connect, &fake).await;
    for _ in 0..3 {
        world.enter("gus", &room).await.unwrap();
    }
    let asked = testkit::eventually("the refresh starts", || async {
        let asked = fake.asked();
        (!asked.is_empty()).then_some(asked)
    })
    .await;
    assert_eq!(asked.len(), 1, "calls of EnsureRoom");
    assert!(asked[0].ahead && !asked[0].now);
    assert_eq!(asked[0].owner, Some(Asked::LiveSessionId(session.to_string())));
}
