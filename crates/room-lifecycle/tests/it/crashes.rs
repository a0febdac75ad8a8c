//! Cuts every flow between any two steps, as a crash does. Afterwards a pass finishes it.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use domain::RoomStatus;
use time::Duration;

use crate::harness::{State, World, owner};

/// A future that is dropped after a number of polls, as in a crash. It stops at an await; requests that were sent
/// by then may still take effect.
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

/// The numbers of polls to cut after: every one up to 60, then every 15th, because a busy machine wakes futures
/// for nothing.
pub fn cuts() -> impl Iterator<Item = usize> {
    (1..60).chain((60..).step_by(15))
}

/// Makes all unfinished work due and runs three passes: one that suspects a loss, one that confirms it, and one for
/// what exceeds the 50 rooms of a pass.
pub async fn recover(world: &World) {
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    let survivor = world.rooms().await;
    for _ in 0..3 {
        world.make_due().await;
        survivor.pass().await.unwrap();
        world.advance(Duration::seconds(6));
    }
}

#[testkit::test]
async fn ensure_is_finished_by_a_pass_after_a_crash(world: World) {
    let rooms = world.rooms().await;
    for polls in cuts() {
        let booking = world.booking(State::OpenNow).await;
        if cut(polls, rooms.ensure(owner(&booking), false)).await.is_some() {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
    recover(&world).await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn replacement_is_finished_by_a_pass_after_a_crash(world: World) {
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

#[testkit::test]
async fn end_is_finished_by_a_pass_after_a_crash(world: World) {
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
    world.assert_rooms(0);
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn renewal_is_finished_by_a_pass_after_a_crash(world: World) {
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
    assert_eq!(
        short.fetch_one(&world.pool).await.unwrap(),
        0,
        "all rooms have timeouts for their new window"
    );
}

#[testkit::test]
async fn kick_is_atomic_after_a_crash(world: World) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    let mut meetings = Vec::new();
    for polls in cuts() {
        let (booking, record) = world.open_room(&steady).await;
        world.join(&record.room_name, &booking.guest);
        let done = cut(polls, rooms.kick(owner(&booking), &booking.guest)).await.is_some();
        meetings.push((booking, record.room_name));
        if done {
            break;
        }
    }
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    steady.watch().await.unwrap();
    for (booking, room) in meetings {
        let kicked = world.status(&booking, &booking.guest).await == "kicked";
        assert_eq!(
            world.server().participants(&room).is_empty(),
            kicked,
            "a kicked participant is out of the room"
        );
    }
}

#[testkit::test]
async fn pass_is_finished_by_the_next_one_after_a_crash(world: World) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts().step_by(3) {
        let pending = world.booking(State::OpenNow).await;
        let (over, _) = world.open_room(&steady).await;
        world.reschedule(&over, Duration::days(-1)).await;
        let (lost, record) = world.open_room(&steady).await;
        world.admin().delete_room(&record.room_name).await.unwrap();
        let whole = cut(polls, rooms.pass()).await.is_some();
        testkit::eventually("the cut work has ended", || world.quiet()).await;
        world.make_due().await;
        steady.pass().await.unwrap();
        world.assert_one_room_per_open_owner().await;
        if whole {
            break;
        }
        // Keeps the rooms of this attempt out of the next one.
        world.complete(&pending).await;
        world.complete(&lost).await;
        steady.drain().await.unwrap();
    }
}

#[testkit::test]
async fn marks_of_a_dead_replica_are_due_after_their_lease(world: World) {
    let (dies, lives) = (world.rooms().await, world.rooms().await);
    let (booking, record) = world.open_room(&lives).await;
    world.complete(&booking).await;
    // The replica dies between its claim and its work.
    room_lifecycle::rooms::store::marks::claim_marks(&world.pool, 10).await.unwrap();
    drop(dies);
    lives.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Active, "the lease holds");
    world.advance(Duration::seconds(16));
    lives.drain().await.unwrap();
    assert_eq!(world.record(&booking).await.status, RoomStatus::Ended, "status of the record");
    assert_eq!(world.marks(record.id.0).await, 0, "marks of the room");
}
