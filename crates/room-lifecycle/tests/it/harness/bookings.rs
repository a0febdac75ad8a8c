//! Bookings and the records of their rooms.

use domain::{Owner, SessionId};
use room_lifecycle::rooms::store::{self, Record};
use time::Duration;
use uuid::Uuid;

use super::{Booking, Service, State, World};

impl World {
    pub async fn booking(&self, state: State) -> Booking {
        testkit::seed::booking(&self.pool, state).await
    }

    /// A booking that is open now and has its room.
    pub async fn open_room(&self, rooms: &Service) -> (Booking, Record) {
        let booking = self.booking(State::OpenNow).await;
        let record = rooms.ensure(Owner::Session(SessionId(booking.id)), false).await.unwrap();
        (booking, record)
    }

    /// A booking that is open now, with host and guest in its room.
    pub async fn meeting(&self, rooms: &Service) -> (Booking, Record) {
        let (booking, record) = self.open_room(rooms).await;
        for who in [&booking.host, &booking.guest] {
            self.join(&record.room_name, who);
        }
        self.check(rooms, &record).await;
        (booking, record)
    }

    /// Checks a room. The check must succeed.
    pub async fn check(&self, rooms: &Service, record: &Record) {
        assert_eq!(rooms.reconcile(&[record.id]).await.unwrap(), [record.id], "checked: {record:?}");
    }

    /// The room names in `rooms_to_close`, sorted.
    pub async fn to_close(&self) -> Vec<String> {
        sqlx::query_scalar!("select room_name from rooms_to_close order by room_name")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    pub async fn record(&self, booking: &Booking) -> Record {
        store::find_record(&self.pool, booking.id).await.unwrap().unwrap()
    }

    /// Ends a booking as the booking service does.
    pub async fn complete(&self, booking: &Booking) {
        self.set_status(booking, "completed").await;
    }

    pub async fn set_status(&self, booking: &Booking, status: &str) {
        sqlx::query!("update sessions set status = $2 where id = $1", booking.id, status)
            .execute(&self.pool)
            .await
            .unwrap();
    }

    /// Moves a booking's start.
    pub async fn reschedule(&self, booking: &Booking, by: Duration) {
        sqlx::query!(
            "update sessions set scheduled_at = scheduled_at + make_interval(secs => $2) where id = $1",
            booking.id,
            by.as_seconds_f64()
        )
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// The status of a participant in a booking's room.
    pub async fn status(&self, booking: &Booking, user: &str) -> String {
        sqlx::query_scalar!(
            "select p.status from livekit_participants p join livekit_rooms r on r.id = p.room_id
             where r.session_id = $1 and p.user_id = $2",
            booking.id,
            user
        )
        .fetch_one(&self.pool)
        .await
        .unwrap()
    }

    pub async fn marks(&self, room: Uuid) -> i64 {
        sqlx::query_scalar!(r#"select count(*) as "n!" from room_marks where room_id = $1"#, room)
            .fetch_one(&self.pool)
            .await
            .unwrap()
    }

    /// Makes all marks and failed rooms due.
    pub async fn make_due(&self) {
        sqlx::query!("update room_marks set not_before = app_now() where not_before > app_now()")
            .execute(&self.pool)
            .await
            .unwrap();
        sqlx::query!("update livekit_rooms set next_attempt_at = null where next_attempt_at is not null")
            .execute(&self.pool)
            .await
            .unwrap();
    }
}

pub const fn owner(booking: &Booking) -> Owner {
    Owner::Session(SessionId(booking.id))
}
