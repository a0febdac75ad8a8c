//! A nest's room by the same passes as all others: made anew while somebody wants in, ended in two steps when nobody
//! does, removed when nobody stands behind it.

use domain::{NestId, NestRole, Owner, RoomStatus};
use livekit_dev::{Fault, Mishap};
use room_lifecycle::Rooms;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use time::Duration;

use crate::{
    harness::{
        Replica, World,
        nests::{OpenNest, key},
        refused,
    },
    webhooks::event,
};

impl World {
    async fn nest_closes(&self, nest: &OpenNest) -> bool {
        self.nest_record(nest).await.closing_at.is_some()
    }

    /// What a pass does with ends, and a look at the room as it then is.
    async fn nest_turn(&self, rooms: &Rooms, nest: &OpenNest) {
        rooms.announce_ends().await.unwrap();
        self.look_at_nest(rooms, nest).await;
    }

    /// Goes, and two looks notice it.
    async fn exit_nest(&self, rooms: &Rooms, nest: &OpenNest, identity: &str) {
        self.server().leave(&self.nest_record(nest).await.room_name, identity).unwrap();
        self.look_at_nest(rooms, nest).await;
        self.pass_time(Duration::seconds(6));
        self.look_at_nest(rooms, nest).await;
    }

    async fn assert_nest_ended(&self, nest: &OpenNest) {
        assert!(!self.nest_is_open(nest).await);
        let record = self.nest_record(nest).await;
        assert_eq!((record.status, record.closing_at), (RoomStatus::Ended, None));
        assert!(self.names().is_empty());
    }
}

async fn world(connect: PgConnectOptions) -> (World, Replica, OpenNest) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    (world, rooms, nest)
}

/// Nobody came for 15 min, and the end is announced.
async fn closing(connect: PgConnectOptions) -> (World, Replica, OpenNest) {
    let (world, rooms, nest) = world(connect).await;
    world.pass_time(Duration::minutes(16));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await);
    (world, rooms, nest)
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_nest_that_nobody_came_to_ends_after_a_quarter_of_an_hour(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, nest) = world(connect).await;
    world.pass_time(Duration::seconds(14 * 60 + 50));
    world.nest_turn(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await);
    world.pass_time(Duration::seconds(15));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await);
    world.pass_time(Duration::seconds(15));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_is_open(&nest).await);
    world.pass_time(Duration::seconds(6));
    world.nest_turn(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

/// A guest has no name and no record before he is seen; he counts as anybody else.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_guest_alone_keeps_it_open_and_it_ends_ten_minutes_after_him(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, nest) = world(connect).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.look_at_nest(&rooms, &nest).await;
    for _ in 0..3 {
        world.pass_time(Duration::minutes(20));
        world.nest_turn(&rooms, &nest).await;
        assert!(!world.nest_closes(&nest).await, "somebody is there");
    }
    world.exit_nest(&rooms, &nest, "guest-1").await;
    world.pass_time(Duration::seconds(9 * 60 + 50));
    world.nest_turn(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await);
    world.pass_time(Duration::seconds(15));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await);
    world.pass_time(Duration::seconds(21));
    world.nest_turn(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn guests_of_long_ago_are_forgotten(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.enter_nest(&nest, &key(1), NestRole::Admin { speaks: true }).await;
    for guest in ["guest-1", "guest-2"] {
        world.enter_nest(&nest, guest, NestRole::Guest).await;
        world.look_at_nest(&rooms, &nest).await;
        world.exit_nest(&rooms, &nest, guest).await;
        world.pass_time(Duration::minutes(61));
    }
    let guests = sqlx::query_scalar!("select user_id from livekit_participants where role = 'guest'");
    assert_eq!(guests.fetch_all(&world.pool).await.unwrap(), ["guest-2"]);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_list_that_lacks_somebody_never_ends_a_nest(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = closing(connect).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant("guest-1".to_owned()));
    for _ in 0..6 {
        world.pass_time(Duration::seconds(21));
        world.nest_turn(&rooms, &nest).await;
        assert!(world.nest_is_open(&nest).await);
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn an_announced_end_is_taken_back_by_whoever_comes_asks_or_is_heard_of(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, nest) = closing(connect).await;
    let room = world.nest_record(&nest).await.room_name;
    for case in ["asks", "joins", "connects", "is heard of", "fails"] {
        match case {
            "asks" => drop(rooms.ensure(Owner::Nest(NestId(nest.id)), false).await.unwrap()),
            "joins" => nest.join(&rooms, &key(2)).await.unwrap(),
            "connects" => {
                drop(world.server().connect(&world.nest_token(&room, "guest-1", NestRole::Guest)).unwrap());
            }
            "is heard of" => {
                let body =
                    event("EV_1", "participant_joined", &world.nest_record(&nest).await, "guest-1", "PA_1");
                rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
            }
            _ => world.server().faults().set("ListParticipants", refused()),
        }
        world.pass_time(Duration::seconds(21));
        world.look_at_nest(&rooms, &nest).await;
        assert!(!world.nest_closes(&nest).await && world.nest_is_open(&nest).await, "{case}");
        world.server().faults().clear();
        world.server().leave(&room, "guest-1").ok();
        world.pass_time(Duration::minutes(1));
        world.nest_turn(&rooms, &nest).await;
        assert!(world.nest_closes(&nest).await, "{case}: announced anew");
    }
    world.pass_time(Duration::seconds(21));
    world.look_at_nest(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_has_just_joined_has_a_minute_to_connect(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.pass_time(Duration::minutes(16));
    nest.join(&rooms, &key(2)).await.unwrap();
    world.nest_turn(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await);
    world.pass_time(Duration::seconds(61));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await);
}

/// His token is what makes the room anew: host and listeners joined long ago, guests never join.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn whoever_comes_back_to_a_nest_that_stood_empty_has_a_minute_to_connect(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, nest) = world(connect).await;
    nest.join(&rooms, &key(2)).await.unwrap();
    let people = [
        (nest.host.clone(), NestRole::Admin { speaks: true }),
        (key(2), NestRole::Listener),
        ("guest-1".to_owned(), NestRole::Guest),
    ];
    for (who, role) in people {
        world.server().advance_clock(std::time::Duration::from_secs(181));
        world.pass_time(Duration::minutes(16));
        rooms.ensure(Owner::Nest(NestId(nest.id)), false).await.unwrap();
        for _ in 0..2 {
            world.nest_turn(&rooms, &nest).await;
            assert!(!world.nest_closes(&nest).await && world.nest_is_open(&nest).await, "{who}");
            world.pass_time(Duration::seconds(25));
        }
        world.enter_nest(&nest, &who, role).await;
        world.look_at_nest(&rooms, &nest).await;
        world.exit_nest(&rooms, &nest, &who).await;
    }
    world.pass_time(Duration::minutes(16));
    world.nest_turn(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the last one does not come back");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn passes_alone_end_an_empty_nest_whose_room_livekit_has_ended(
    _: PgPoolOptions,
    connect: PgConnectOptions,
) {
    let (world, rooms, nest) = world(connect).await;
    world.server().advance_clock(std::time::Duration::from_secs(181));
    assert!(world.names().is_empty(), "LiveKit's own timer");
    world.pass_time(Duration::minutes(16));
    rooms.pass().await.unwrap();
    assert!(world.nest_is_open(&nest).await);
    world.pass_time(Duration::seconds(21));
    rooms.pass().await.unwrap();
    world.assert_nest_ended(&nest).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn a_lost_room_is_made_anew_only_while_somebody_needs_it(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.server().restart();
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.hurry().await;
        world.pass_time(Duration::seconds(6));
    }
    assert!(world.names().is_empty(), "nobody is in it");
    let record = rooms.ensure(Owner::Nest(NestId(nest.id)), false).await.unwrap();
    assert_eq!((record.generation, record.status), (2, RoomStatus::Active));
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.look_at_nest(&rooms, &nest).await;
    world.server().restart();
    rooms.pass().await.unwrap();
    world.hurry().await;
    rooms.pass().await.unwrap();
    assert_eq!(world.nest_record(&nest).await.generation, 3, "for whoever was inside");
    world.assert_one_room_per_open_owner().await;
}

/// Else the rooms that somebody does need would wait for a second look.
#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn empty_nests_that_livekit_ended_are_no_mass_loss(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    for number in 1..=12 {
        OpenNest::of(&rooms, &key(number)).await;
    }
    let (booking, record) = world.open_room(&rooms).await;
    world.server().restart();
    world.pass_time(Duration::seconds(6));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, record.generation + 1);
    assert_eq!(world.names().len(), 1);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn rooms_of_nests_that_are_no_more_are_removed(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.execute("update nests set status = 'ended', ended_at = app_now()").await;
    rooms.drain().await.unwrap();
    assert!(world.names().is_empty(), "ended by a hand");
    let orphan = world.nest(&rooms).await;
    world.execute(&format!("delete from nests where id = '{}'", orphan.id)).await;
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.pass_time(Duration::seconds(31));
    }
    assert!(world.names().is_empty(), "unknown by name, ours by its metadata");
    assert!(!world.nest_is_open(&nest).await);
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn with_all_webhooks_lost_people_are_seen_and_missed(_: PgPoolOptions, connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.server().inject_mishap(Mishap::Drop);
    nest.join(&rooms, &key(2)).await.unwrap();
    world.enter_nest(&nest, &key(2), NestRole::Speaker).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    rooms.pass().await.unwrap();
    assert_eq!(joined(&world).await, [key(2), "guest-1".to_owned()]);
    assert!(!world.may_speak(&nest, &key(2)).await, "whatever his token says");
    world.server().leave(&world.nest_record(&nest).await.room_name, "guest-1").unwrap();
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.pass_time(Duration::seconds(6));
    }
    assert_eq!(joined(&world).await, [key(2)]);
}

async fn joined(world: &World) -> Vec<String> {
    let joined = sqlx::query_scalar!(
        "select user_id from livekit_participants where status = 'joined' order by user_id"
    );
    joined.fetch_all(&world.pool).await.unwrap()
}
