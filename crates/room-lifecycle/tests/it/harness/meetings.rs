//! Meetings on a LiveKit with Redis, whose participants are probed turn by turn.

use livekit_dev::Store;
use room_lifecycle::{Rooms, store::Record};
use sqlx::postgres::PgConnectOptions;
use time::Duration;

use super::{Booking, Replica, World};
use crate::webhooks::event;

/// A booking with its host and its guest inside, on a LiveKit with Redis.
pub struct Meeting {
    pub booking: Booking,
    pub record: Record,
}

pub async fn redis_world(connect: PgConnectOptions) -> (World, Replica) {
    let world = World::with_store(connect, Store::RedisLike).await;
    let rooms = world.rooms().await;
    (world, rooms)
}

impl World {
    pub async fn watched_meeting(&self, rooms: &Rooms) -> Meeting {
        let (booking, record) = self.open_room(rooms).await;
        let meeting = Meeting { booking, record };
        self.enter_meeting(rooms, &meeting, &meeting.booking.host).await;
        self.enter_meeting(rooms, &meeting, &meeting.booking.guest).await;
        assert_eq!(self.both(&meeting).await, ["joined", "joined"]);
        meeting
    }

    /// Joins, and a check finds them.
    pub async fn enter_meeting(&self, rooms: &Rooms, meeting: &Meeting, who: &str) -> String {
        let sid = self.join(&meeting.record.room_name, who).sid;
        self.check_meeting(rooms, meeting).await;
        sid
    }

    pub async fn check_meeting(&self, rooms: &Rooms, meeting: &Meeting) {
        let id = meeting.record.id;
        assert_eq!(rooms.reconcile(&[id]).await.unwrap(), [id]);
    }

    pub async fn both(&self, meeting: &Meeting) -> [String; 2] {
        let booking = &meeting.booking;
        [self.status(booking, &booking.host).await, self.status(booking, &booking.guest).await]
    }

    /// Turns of one second each.
    pub async fn turns(&self, rooms: &Rooms, seconds: u32) {
        for _ in 0..seconds {
            self.pass_time(Duration::SECOND);
            rooms.watch_ghosts().await.unwrap();
        }
    }

    pub fn probes(&self) -> u64 {
        self.server().calls("UpdateSubscriptions")
    }

    /// A webhook about this participant.
    pub async fn tell(&self, rooms: &Rooms, record: &Record, kind: &str, who: &str, sid: &str) {
        let body = event(&format!("EV_{kind}_{sid}"), kind, record, who, sid);
        rooms.receive_webhook(&self.signed(&body), &body).await.unwrap();
    }
}
