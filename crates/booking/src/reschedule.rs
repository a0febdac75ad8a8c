//! Moves, extends and renames bookings. The plan is pure. It is applied under the locks of both parties, and only if
//! the booking did not change since the plan was made.

use chassis::db::retry_on_contention;
use domain::{NotificationKind, SessionId, SessionStatus, field::non_empty};
use proto::types::v1::Caller;

use crate::{
    bookings::Bookings,
    error::Error,
    policy::{as_guest, may_start},
    request::Change,
    store::{self, Booking, Rescheduled},
};

/// Optimistic-locking attempts before the answer is 503.
const ATTEMPTS: usize = 3;

/// The result of one attempt.
enum Attempt {
    Unchanged,
    Done {
        moved: bool,
    },
    /// Another writer changed the booking between the read and the write.
    Conflict,
}

impl Bookings {
    pub(crate) async fn reschedule(
        self,
        caller: Caller,
        id: SessionId,
        change: Change,
    ) -> Result<Booking, Error> {
        // Without a lock, for permission and parties. What decides is read again under the locks.
        let booking = self.load_for_party(&caller, id).await?;
        let parties = [booking.host_id, booking.guest_id]; // they never change
        for _ in 0..ATTEMPTS {
            match retry_on_contention(|| self.try_reschedule(&caller, id, &parties, &change)).await? {
                Attempt::Conflict => {}
                Attempt::Done { moved: true } => {
                    // After the commit. If it fails, a pass of room-lifecycle finds the new window.
                    self.rooms.retime(id).await;
                    return self.load(id).await;
                }
                Attempt::Unchanged | Attempt::Done { moved: false } => return self.load(id).await,
            }
        }
        Err(Error::Contended)
    }

    async fn try_reschedule(
        &self,
        caller: &Caller,
        id: SessionId,
        parties: &[String],
        change: &Change,
    ) -> Result<Attempt, Error> {
        let mut transaction = chassis::db::begin(&self.pool).await?;
        // Advisory locks of both parties: no other booking of theirs changes until the commit.
        store::lock_users(&mut *transaction, parties, caller).await?;
        // Read again under the locks: the slots of both parties do not change any more.
        let booking = store::find_booking(&mut *transaction, id).await?.ok_or(Error::NotFound)?;
        if let Some(guest) = as_guest(caller, booking.parties())
            && store::is_kicked(&mut *transaction, id, guest).await?
        {
            return Err(Error::Kicked);
        }
        let Some(new) = plan(&booking, change)? else {
            return Ok(Attempt::Unchanged);
        };
        if !store::reschedule_booking(&mut *transaction, &booking, &new).await? {
            // Why nothing was written: the slot, or a writer that takes no lock (cancel, end, the passes).
            if new.moved && store::is_slot_taken(&mut *transaction, &booking, &new).await? {
                return Err(Error::SlotTaken);
            }
            return Ok(Attempt::Conflict);
        }
        transaction.commit().await?;
        Ok(Attempt::Done { moved: new.moved })
    }
}

/// Returns what `change` makes of the booking, or None if nothing changes.
///
/// Texts may change while the booking is open. The time may change until a participant is in the meeting. After
/// `opens_at` only the end may change, to a later time.
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
    let is_start_new = scheduled_at != booking.scheduled_at;
    let moved = is_start_new || duration_minutes != booking.duration_minutes;
    if moved {
        let is_extension = !is_start_new && duration_minutes > booking.duration_minutes;
        if booking.status == SessionStatus::InProgress || booking.now >= booking.opens_at && !is_extension {
            return Err(Error::Started);
        }
    }
    if is_start_new && !may_start(scheduled_at, booking.now) {
        return Err(Error::StartOutOfRange { now: booking.now });
    }
    let title = change.title.as_ref().unwrap_or(&booking.title);
    let description = change.description.as_ref().unwrap_or(&booking.description);
    let time_zone = match &change.time_zone {
        Some(zone) => non_empty(zone.clone()),
        None => booking.time_zone.clone(),
    };
    let is_text_new = *title != booking.title || *description != booking.description;
    if !moved && !is_text_new && time_zone == booking.time_zone {
        return Ok(None);
    }
    // One notification of a change. A new zone alone changes nothing that was said.
    let notice = match (moved, is_text_new) {
        (true, _) => Some(NotificationKind::BookingRescheduled),
        (false, true) => Some(NotificationKind::BookingChanged),
        (false, false) => None,
    };
    Ok(Some(Rescheduled {
        scheduled_at,
        duration_minutes,
        title: title.clone(),
        description: description.clone(),
        time_zone,
        moved,
        notice,
    }))
}
