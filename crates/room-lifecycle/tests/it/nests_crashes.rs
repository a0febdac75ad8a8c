//! A process that dies in the middle of what a nest wants, and a caller who goes away.

use domain::{NestId, NestRole};
use livekit_dev::Fault;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

use crate::{
    crashes::{cut, cuts, recover},
    harness::{
        World,
        hosts::person,
        nests::{create, key, proof},
    },
};

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_creation_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for polls in cuts() {
        if cut(polls, rooms.create_nest(&key(1), &proof(), &[], false)).await.is_some() {
            assert!(polls > 1, "there was something to cut");
            break;
        }
    }
    recovered(&world).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_end_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let nest = world.nest(&steady).await;
        if cut(polls, rooms.end_nest(&key(1), &proof(), NestId(nest.id))).await.is_some() {
            break;
        }
    }
    recovered(&world).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_permission_that_dies_anywhere_is_whole_or_nothing(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    let mut nests = Vec::new();
    for polls in cuts() {
        let nest = world.nest(&steady).await;
        nest.join(&steady, &key(2)).await.unwrap();
        world.enter_nest(&nest, &key(2), NestRole::Listener).await;
        let done = cut(polls, nest.speaks(&rooms, &key(2), true)).await.is_some();
        nests.push(nest);
        if done {
            break;
        }
    }
    recovered(&world).await;
    for nest in nests {
        let speaks = sqlx::query_scalar!(
            "select is_speaker from nest_participants where nest_id = $1 and pubkey = $2",
            nest.id,
            key(2)
        );
        let speaks = speaks.fetch_one(&world.pool).await.unwrap();
        assert_eq!(world.may_speak(&nest, &key(2)).await, speaks);
        assert_eq!(world.metadata(&nest).await["speakers"].as_array().unwrap().len() == 2, speaks);
    }
}

/// A caller who goes away stops the waiting, never the work.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_caller_who_goes_away_has_his_nest_all_the_same(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    world.server().faults().set_next("CreateRoom", 1, Fault::Hang);
    let request = proto::room::v1::CreateNestRequest {
        caller: Some(person(&key(1))),
        proof: Some(proof()),
        ..proto::room::v1::CreateNestRequest::default()
    };
    tokio::select! {
        _ = create(&rooms, request) => {}
        () = world.reached("CreateRoom", 1) => {}
    }
    world.server().faults().clear();
    testkit::eventually("the room is recorded", || async {
        let active = sqlx::query_scalar!("select id from livekit_rooms where status = 'active'");
        active.fetch_optional(&world.pool).await.unwrap()
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

/// After this a survivor has seen everything once.
async fn recovered(world: &World) {
    recover(world).await;
    world.assert_one_room_per_open_owner().await;
}
