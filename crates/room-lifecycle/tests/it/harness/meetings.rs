//! Meetings on a LiveKit with Redis, whose participants are probed every second.

use room_lifecycle::rooms::store::Record;
use time::Duration;

use super::{Booking, Service, World};
use crate::webhooks::event;

/// A booking whose host and guest are in the room.
pub struct Meeting {
    pub booking: Booking,
    pub record: Record,
}

impl World {
    pub async fn watched_meeting(&self, rooms: &Service) -> Meeting {
        let (booking, record) = self.open_room(rooms).await;
        let meeting = Meeting { booking, record };
        self.enter_meeting(rooms, &meeting, &meeting.booking.host).await;
        self.enter_meeting(rooms, &meeting, &meeting.booking.guest).await;
        assert_eq!(self.statuses(&meeting).await, ["joined", "joined"], "host and guest");
        meeting
    }

    /// Joins and checks the room. Returns the participant's SID.
    pub async fn enter_meeting(&self, rooms: &Service, meeting: &Meeting, who: &str) -> String {
        let sid = self.join(&meeting.record.room_name, who).sid;
        self.check_meeting(rooms, meeting).await;
        sid
    }

    pub async fn check_meeting(&self, rooms: &Service, meeting: &Meeting) {
        let id = meeting.record.id;
        assert_eq!(rooms.reconcile(&[id]).await.unwrap(), [id], "checked: {:?}", meeting.record);
    }

    pub async fn statuses(&self, meeting: &Meeting) -> [String; 2] {
        let booking = &meeting.booking;
        [self.status(booking, &booking.host).await, self.status(booking, &booking.guest).await]
    }

    /// Runs the probe loop once a second for this time.
    pub async fn watch_seconds(&self, rooms: &Service, seconds: u32) {
        self.advance_stepwise(Duration::SECOND, seconds, async || {
            rooms.stale_participants.probe_participants().await.unwrap();
        })
        .await;
    }

    pub fn probes(&self) -> u64 {
        self.server().calls("UpdateSubscriptions")
    }

    /// Delivers a webhook about this participant.
    pub async fn send_webhook(&self, rooms: &Service, record: &Record, kind: &str, who: &str, sid: &str) {
        let body = event(&format!("EV_{kind}_{sid}"), kind, record, who, sid);
        rooms.webhooks.receive(&self.signed(&body), &body).await.unwrap();
    }
}
