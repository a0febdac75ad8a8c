//! Cuts every verb of a live room between any two steps. Afterwards one pass makes rooms, sessions and LiveKit
//! consistent.

use domain::{LiveRoomId, LiveSessionId, LiveStatus, Owner};
use room_lifecycle::live::{session_decision::Verb, store::sessions::NewSession};
use sqlx::postgres::PgConnectOptions;

use crate::{
    crashes::{cut, cuts, recover},
    harness::{World, hosts::Host},
};

/// Runs the live pass and the passes of a surviving replica, and asserts the invariants.
async fn assert_whole_after_a_pass(world: &World) {
    testkit::eventually("the cut work has ended", || world.quiet()).await;
    let survivor = world.rooms().await;
    survivor.live.pass().await.unwrap();
    recover(world).await;
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

/// Cuts a verb after every poll, each time in a new room whose session has this status or is due to start.
async fn cut_everywhere(connect: PgConnectOptions, status: LiveStatus, is_due: bool, verb: Verb) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let (host, session) = world.host_with(status).await;
        if status.has_room() {
            steady.ensure(Owner::LiveSession(LiveSessionId(session)), false).await.unwrap();
        }
        if is_due {
            world.set_plan(session, -1, None).await;
        }
        if cut(polls, rooms.live.change_session(&host.caller, LiveRoomId(host.room.id), verb)).await.is_some()
        {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
    assert_whole_after_a_pass(&world).await;
}

#[testkit::test]
async fn go_live_is_atomic_after_a_crash(world: World) {
    let rooms = world.rooms().await;
    for polls in cuts() {
        let host: Host = world.host().await;
        let new = NewSession::default();
        if cut(polls, rooms.live.go_live(&host.caller, LiveRoomId(host.room.id), &new)).await.is_some() {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
        assert!(world.sessions_of(host.room.id).await <= 1, "after {polls} polls");
    }
    assert_whole_after_a_pass(&world).await;
}

#[testkit::test]
async fn start_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Scheduled, false, Verb::Start).await;
}

#[testkit::test]
async fn open_lobby_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Scheduled, false, Verb::OpenLobby).await;
}

#[testkit::test]
async fn end_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::End).await;
}

#[testkit::test]
async fn cancel_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Lobby, false, Verb::Cancel).await;
}

#[testkit::test]
async fn reset_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::Reset).await;
}

#[testkit::test]
async fn host_present_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::HostPresent(true)).await;
}

#[testkit::test]
async fn end_of_a_due_session_is_atomic_after_a_crash(connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Lobby, true, Verb::End).await;
}

#[testkit::test]
async fn pass_is_finished_by_the_next_one_after_a_crash(world: World) {
    let rooms = world.rooms().await;
    for polls in cuts() {
        let (_, due) = world.host_with(LiveStatus::Lobby).await;
        world.set_plan(due, -1, None).await;
        let (stuck, _) = world.host_with(LiveStatus::Ended).await;
        world.execute(&format!("update live_rooms set status = 'live' where id = '{}'", stuck.room.id)).await;
        if cut(polls, rooms.live.pass()).await.is_some() {
            break;
        }
    }
    assert_whole_after_a_pass(&world).await;
}
