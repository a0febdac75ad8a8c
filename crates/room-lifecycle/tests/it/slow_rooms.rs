//! Rooms and participants that LiveKit does not answer for delay no others. Nothing is timed here: calls that must not
//! be waited for hang while the test checks the others.

use std::time::Duration as Wait;

use chassis::status::Reason;
use domain::{LiveRoomId, RoomId, RoomStatus, SeatRole, Source};
use livekit_dev::{About, Code, Fault};
use livekit_protocol::TrackSource;
use room_lifecycle::rooms::store::{Record, marks};
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

pub fn room(name: &str) -> About {
    About { room: name.to_owned(), identity: None }
}

pub fn participant(name: &str, identity: &str) -> About {
    About { room: name.to_owned(), identity: Some(identity.to_owned()) }
}

impl World {
    /// A replica with a short timeout for quick calls.
    async fn rooms_with_short_timeout(&self) -> Replica {
        self.rooms_with(|config| config.pace.quick = Wait::from_millis(50)).await
    }

    /// Bookings whose CreateRoom hangs.
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

    /// Rooms with a kicked participant who returned, and whose removal hangs.
    async fn hang_removals(&self, rooms: &Replica) {
        for _ in 0..SLOW {
            let (booking, record) = self.kicked_and_back(rooms).await;
            let stale = participant(&record.room_name, &booking.guest);
            self.server().faults().set_about("RemoveParticipant", stale, Fault::Hang);
        }
    }

    async fn kicked_and_back(&self, rooms: &Replica) -> (Booking, Record) {
        let (booking, record) = self.open_room(rooms).await;
        rooms.kick(owner(&booking), &booking.guest).await.unwrap();
        self.join(&record.room_name, &booking.guest);
        (booking, record)
    }

    pub fn is_connected(&self, record: &Record, who: &str) -> bool {
        self.server().connected(&record.room_name).iter().any(|one| one.identity == who)
    }

    /// Drains until the condition holds while all slow calls hang. A drain that waits for a slow call never gets there.
    async fn drain_while_hanging(
        &self,
        rooms: &Replica,
        hang: usize,
        what: &str,
        holds: impl AsyncFn() -> bool,
    ) {
        eventually(what, async || {
            self.make_due().await;
            rooms.drain().await.unwrap();
            let hanging = self.server().faults().hanging();
            if hanging >= hang && holds().await { Ok(()) } else { Err(hanging) }
        })
        .await;
    }
}

#[testkit::test]
async fn rooms_that_hang_delay_no_other_marked_room(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    let (booking, record) = world.open_room(&rooms).await;
    let slow = world.uncreated().await;
    let guest = booking.guest.as_str();
    let is = async |status: &str| world.status(&booking, guest).await == status;

    let sid = world.join(&record.room_name, guest).sid;
    marks::insert_mark(&world.pool, record.id).await.unwrap();
    world.drain_while_hanging(&rooms, SLOW, "joined", async || is("joined").await).await;

    world.server().leave(&record.room_name, guest).unwrap();
    let body = event("EV_left", "participant_left", &record, guest, &sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    world.drain_while_hanging(&rooms, SLOW, "left", async || is("left").await).await;

    rooms.kick(owner(&booking), guest).await.unwrap();
    let sid = world.join(&record.room_name, guest).sid;
    let body = event("EV_back", "participant_joined", &record, guest, &sid);
    rooms.webhooks.receive(&world.signed(&body), &body).await.unwrap();
    world
        .drain_while_hanging(&rooms, SLOW, "removed again", async || !world.is_connected(&record, guest))
        .await;

    world.server().faults().clear();
    eventually("slow rooms are created", async || {
        world.make_due().await;
        rooms.drain().await.unwrap();
        let status = world.record(slow.last().unwrap()).await.status;
        (status == RoomStatus::Active && world.names().len() == SLOW + 1).then_some(())
    })
    .await;
    world.assert_one_room_per_open_owner().await;
}

#[testkit::test]
async fn slow_check_is_finished_and_its_mark_deleted(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    eventually("a slow check ends", async || {
        sqlx::query!("delete from room_marks").execute(&world.pool).await.unwrap();
        marks::insert_mark(&world.pool, record.id).await.unwrap();
        world.server().faults().set_about("ListParticipants", room(&record.room_name), Fault::Hang);
        assert_eq!(rooms.drain().await.unwrap(), 0, "marks that were drained");
        assert_eq!(world.marks(record.id.0).await, 1, "marks of the room");
        world.server().faults().clear();
        // No other drain runs.
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

#[testkit::test]
async fn rooms_that_hang_delay_no_other_watched_room(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    world.hang_removals(&rooms).await;
    let (booking, record) = world.kicked_and_back(&rooms).await;
    eventually("the watch ends while 50 removals hang", async || {
        rooms.watch().await.unwrap();
        let hanging = world.server().faults().hanging();
        world.advance(Duration::seconds(10)); // passes the back-off of the removals that timed out
        if hanging >= SLOW && !world.is_connected(&record, &booking.guest) { Ok(()) } else { Err(hanging) }
    })
    .await;
}

#[testkit::test]
async fn call_about_one_participant_delays_no_other(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    let (booking, record) = world.kicked_and_back(&rooms).await;
    let stale = participant(&record.room_name, &booking.guest);
    world.server().faults().set_about("RemoveParticipant", stale, Fault::Hang);
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
    let holds = async || {
        !world.is_connected(&record, "other") && world.status(&booking, &booking.host).await == "joined"
    };
    world.drain_while_hanging(&rooms, 1, "the others are handled", holds).await;

    // The room itself is not busy: a departure is found while the same call hangs.
    world.server().leave(&record.room_name, &booking.host).unwrap();
    world.advance(Duration::seconds(6));
    let left = async || {
        world.advance(Duration::seconds(6));
        world.status(&booking, &booking.host).await == "left"
    };
    world.drain_while_hanging(&rooms, 1, "the host has left", left).await;
    assert!(world.marks(record.id.0).await > 0, "the removal is still marked");
}

#[testkit::test]
async fn kick_is_answered_while_livekit_hangs(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    let (booking, record) = world.open_room(&rooms).await;
    world.join(&record.room_name, &booking.guest);
    world.server().faults().set("RemoveParticipant", Fault::Hang);
    assert!(rooms.kick(owner(&booking), &booking.guest).await.unwrap(), "the kicked user was in the room");
    for _ in 0..20 {
        world.record(&booking).await; // gives LiveKit time to notice a cancelled call
    }
    assert_eq!(world.server().faults().hanging(), 1, "the answer did not wait for the call");
    world.server().faults().clear();
    eventually("removed in the background", async || {
        (!world.is_connected(&record, &booking.guest)).then_some(())
    })
    .await;
}

#[testkit::test]
async fn mute_is_answered_while_livekit_hangs(world: World) {
    let rooms = world.rooms_with(|config| config.timeouts.answer = Wait::from_millis(50)).await;
    let open = world.live(&rooms, 10).await;
    let host = person(&open.room.host);
    rooms.live.join_live_room(&person("vera"), LiveRoomId(open.room.id)).await.unwrap();
    world.server().faults().set("ListParticipants", Fault::Hang);
    let answer = rooms.live.mute_seated(&host, LiveRoomId(open.room.id), "vera", Source::Microphone).await;
    assert_eq!(reason(answer), Reason::LivekitUnavailable);
    for _ in 0..20 {
        world.live_record(&open).await; // gives LiveKit time to notice a cancelled call
    }
    assert_eq!(world.server().faults().hanging(), 1, "the answer did not wait for the call");
}

#[testkit::test]
async fn permission_call_that_hangs_delays_no_other(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
    let open = world.live(&rooms, 10).await;
    let record = world.live_record(&open).await;
    let others = ["vera", "ann", "bob", "cem", "dora"];
    for who in others.into_iter().chain(["hanging"]) {
        rooms.live.join_live_room(&person(who), LiveRoomId(open.room.id)).await.unwrap();
        let token = world.token_for(&record.room_name, who, SeatRole::Guest.grants());
        world.server().join(&token).unwrap();
    }
    world.check_live(&rooms, &open).await;
    world.server().faults().set("UpdateParticipant", Fault::Hang);
    for who in others {
        promote(&rooms, &open, who).await;
    }
    world.server().faults().clear();
    let stale = participant(&record.room_name, "hanging");
    world.server().faults().set_about("UpdateParticipant", stale, Fault::Hang);
    promote(&rooms, &open, "hanging").await;
    let publishes = |who: &str| world.server().publish(&record.room_name, who, TrackSource::Microphone);
    let all = async || others.iter().all(|who| publishes(who).is_ok());
    world.drain_while_hanging(&rooms, 1, "the other viewers may publish", all).await;
}

async fn promote(rooms: &Replica, open: &Open, who: &str) {
    let host = person(&open.room.host);
    rooms.live.set_seat_role(&host, LiveRoomId(open.room.id), who, SeatRole::Speaker).await.unwrap().unwrap();
}

#[testkit::test]
async fn hanging_strays_do_not_delay_a_pass(world: World) {
    let rooms = world.rooms_with_short_timeout().await;
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
