//! Cancels and ends bookings, with one conditional statement each. Both are idempotent.
//!
//! A host may end a meeting before it opens: the contract has no exception for it.

use chassis::db::retry_on_contention;
use domain::{SessionId, SessionStatus};
use proto::types::v1::Caller;

use crate::{
    bookings::Bookings,
    error::Error,
    policy::{as_guest, may_end},
    store::{self, Booking},
};

impl Bookings {
    pub(crate) async fn cancel(
        self,
        caller: Caller,
        id: SessionId,
        reason: String,
    ) -> Result<Booking, Error> {
        let booking = self.load_for_party(&caller, id).await?;
        let guest = as_guest(&caller, booking.parties());
        if retry_on_contention(|| store::cancel_booking(&self.pool, id, guest, &reason)).await? {
            self.rooms.end(id).await;
        } else if let Some(guest) = guest
            && store::is_kicked(&self.pool, id, guest).await?
        {
            return Err(Error::Kicked);
        }
        let booking = self.load(id).await?;
        match booking.status {
            SessionStatus::Cancelled => Ok(booking),
            // A booking that is still open here is overdue; the pass will close it.
            SessionStatus::Completed
            | SessionStatus::NoShow
            | SessionStatus::Scheduled
            | SessionStatus::InProgress => Err(Error::Ended),
        }
    }

    pub(crate) async fn end(self, caller: Caller, id: SessionId) -> Result<Booking, Error> {
        let booking = self.load_for_party(&caller, id).await?;
        if !may_end(&caller, booking.parties()) {
            return Err(Error::NotHost);
        }
        if retry_on_contention(|| store::end_booking(&self.pool, id)).await? {
            self.rooms.end(id).await;
        }
        let booking = self.load(id).await?;
        match booking.status {
            SessionStatus::Completed => Ok(booking),
            SessionStatus::Cancelled => Err(Error::Cancelled),
            SessionStatus::NoShow | SessionStatus::Scheduled | SessionStatus::InProgress => Err(Error::Ended),
        }
    }
}
