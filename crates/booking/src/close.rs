//! Cancelling and ending: one conditional statement each; called again, the answer is the same.
//!
//! A meeting may be ended before it opens: the contract names no exception, and the host decides when it is over.

use chassis::db::retried;
use domain::{Role, SessionId, SessionStatus};
use proto::types::v1::Caller;

use crate::{
    error::Error,
    grpc::Bookings,
    request::{as_guest, is_privileged},
    store::{self, Booking},
};

impl Bookings {
    pub(crate) async fn cancel(
        self,
        caller: Caller,
        id: SessionId,
        reason: String,
    ) -> Result<Booking, Error> {
        let booking = self.found_for_party(&caller, id).await?;
        let guest = as_guest(&caller, &booking);
        if retried(|| store::cancel_booking(&self.pool, id, guest, &reason)).await? {
            self.rooms.end(id).await;
        } else if let Some(guest) = guest
            && store::is_kicked(&self.pool, id, guest).await?
        {
            return Err(Error::Kicked);
        }
        let booking = self.found(id).await?;
        match booking.status {
            SessionStatus::Cancelled => Ok(booking),
            // Still open is overdue: the pass will say so.
            SessionStatus::Completed
            | SessionStatus::NoShow
            | SessionStatus::Scheduled
            | SessionStatus::InProgress => Err(Error::Ended),
        }
    }

    pub(crate) async fn end(self, caller: Caller, id: SessionId) -> Result<Booking, Error> {
        let booking = self.found_for_party(&caller, id).await?;
        if !is_privileged(&caller) && booking.role_of(&caller.user_id) != Some(Role::Host) {
            return Err(Error::NotHost);
        }
        if retried(|| store::end_booking(&self.pool, id)).await? {
            self.rooms.end(id).await;
        }
        let booking = self.found(id).await?;
        match booking.status {
            SessionStatus::Completed => Ok(booking),
            SessionStatus::Cancelled => Err(Error::Cancelled),
            SessionStatus::NoShow | SessionStatus::Scheduled | SessionStatus::InProgress => Err(Error::Ended),
        }
    }
}
