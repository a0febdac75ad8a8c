//! Moving, lengthening and renaming. The plan is pure; it is carried out under the people's locks, and only if the
//! booking is still the one it was made for.

use chassis::db::retried;
use domain::{SessionId, SessionStatus};
use proto::types::v1::Caller;

use crate::{
    error::Error,
    grpc::Bookings,
    request::{Change, as_guest, may_start},
    store::{self, Booking, Rescheduled},
};

/// How often a booking may change between reading and writing it before the caller has to try again.
const ATTEMPTS: usize = 3;

/// What became of one attempt.
enum Attempt {
    Unchanged,
    Done { moved: bool },
    Overtaken,
}

impl Bookings {
    pub(crate) async fn reschedule(
        self,
        caller: Caller,
        id: SessionId,
        change: Change,
    ) -> Result<Booking, Error> {
        let booking = self.found_for_party(&caller, id).await?;
        let people = [booking.host_id, booking.guest_id]; // they never change
        for _ in 0..ATTEMPTS {
            match retried(|| self.try_reschedule(&caller, id, &people, &change)).await? {
                Attempt::Overtaken => {}
                Attempt::Done { moved: true } => {
                    self.rooms.retime(id).await;
                    return self.found(id).await;
                }
                Attempt::Unchanged | Attempt::Done { moved: false } => return self.found(id).await,
            }
        }
        Err(Error::Contended)
    }

    async fn try_reschedule(
        &self,
        caller: &Caller,
        id: SessionId,
        people: &[String],
        change: &Change,
    ) -> Result<Attempt, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        store::lock_users(&mut *transaction, people, caller).await?;
        let booking = store::find_booking(&mut *transaction, id).await?.ok_or(Error::NotFound)?;
        if let Some(guest) = as_guest(caller, &booking)
            && store::is_kicked(&mut *transaction, id, guest).await?
        {
            return Err(Error::Kicked);
        }
        let Some(new) = plan(&booking, change)? else {
            return Ok(Attempt::Unchanged);
        };
        if !store::reschedule_booking(&mut *transaction, &booking, &new).await? {
            if new.moved && store::is_slot_taken(&mut *transaction, &booking, &new).await? {
                return Err(Error::SlotTaken);
            }
            return Ok(Attempt::Overtaken);
        }
        transaction.commit().await?;
        Ok(Attempt::Done { moved: new.moved })
    }
}

/// What `change` makes of the booking; None when nothing changes.
///
/// Words may change while the booking is open. Its time may until somebody is in the meeting, and from `opens_at`
/// on only so that the end grows.
fn plan(booking: &Booking, change: &Change) -> Result<Option<Rescheduled>, Error> {
    match booking.status {
        SessionStatus::Cancelled => return Err(Error::Cancelled),
        SessionStatus::Completed | SessionStatus::NoShow => return Err(Error::Ended),
        SessionStatus::Scheduled | SessionStatus::InProgress if booking.is_overdue() => {
            return Err(Error::Ended);
        }
        SessionStatus::Scheduled | SessionStatus::InProgress => {}
    }
    let scheduled_at = change.scheduled_at.unwrap_or(booking.scheduled_at);
    let duration_minutes = change.duration_minutes.unwrap_or(booking.duration_minutes);
    let starts_anew = scheduled_at != booking.scheduled_at;
    let moved = starts_anew || duration_minutes != booking.duration_minutes;
    if moved {
        let only_grows = !starts_anew && duration_minutes > booking.duration_minutes;
        if booking.status == SessionStatus::InProgress || booking.now >= booking.opens_at && !only_grows {
            return Err(Error::Started);
        }
    }
    if starts_anew && !may_start(scheduled_at, booking.now) {
        return Err(Error::StartOutOfRange { now: booking.now });
    }
    let title = change.title.as_ref().unwrap_or(&booking.title);
    let description = change.description.as_ref().unwrap_or(&booking.description);
    if !moved && *title == booking.title && *description == booking.description {
        return Ok(None);
    }
    Ok(Some(Rescheduled {
        scheduled_at,
        duration_minutes,
        title: title.clone(),
        description: description.clone(),
        moved,
    }))
}
