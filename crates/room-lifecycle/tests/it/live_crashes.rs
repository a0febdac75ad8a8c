//! Every verb of a live room, cut between any two steps; afterwards one pass leaves rooms, sessions and LiveKit
//! whole.

use domain::{LiveRoomId, LiveSessionId, LiveStatus, Owner};
use room_lifecycle::live::{decide::Verb, request::NewSession};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{
    crashes::{cut, cuts, recover},
    harness::{World, hosts::Host},
};

/// After this a survivor has seen everything once.
async fn assert_whole_after_a_pass(world: &World) {
    testkit::eventually("what was cut is over", || world.quiet()).await;
    let survivor = world.rooms().await;
    survivor.live_pass().await.unwrap();
    recover(world).await;
    world.assert_live_rooms_whole().await;
    world.assert_one_room_per_open_owner().await;
}

/// Cuts a verb everywhere, each time in a room whose session stands so, or is due to start.
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
        if cut(polls, rooms.change_session(&host.caller, LiveRoomId(host.room.id), verb)).await.is_some() {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
    assert_whole_after_a_pass(&world).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn going_live_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for polls in cuts() {
        let host: Host = world.host().await;
        let new = NewSession::default();
        if cut(polls, rooms.go_live(&host.caller, LiveRoomId(host.room.id), &new)).await.is_some() {
            assert!(polls > 1, "there was something to cut");
            break;
        }
        assert!(world.sessions_of(host.room.id).await <= 1);
    }
    assert_whole_after_a_pass(&world).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_start_and_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Scheduled, false, Verb::Start).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_lobby_that_opens_and_dies_anywhere_is_whole_or_nothing(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    cut_everywhere(connect, LiveStatus::Scheduled, false, Verb::OpenLobby).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_end_and_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::End).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_cancel_and_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Lobby, false, Verb::Cancel).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_reset_and_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::Reset).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_host_who_comes_and_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    cut_everywhere(connect, LiveStatus::Live, false, Verb::HostPresent(true)).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_verb_that_meets_what_is_due_and_dies_anywhere_is_whole_or_nothing(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    cut_everywhere(connect, LiveStatus::Lobby, true, Verb::End).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_pass_that_dies_anywhere_is_finished_by_the_next_one(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for polls in cuts() {
        let (_, due) = world.host_with(LiveStatus::Lobby).await;
        world.set_plan(due, -1, None).await;
        let (stuck, _) = world.host_with(LiveStatus::Ended).await;
        world.execute(&format!("update live_rooms set status = 'live' where id = '{}'", stuck.room.id)).await;
        if cut(polls, rooms.live_pass()).await.is_some() {
            break;
        }
    }
    assert_whole_after_a_pass(&world).await;
}
