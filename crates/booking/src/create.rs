//! Booking: commit first, then ask for the room. Whoever repeats a request by its key gets the same booking.

use chassis::{db::retried, status::Reason};
use sqlx::PgConnection;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::{
    RoomCreation,
    error::Error,
    grpc::Bookings,
    request::NewBooking,
    store::{self, Booking},
};

impl Bookings {
    pub(crate) async fn create(self, new: NewBooking) -> Result<Booking, Error> {
        let mut booking = match retried(|| self.place(&new)).await {
            Ok(Some(booking)) => booking,
            Ok(None) => return self.repeated(&new).await,
            // A repeat may come when the start that was booked has gone by.
            Err(out @ Error::StartOutOfRange { .. }) if new.idempotency_key.is_some() => {
                return match self.repeated(&new).await {
                    Err(Error::NotFound) => Err(out),
                    found => found,
                };
            }
            Err(error) => return Err(error),
        };
        metrics::counter!("greenroom_bookings_created_total").increment(1);
        if self.room_creation == RoomCreation::AtBooking {
            match self.rooms.create(booking.id).await {
                Ok(room) => booking.set_room(room),
                Err(why) => self.tell_room_failed(booking.id, why).await,
            }
        }
        Ok(booking)
    }

    /// The new booking, committed; None when the creator's key stands already.
    async fn place(&self, new: &NewBooking) -> Result<Option<Booking>, Error> {
        let id = Uuid::new_v4();
        let meeting_url = format!("{}/meeting/{id}", self.app_url);
        let mut transaction = self.pool.begin().await?;
        let people = [new.host_id.clone(), new.guest_id.clone()]; // a limited creator is one of them
        let now = store::lock_people(&mut *transaction, &people, &new.creator).await?;
        check_start(new.scheduled_at, now)?;
        let Some(booking) = store::insert_booking(&mut *transaction, id, new, &meeting_url).await? else {
            return self.refused(&mut transaction, new).await;
        };
        transaction.commit().await?;
        Ok(Some(booking))
    }

    /// Why nothing was inserted: None for a key that stands already, or the limit that the creator is at.
    async fn refused(
        &self,
        connection: &mut PgConnection,
        new: &NewBooking,
    ) -> Result<Option<Booking>, Error> {
        let creator = &new.creator.user_id;
        if let Some(key) = &new.idempotency_key
            && store::find_booking_by_key(&mut *connection, creator, key).await?.is_some()
        {
            return Ok(None);
        }
        let limits = store::find_limits(connection, new).await?;
        match limits.pair_wait {
            _ if limits.open_full => Err(Error::TooManyOpen),
            Some(retry_after) => Err(Error::TooManyForPair { retry_after }),
            None => Err(Error::Contended), // below the limit again, a moment later
        }
    }

    /// The booking that this request made before, as it is now.
    async fn repeated(&self, new: &NewBooking) -> Result<Booking, Error> {
        let key = new.idempotency_key.as_deref().unwrap_or_default();
        let booking = store::find_booking_by_key(&self.pool, &new.creator.user_id, key)
            .await?
            .ok_or(Error::NotFound)?;
        if booking.request_hash.as_deref() == Some(&new.hash()) { Ok(booking) } else { Err(Error::KeyReused) }
    }

    async fn tell_room_failed(&self, id: Uuid, why: Reason) {
        if let Err(error) = store::insert_room_failed(&self.pool, id, why).await {
            tracing::error!(%error, session.id = %id, "admins could not be told that a room is missing");
        }
    }
}

/// From 5 minutes ago to a year ahead, by the database's clock.
pub(crate) fn check_start(start: OffsetDateTime, now: OffsetDateTime) -> Result<(), Error> {
    if (now - Duration::minutes(5)..=now + Duration::days(365)).contains(&start) {
        Ok(())
    } else {
        Err(Error::StartOutOfRange { now })
    }
}
