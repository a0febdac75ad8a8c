//! Crashes in the middle of requests to nests, and clients that disconnect.

use domain::{NestId, NestRole};
use livekit_dev::Fault;

use crate::{
    crashes::{cut, cuts, recover},
    harness::{
        World,
        hosts::person,
        nests::{create, key, proof},
    },
};

#[testkit::test]
async fn creation_is_atomic_after_a_crash(world: World) {
    let rooms = world.rooms().await;
    for polls in cuts() {
        if cut(polls, rooms.nests.create_nest(&key(1), &proof(), &[], false)).await.is_some() {
            assert!(polls > 1, "the first cut came before the end");
            break;
        }
    }
    recovered(&world).await;
}

#[testkit::test]
async fn end_is_atomic_after_a_crash(world: World) {
    let (rooms, steady) = (world.rooms().await, world.rooms().await);
    for polls in cuts() {
        let nest = world.nest(&steady).await;
        if cut(polls, rooms.nests.end_nest(&key(1), &proof(), NestId(nest.id))).await.is_some() {
            break;
        }
    }
    recovered(&world).await;
}

#[testkit::test]
async fn permission_is_atomic_after_a_crash(world: World) {
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
        assert_eq!(world.may_speak(&nest, &key(2)).await, speaks, "{nest:?}");
        assert_eq!(
            world.metadata(&nest).await["speakers"].as_array().unwrap().len() == 2,
            speaks,
            "{nest:?}"
        );
    }
}

/// A client that disconnects does not cancel the work.
#[testkit::test]
async fn nest_is_created_after_the_client_disconnects(world: World) {
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

/// Runs the passes of a surviving replica and asserts the invariant.
async fn recovered(world: &World) {
    recover(world).await;
    world.assert_one_room_per_open_owner().await;
}
