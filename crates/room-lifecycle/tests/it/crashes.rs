//! Every flow, cut between any two steps; afterwards a pass finishes it. And a caller who goes away stops the
//! waiting, never the work.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use domain::RoomStatus;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::harness::{State, World, owner};

/// A future that dies after so many polls, as a process does: at an await, whatever had been asked by then.
struct Cut<F> {
    work: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> Future for Cut<F> {
    /// None: it was cut.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            self.work = None;
            return Poll::Ready(None);
        }
        self.polls -= 1;
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        work.as_mut().poll(context).map(Some)
    }
}

pub async fn cut<F: Future>(polls: usize, work: F) -> Option<F::Output> {
    Cut { work: Some(Box::pin(work)), polls }.await
}

/// Where to cut: after each poll. On a busy machine work wakes up for nothing again and again; then not all of those.
pub fn cuts() -> impl Iterator<Item = usize> {
    (1..60).chain((60..).step_by(15))
}

/// After this, whatever was cut is due again, and passes have seen it: one to suspect, one to believe, and one for
/// what was more than fifty.
pub async fn recover(world: &World) {
    testkit::eventually("what was cut is over", || world.quiet()).await;
    let survivor = world.rooms().await;
    for _ in 0..3 {
        world.hurry().await;
        survivor.pass().await.unwrap();
        world.pass_time(Duration::seconds(6));
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_ensure_that_dies_anywhere_is_finished_by_a_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for polls in cuts() {
        let booking = world.booking(State::OpenNow).await;
        if cut(polls, rooms.ensure(owner(&booking), false)).await.is_some() {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
    recover(&world).await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_replacement_that_dies_anywhere_is_finished_by_a_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, record) = world.open_room(&steady).await;
        world.admin().delete_room(&record.room_name).await.unwrap(); // LiveKit loses it
        if cut(polls, rooms.ensure(owner(&booking), true)).await.is_some() {
            break;
        }
    }
    recover(&world).await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_end_that_dies_anywhere_is_finished_by_a_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (booking, record) = world.open_room(&steady).await;
        world.join(&record.room_name, &booking.guest);
        world.complete(&booking).await;
        if cut(polls, rooms.drain()).await.is_some() {
            break;
        }
    }
    recover(&world).await;
    assert!(world.names().is_empty());
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_renewal_that_dies_anywhere_is_finished_by_a_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let booking = world.booking(State::OpensTomorrow).await;
        steady.ensure(owner(&booking), false).await.unwrap();
        world.reschedule(&booking, Duration::days(1)).await;
        if cut(polls, rooms.drain()).await.is_some() {
            break;
        }
    }
    recover(&world).await;
    world.assert_one_room_per_open_owner().await;
    let short = sqlx::query_scalar!(
        r#"select count(*) as "n!" from livekit_rooms r join room_owners o on o.owner = r.session_id
           where r.expires_at < o.closes_at"#
    );
    assert_eq!(short.fetch_one(&world.pool).await.unwrap(), 0, "all have timers for their new window");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_kick_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    let mut inside = Vec::new();
    for polls in cuts() {
        let (booking, record) = world.open_room(&steady).await;
        world.join(&record.room_name, &booking.guest);
        let done = cut(polls, rooms.kick(owner(&booking), &booking.guest)).await.is_some();
        inside.push((booking, record.room_name));
        if done {
            break;
        }
    }
    testkit::eventually("what was cut is over", || world.quiet()).await;
    steady.watch().await.unwrap();
    for (booking, room) in inside {
        let kicked = world.status(&booking, &booking.guest).await == "kicked";
        assert_eq!(
            world.server().participants(&room).is_empty(),
            kicked,
            "kicked in the record: out of the room"
        );
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_pass_that_dies_anywhere_is_finished_by_the_next_one(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts().step_by(3) {
        let pending = world.booking(State::OpenNow).await;
        let (over, _) = world.open_room(&steady).await;
        world.reschedule(&over, Duration::days(-1)).await;
        let (lost, record) = world.open_room(&steady).await;
        world.admin().delete_room(&record.room_name).await.unwrap();
        let whole = cut(polls, rooms.pass()).await.is_some();
        testkit::eventually("what was cut is over", || world.quiet()).await;
        world.hurry().await;
        steady.pass().await.unwrap();
        world.assert_one_room_per_open_owner().await;
        if whole {
            break;
        }
        // Out of the way of the next round.
        world.complete(&pending).await;
        world.complete(&lost).await;
        steady.drain().await.unwrap();
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn the_marks_of_a_replica_that_died_come_back_with_their_lease(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let world = World::new(connect).await;
    let (dies, lives) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.open_room(&lives).await;
    world.complete(&booking).await;
    // It dies between its claim and its work.
    room_lifecycle::store::marks::claim_marks(&world.pool, 10).await.unwrap();
    drop(dies);
    lives.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Active, "the lease holds");
    world.pass_time(Duration::seconds(16));
    lives.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended);
    assert_eq!(world.marks(record.id.0).await, 0);
}
