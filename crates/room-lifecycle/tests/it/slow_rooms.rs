//! Rooms and participants that LiveKit does not answer for delay no others. Nothing here is measured: what must not be
//! waited for hangs while the test looks.

use std::time::Duration as Wait;

use chassis::status::Reason;
use domain::{LiveRoomId, RoomId, RoomStatus, SeatRole, Source};
use livekit_dev::{About, Code, Fault};
use livekit_protocol::TrackSource;
use room_lifecycle::store::{Record, marks};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use testkit::eventually;
use time::Duration;

use crate::{
    harness::{
        Booking, Replica, State, World, owner, reason,
        seats::{Open, person},
    },
    webhooks::event,
};

const SLOW: usize = 50;

fn room(name: &str) -> About {
    About { room: name.to_owned(), identity: None }
}

fn participant(name: &str, identity: &str) -> About {
    About { room: name.to_owned(), identity: Some(identity.to_owned()) }
}

impl World {
    /// A replica that calls an answer slow after a moment.
    async fn impatient(&self) -> Replica {
        self.rooms_with(|config| config.pace.quick = Wait::from_millis(50)).await
    }

    /// Bookings whose rooms LiveKit does not create.
    async fn uncreated(&self) -> Vec<Booking> {
        let mut bookings = Vec::new();
        for _ in 0..SLOW {
            let booking = self.booking(State::OpenNow).await;
            let pending = testkit::seed::pending_room(&self.pool, &booking).await;
            self.server().faults().set_about("CreateRoom", room(&pending.name), Fault::Hang);
            marks::insert_mark(&self.pool, RoomId(pending.id)).await.unwrap();
            bookings.push(booking);
        }
        bookings
    }

    /// Rooms with a kicked participant who came back, and LiveKit hangs over the removal.
    async fn haunted(&self, rooms: &Replica) {
        for _ in 0..SLOW {
            let (booking, record) = self.kicked_and_back(rooms).await;
            let ghost = participant(&record.room_name, &booking.guest);
            self.server().faults().set_about("RemoveParticipant", ghost, Fault::Hang);
        }
    }

    async fn kicked_and_back(&self, rooms: &Replica) -> (Booking, Record) {
        let (booking, record) = self.open_room(rooms).await;
        rooms.kick(owner(&booking), &booking.guest).await.unwrap();
        self.join(&record.room_name, &booking.guest);
        (booking, record)
    }

    fn is_there(&self, record: &Record, who: &str) -> bool {
        self.server().connected(&record.room_name).iter().any(|one| one.identity == who)
    }

    /// Drains until this holds while all slow calls hang: a drain that waits for one of them never sees that.
    async fn drained_beside(&self, rooms: &Replica, hang: usize, what: &str, holds: impl AsyncFn() -> bool) {
        eventually(what, async || {
            self.hurry().await;
            rooms.drain().await.unwrap();
            let hanging = self.server().faults().hanging();
            if hanging >= hang && holds().await { Ok(()) } else { Err(hanging) }
        })
        .await;
    }
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn rooms_that_hang_delay_no_other_marked_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    let (booking, record) = world.open_room(&rooms).await;
    let slow = world.uncreated().await;
    let guest = booking.guest.as_str();
    let is = async |status: &str| world.status(&booking, guest).await == status;

    let sid = world.join(&record.room_name, guest).sid;
    marks::insert_mark(&world.pool, record.id).await.unwrap();
    world.drained_beside(&rooms, SLOW, "joined", async || is("joined").await).await;

    world.server().leave(&record.room_name, guest).unwrap();
    let body = event("EV_left", "participant_left", &record, guest, &sid);
    rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
    world.drained_beside(&rooms, SLOW, "left", async || is("left").await).await;

    rooms.kick(owner(&booking), guest).await.unwrap();
    let sid = world.join(&record.room_name, guest).sid;
    let body = event("EV_back", "participant_joined", &record, guest, &sid);
    rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
    world.drained_beside(&rooms, SLOW, "out again", async || !world.is_there(&record, guest)).await;

    world.server().faults().clear();
    eventually("slow rooms are created", async || {
        world.hurry().await;
        rooms.drain().await.unwrap();
        let status = world.record(slow.last().unwrap()).await.status;
        (status == RoomStatus::Active && world.names().len() == SLOW + 1).then_some(())
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn slow_look_is_finished_and_its_mark_deleted(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    eventually("a look that was slow ends", async || {
        sqlx::query!("delete from room_marks").execute(&world.pool).await.unwrap();
        marks::insert_mark(&world.pool, record.id).await.unwrap();
        world.server().faults().set_about("ListParticipants", room(&record.room_name), Fault::Hang);
        assert_eq!(rooms.drain().await.unwrap(), 0);
        assert_eq!(world.marks(record.id.0).await, 1);
        world.server().faults().clear();
        // There is no other drain.
        for _ in 0..50 {
            if world.status(&booking, &booking.guest).await == "joined" && world.marks(record.id.0).await == 0
            {
                return Some(());
            }
            tokio::task::yield_now().await;
        }
        None
    })
    .await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn rooms_that_hang_delay_no_other_watched_room(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    world.haunted(&rooms).await;
    let (booking, record) = world.kicked_and_back(&rooms).await;
    eventually("the watch ends while 50 removals hang", async || {
        rooms.watch().await.unwrap();
        let hanging = world.server().faults().hanging();
        world.pass_time(Duration::seconds(10)); // over the back-off of those that LiveKit did not answer in time
        if hanging >= SLOW && !world.is_there(&record, &booking.guest) { Ok(()) } else { Err(hanging) }
    })
    .await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn call_about_one_participant_delays_no_other(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    let (booking, record) = world.kicked_and_back(&rooms).await;
    let ghost = participant(&record.room_name, &booking.guest);
    world.server().faults().set_about("RemoveParticipant", ghost, Fault::Hang);
    sqlx::query!(
        "insert into livekit_participants (room_id, user_id, role, status, kicked_at)
         values ($1, 'other', 'guest', 'kicked', app_now())",
        record.id.0
    )
    .execute(&world.pool)
    .await
    .unwrap();
    world.join(&record.room_name, "other");
    world.join(&record.room_name, &booking.host);
    marks::insert_mark(&world.pool, record.id).await.unwrap();
    let holds =
        async || !world.is_there(&record, "other") && world.status(&booking, &booking.host).await == "joined";
    world.drained_beside(&rooms, 1, "the others are handled", holds).await;

    // The room itself is not under way: who leaves now is seen while the same call hangs.
    world.server().leave(&record.room_name, &booking.host).unwrap();
    world.pass_time(Duration::seconds(6));
    let left = async || {
        world.pass_time(Duration::seconds(6));
        world.status(&booking, &booking.host).await == "left"
    };
    world.drained_beside(&rooms, 1, "the host has left", left).await;
    assert!(world.marks(record.id.0).await > 0, "the removal is not forgotten");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn kick_of_a_ghost_is_answered_while_livekit_hangs(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set("RemoveParticipant", Fault::Hang);
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap());
    for _ in 0..20 {
        world.record(&booking).await; // LiveKit hears of a call that was given up
    }
    assert_eq!(world.server().faults().hanging(), 1, "the answer did not wait for it");
    world.server().faults().clear();
    eventually("removed in the background", async || {
        (!world.is_there(&record, &booking.guest)).then_some(())
    })
    .await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn mute_is_answered_while_livekit_hangs(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms_with(|config| config.patience.answer = Wait::from_millis(50)).await;
    let open = world.live(&rooms, 10).await;
    let host = person(&open.room.host);
    rooms.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
    world.server().faults().set("ListParticipants", Fault::Hang);
    let answer = rooms.mute_seated(&host, LiveRoomId(open.room.id), "vera", Source::Microphone).await;
    assert_eq!(reason(answer), Reason::LivekitUnavailable);
    for _ in 0..20 {
        world.live_record(&open).await; // LiveKit hears of a call that was given up
    }
    assert_eq!(world.server().faults().hanging(), 1, "the answer did not wait for it");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn permission_call_that_hangs_delays_no_other(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    let open = world.live(&rooms, 10).await;
    let record = world.live_record(&open).await;
    let others = ["vera", "ann", "bob", "cem", "dora"];
    for who in others.into_iter().chain(["ghost"]) {
        rooms.join_live_room(&person(who), LiveRoomId(open.room.id)).await.unwrap();
        let token = world.token_for(&record.room_name, who, SeatRole::Guest.grants());
        world.server().join(&token).unwrap();
    }
    world.see(&rooms, &open).await;
    world.server().faults().set("UpdateParticipant", Fault::Hang);
    for who in others {
        promote(&rooms, &open, who).await;
    }
    world.server().faults().clear();
    let ghost = participant(&record.room_name, "ghost");
    world.server().faults().set_about("UpdateParticipant", ghost, Fault::Hang);
    promote(&rooms, &open, "ghost").await;
    let publishes = |who: &str| world.server().publish(&record.room_name, who, TrackSource::Microphone);
    let all = async || others.iter().all(|who| publishes(who).is_ok());
    world.drained_beside(&rooms, 1, "the others may publish", all).await;
}

async fn promote(rooms: &Replica, open: &Open, who: &str) {
    let host = person(&open.room.host);
    rooms.set_seat_role(&host, LiveRoomId(open.room.id), who, SeatRole::Speaker).await.unwrap().unwrap();
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn strays_that_hang_do_not_hold_up_a_pass(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.impatient().await;
    world.server().faults().set("DeleteRoom", Fault::Refuse { code: Code::Internal });
    for _ in 0..SLOW {
        let (booking, _) = world.open_room(&rooms).await;
        world.complete(&booking).await;
    }
    rooms.drain().await.unwrap();
    world.server().faults().clear();
    world.server().faults().set("DeleteRoom", Fault::Hang);
    eventually("the pass ends while 50 deletions hang", async || {
        rooms.pass().await.unwrap();
        let hanging = world.server().faults().hanging();
        if hanging == SLOW { Ok(()) } else { Err(hanging) }
    })
    .await;
    world.server().faults().clear();
    eventually("deleted in the background", async || world.names().is_empty().then_some(())).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn removal_that_fails_leaves_the_others_inside(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    rooms.kick(owner(&booking), &booking.guest).await.unwrap();
    let sid = world.join(&record.room_name, &booking.guest).sid;
    let body = event("EV_back", "participant_joined", &record, &booking.guest, &sid);
    rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
    world.join(&record.room_name, &booking.host);
    let ghost = participant(&record.room_name, &booking.guest);
    let no_response = Fault::Refuse { code: Code::Unavailable };
    world.server().faults().set_about("RemoveParticipant", ghost, no_response);
    let before = world.server().calls("RemoveParticipant");
    for _ in 0..60 {
        rooms.watch().await.unwrap();
        world.pass_time(Duration::seconds(1));
    }
    let calls = world.server().calls("RemoveParticipant") - before;
    assert!((8..=12).contains(&calls), "a growing back-off: {calls} calls in a minute");
    assert_eq!(world.record(&booking).await.generation, 1);
    assert!(world.is_there(&record, &booking.host));
    assert_eq!(world.status(&booking, &booking.guest).await, "kicked");

    // Back under a new SID: removed at once, whatever was failing before.
    world.server().faults().clear();
    world.join(&record.room_name, &booking.guest);
    rooms.watch().await.unwrap();
    assert!(!world.is_there(&record, &booking.guest));
}

/// A crash ends stays without an event. Such a stay must not put the living out 30 s later.
async fn crashed_stay(connect: PgConnectOptions, is_removed: bool) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (booking, record) = world.open_room(&rooms).await;
    rooms.kick(owner(&booking), &booking.guest).await.unwrap();
    let tell = async |kind: &str, sid: &str| {
        let body = event(&format!("EV_{kind}_{sid}"), kind, &record, &booking.guest, sid);
        rooms.receive_webhook(&world.signed(&body), &body).await.unwrap();
    };
    tell("participant_joined", "PA_crashed").await;
    world.pass_time(Duration::seconds(5));
    let sid = world.join(&record.room_name, &booking.guest).sid;
    if is_removed {
        rooms.watch().await.unwrap();
    } else {
        tell("participant_joined", &sid).await;
        world.server().leave(&record.room_name, &booking.guest).unwrap();
        tell("participant_left", &sid).await;
    }
    world.pass_time(Duration::seconds(40));
    let before = world.server().calls("RemoveParticipant");
    rooms.watch().await.unwrap();
    assert_eq!(world.record(&booking).await.generation, 1);
    assert_eq!(world.server().calls("RemoveParticipant"), before, "there is no one left to remove");
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn stay_without_an_end_is_over_when_a_later_one_is(_: PgPoolOptions, connect: PgConnectOptions) {
    crashed_stay(connect, false).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn stay_without_an_end_is_over_after_a_removal(_: PgPoolOptions, connect: PgConnectOptions) {
    crashed_stay(connect, true).await;
}

#[sqlx::test(migrator = "chassis::db::MIGRATOR")]
async fn room_that_fails_backs_off_and_keeps_one_mark(_: PgPoolOptions, connect: PgConnectOptions) {
    let world = World::new(connect).await;
    let rooms = world.rooms().await;
    let (_, record) = world.open_room(&rooms).await;
    rooms.drain().await.unwrap();
    for _ in 0..3 {
        marks::insert_mark(&world.pool, record.id).await.unwrap();
    }
    let fails = Fault::Refuse { code: Code::Unavailable };
    world.server().faults().set_about("ListParticipants", room(&record.room_name), fails);
    for wait in [2, 2, 4, 8, 8] {
        let looks = world.server().calls("ListParticipants");
        rooms.drain().await.unwrap();
        assert_eq!(
            (world.server().calls("ListParticipants"), world.marks(record.id.0).await),
            (looks + 1, 1)
        );
        world.pass_time(Duration::seconds(wait) - Duration::milliseconds(500));
        rooms.drain().await.unwrap();
        assert_eq!(world.server().calls("ListParticipants"), looks + 1, "not before {wait} s");
        world.pass_time(Duration::milliseconds(500));
    }
    world.server().faults().clear();
    assert_eq!((rooms.drain().await.unwrap(), world.marks(record.id.0).await), (1, 0));
}
