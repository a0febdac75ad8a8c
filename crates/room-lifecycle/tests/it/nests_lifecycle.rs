//! A nest's room under the passes: recreated while it is needed, ended in two steps when it stays empty, and removed
//! when its nest is closed.

use domain::{NestId, NestRole, Owner, RoomStatus};
use livekit_dev::{Fault, WebhookFault};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use crate::{
    harness::{
        Replica, Service, World,
        nests::{OpenNest, key},
        refused,
    },
    webhooks::event,
};

impl World {
    async fn nest_closes(&self, nest: &OpenNest) -> bool {
        self.nest_record(nest).await.closing_at.is_some()
    }

    /// Runs a pass's step for ends and checks the room.
    async fn pass_and_check_nest(&self, rooms: &Service, nest: &OpenNest) {
        rooms.announce_ends().await.unwrap();
        self.check_nest(rooms, nest).await;
    }

    /// Leaves, and two checks confirm it.
    async fn exit_nest(&self, rooms: &Service, nest: &OpenNest, identity: &str) {
        self.server().leave(&self.nest_record(nest).await.room_name, identity).unwrap();
        self.check_nest(rooms, nest).await;
        self.advance(Duration::seconds(6));
        self.check_nest(rooms, nest).await;
    }

    async fn assert_nest_ended(&self, nest: &OpenNest) {
        assert!(!self.nest_is_open(nest).await, "{nest:?}");
        let record = self.nest_record(nest).await;
        assert_eq!((record.status, record.closing_at), (RoomStatus::Ended, None), "{record:?}");
        self.assert_rooms(0);
    }
}

async fn world(connect: PgConnectOptions) -> (World, Replica, OpenNest) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let nest = world.nest(&rooms).await;
    (world, rooms, nest)
}

/// A nest without joins for 15 min, whose end is announced.
async fn closing(connect: PgConnectOptions) -> (World, Replica, OpenNest) {
    let (world, rooms, nest) = world(connect).await;
    world.advance(Duration::minutes(16));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the end of the nest is announced");
    (world, rooms, nest)
}

#[testkit::test]
async fn nest_without_joins_ends_after_15_minutes(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.advance(Duration::seconds(14 * 60 + 50));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await, "the end of the nest is not announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the end of the nest is announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_is_open(&nest).await, "the nest is open");
    world.advance(Duration::seconds(6));
    world.pass_and_check_nest(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

/// A guest has no record before a check finds them, and counts like any other participant.
#[testkit::test]
async fn nest_ends_ten_minutes_after_its_last_guest(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.check_nest(&rooms, &nest).await;
    for _ in 0..3 {
        world.advance(Duration::minutes(20));
        world.pass_and_check_nest(&rooms, &nest).await;
        assert!(!world.nest_closes(&nest).await, "a guest is in the nest");
    }
    world.exit_nest(&rooms, &nest, "guest-1").await;
    world.advance(Duration::seconds(9 * 60 + 50));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await, "the end of the nest is not announced");
    world.advance(Duration::seconds(15));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the end of the nest is announced");
    world.advance(Duration::seconds(21));
    world.pass_and_check_nest(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

#[testkit::test]
async fn guests_are_deleted_an_hour_after_leaving(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.enter_nest(&nest, &key(1), NestRole::Admin { speaks: true }).await;
    for guest in ["guest-1", "guest-2"] {
        world.enter_nest(&nest, guest, NestRole::Guest).await;
        world.check_nest(&rooms, &nest).await;
        world.exit_nest(&rooms, &nest, guest).await;
        world.advance(Duration::minutes(61));
    }
    let guests = sqlx::query_scalar!("select user_id from livekit_participants where role = 'guest'");
    assert_eq!(guests.fetch_all(&world.pool).await.unwrap(), ["guest-2"]);
}

#[testkit::test]
async fn incomplete_list_never_ends_a_nest(connect: PgConnectOptions) {
    let (world, rooms, nest) = closing(connect).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.server().faults().set("ListParticipants", Fault::OmitParticipant("guest-1".to_owned()));
    for _ in 0..6 {
        world.advance(Duration::seconds(21));
        world.pass_and_check_nest(&rooms, &nest).await;
        assert!(world.nest_is_open(&nest).await, "the nest is open");
    }
}

#[testkit::test]
async fn announced_end_is_taken_back_on_any_sign_of_use(connect: PgConnectOptions) {
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
                rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
            }
            _ => world.server().faults().set("ListParticipants", refused()),
        }
        world.advance(Duration::seconds(21));
        world.check_nest(&rooms, &nest).await;
        assert!(!world.nest_closes(&nest).await && world.nest_is_open(&nest).await, "{case}");
        world.server().faults().clear();
        world.server().leave(&room, "guest-1").ok();
        world.advance(Duration::minutes(1));
        world.pass_and_check_nest(&rooms, &nest).await;
        assert!(world.nest_closes(&nest).await, "{case}: announced again");
    }
    world.advance(Duration::seconds(21));
    world.check_nest(&rooms, &nest).await;
    world.assert_nest_ended(&nest).await;
}

#[testkit::test]
async fn new_listener_has_a_minute_to_connect(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.advance(Duration::minutes(16));
    nest.join(&rooms, &key(2)).await.unwrap();
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(!world.nest_closes(&nest).await, "the end of the nest is not announced");
    world.advance(Duration::seconds(61));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the end of the nest is announced");
}

/// The token request recreates the room: hosts and listeners joined long ago, and guests do not join.
#[testkit::test]
async fn token_for_an_empty_nest_gives_a_minute_to_connect(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    nest.join(&rooms, &key(2)).await.unwrap();
    let participants = [
        (nest.host.clone(), NestRole::Admin { speaks: true }),
        (key(2), NestRole::Listener),
        ("guest-1".to_owned(), NestRole::Guest),
    ];
    for (who, role) in participants {
        world.server().advance_clock(std::time::Duration::from_secs(181));
        world.advance(Duration::minutes(16));
        rooms.ensure(Owner::Nest(NestId(nest.id)), false).await.unwrap();
        for _ in 0..2 {
            world.pass_and_check_nest(&rooms, &nest).await;
            assert!(!world.nest_closes(&nest).await && world.nest_is_open(&nest).await, "{who}");
            world.advance(Duration::seconds(25));
        }
        world.enter_nest(&nest, &who, role).await;
        world.check_nest(&rooms, &nest).await;
        world.exit_nest(&rooms, &nest, &who).await;
    }
    world.advance(Duration::minutes(16));
    world.pass_and_check_nest(&rooms, &nest).await;
    assert!(world.nest_closes(&nest).await, "the last participant does not return");
}

#[testkit::test]
async fn passes_alone_end_an_empty_nest_without_a_room(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.server().advance_clock(std::time::Duration::from_secs(181));
    assert!(world.names().is_empty(), "LiveKit's empty timeout");
    world.advance(Duration::minutes(16));
    rooms.pass().await.unwrap();
    assert!(world.nest_is_open(&nest).await, "the nest is open");
    world.advance(Duration::seconds(21));
    rooms.pass().await.unwrap();
    world.assert_nest_ended(&nest).await;
}

#[testkit::test]
async fn lost_nest_room_is_recreated_only_when_needed(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.server().restart();
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.make_due().await;
        world.advance(Duration::seconds(6));
    }
    assert!(world.names().is_empty(), "an empty nest needs no room");
    let record = rooms.ensure(Owner::Nest(NestId(nest.id)), false).await.unwrap();
    assert_eq!((record.generation, record.status), (2, RoomStatus::Active));
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    world.check_nest(&rooms, &nest).await;
    world.server().restart();
    rooms.pass().await.unwrap();
    world.make_due().await;
    rooms.pass().await.unwrap();
    assert_eq!(world.nest_record(&nest).await.generation, 3, "an occupied room is recreated");
    world.assert_one_room_per_open_owner().await;
}

/// Otherwise the rooms that are needed would wait for a second check.
#[testkit::test]
async fn empty_ended_nests_are_not_a_mass_loss(world: World) {
    let rooms = world.rooms().await;
    for number in 1..=12 {
        OpenNest::of(&rooms, &key(number)).await;
    }
    let (booking, record) = world.open_room(&rooms).await;
    world.server().restart();
    world.advance(Duration::seconds(6));
    rooms.pass().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, record.generation + 1, "generation");
    world.assert_rooms(1);
}

#[testkit::test]
async fn rooms_of_ended_or_deleted_nests_are_removed(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.execute("update nests set status = 'ended', ended_at = app_now()").await;
    rooms.drain().await.unwrap();
    assert!(world.names().is_empty(), "ended with SQL");
    let orphan = world.nest(&rooms).await;
    world.execute(&format!("delete from nests where id = '{}'", orphan.id)).await;
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.advance(Duration::seconds(31));
    }
    assert!(world.names().is_empty(), "an unknown name with our metadata");
    assert!(!world.nest_is_open(&nest).await, "the nest is not open");
}

#[testkit::test]
async fn nest_participants_are_observed_without_webhooks(connect: PgConnectOptions) {
    let (world, rooms, nest) = world(connect).await;
    world.server().inject_webhook_fault(WebhookFault::Drop);
    nest.join(&rooms, &key(2)).await.unwrap();
    world.enter_nest(&nest, &key(2), NestRole::Speaker).await;
    world.enter_nest(&nest, "guest-1", NestRole::Guest).await;
    rooms.pass().await.unwrap();
    assert_eq!(joined(&world).await, [key(2), "guest-1".to_owned()]);
    assert!(!world.may_speak(&nest, &key(2)).await, "the role decides, not the token");
    world.server().leave(&world.nest_record(&nest).await.room_name, "guest-1").unwrap();
    for _ in 0..2 {
        rooms.pass().await.unwrap();
        world.advance(Duration::seconds(6));
    }
    assert_eq!(joined(&world).await, [key(2)]);
}

async fn joined(world: &World) -> Vec<String> {
    let joined = sqlx::query_scalar!(
        "select user_id from livekit_participants where status = 'joined' order by user_id"
    );
    joined.fetch_all(&world.pool).await.unwrap()
}
