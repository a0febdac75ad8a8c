//! Booking: commit first, then ask for the room. Whoever repeats a request by its key gets the same booking.

use chassis::{db::retried, status::Reason};
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
        let id = match retried(|| self.place(&new)).await {
            Ok(Some(id)) => id,
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
        if self.room_creation == RoomCreation::AtBooking
            && let Err(why) = self.rooms.create(id).await
        {
            self.tell_room_failed(id, why).await;
        }
        self.found(id).await
    }

    /// The new booking's id, committed; None when the creator's key stands already.
    async fn place(&self, new: &NewBooking) -> Result<Option<Uuid>, Error> {
        let id = Uuid::new_v4();
        let meeting_url = format!("{}/meeting/{id}", self.app_url);
        let mut transaction = self.pool.begin().await?;
        let people = [new.host_id.clone(), new.guest_id.clone()]; // a limited creator is one of them
        let now = store::lock_people(&mut *transaction, &people).await?;
        check_start(new.scheduled_at, now)?;
        let taken = store::insert_booking(&mut *transaction, id, new, &meeting_url).await?;
        if !taken.inserted {
            return Ok(None);
        }
        if new.is_limited() {
            if taken.open_full {
                return Err(Error::TooManyOpen);
            }
            if let Some(retry_after) = taken.pair_wait {
                return Err(Error::TooManyForPair { retry_after });
            }
        }
        transaction.commit().await?;
        Ok(Some(id))
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
