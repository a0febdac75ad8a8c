//! Creates bookings: commits first, then asks for the room. Idempotent by key: a repeated request gets the same
//! booking.

use chassis::{db::retry_on_contention, status::Reason};
use domain::SessionId;
use uuid::Uuid;

use crate::{
    RoomCreation,
    bookings::Bookings,
    convert::set_room,
    error::Error,
    policy::may_start,
    store::{self, Booking, NewBooking},
};

/// Attempts when the insert meets a conflict that no longer exists afterwards.
const ATTEMPTS: usize = 3;

impl Bookings {
    pub(crate) async fn create(self, new: NewBooking) -> Result<Booking, Error> {
        let id = SessionId(Uuid::new_v4());
        let meeting_url = format!("{}/meeting/{id}", self.app_url);
        for _ in 0..ATTEMPTS {
            let inserted = retry_on_contention(|| async {
                store::insert_booking(&self.pool, id, &new, &meeting_url).await.map_err(Error::from)
            });
            // The booking is committed. Whatever happens to its room, it stays.
            if let Some(booking) = inserted.await? {
                return self.with_room(booking, &new).await;
            }
            // The insert does not say why it wrote nothing, so the reasons are read after it.
            match self.existing_or_refusal(&new).await {
                // The obstacle has gone between the two statements: try again.
                Err(Error::Contended) => {}
                outcome => return outcome,
            }
        }
        Err(Error::Contended)
    }

    async fn with_room(self, mut booking: Booking, new: &NewBooking) -> Result<Booking, Error> {
        booking.set_profile(&new.creator);
        metrics::counter!("greenroom_bookings_created_total").increment(1);
        tracing::info!(session.id = %booking.id, session.kind = "booking", "session created");
        if self.room_creation == RoomCreation::AtBooking {
            match self.rooms.create(booking.id).await {
                Ok(room) => set_room(&mut booking, room),
                Err(why) => self.notify_room_failed(booking.id, why).await,
            }
        }
        Ok(booking)
    }

    /// Returns the booking that this request created before, whatever the time is now, or the reason why none was
    /// inserted.
    async fn existing_or_refusal(&self, new: &NewBooking) -> Result<Booking, Error> {
        // The key first: the repeated request of an old booking must not be refused for its start.
        match self.repeated(new).await {
            Err(Error::NotFound) => Err(self.refused(new).await?),
            found => found,
        }
    }

    async fn refused(&self, new: &NewBooking) -> Result<Error, Error> {
        let obstacles = store::find_obstacles(&self.pool, new).await?;
        Ok(match obstacles.pair_wait {
            _ if !may_start(new.scheduled_at, obstacles.now) => Error::StartOutOfRange { now: obstacles.now },
            _ if new.is_limited() && obstacles.open_full => Error::TooManyOpen,
            Some(retry_after) if new.is_limited() => Error::TooManyForPair { retry_after },
            _ if obstacles.slot_taken => Error::SlotTaken,
            _ => Error::Contended, // the conflict no longer exists: try again
        })
    }

    async fn repeated(&self, new: &NewBooking) -> Result<Booking, Error> {
        let key = new.idempotency_key.as_deref().ok_or(Error::NotFound)?;
        let booking = store::find_booking_by_key(&self.pool, &new.creator.user_id, key)
            .await?
            .ok_or(Error::NotFound)?;
        if booking.request_hash.as_ref() == Some(&new.request_hash) {
            Ok(booking)
        } else {
            Err(Error::KeyReused)
        }
    }

    async fn notify_room_failed(&self, id: SessionId, why: Reason) {
        if let Err(error) = store::insert_room_failed(&self.pool, id, why).await {
            tracing::error!(%error, session.id = %id, "failed to notify the admins of a missing room");
        }
    }
}
