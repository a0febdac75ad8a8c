//! Bookings. They end with their window, and their roles never change.

use chassis::status::{Reason, Refusal};
use domain::EndedReason;

pub(super) fn closed(reason: Option<EndedReason>) -> Refusal {
    match reason {
        Some(EndedReason::Cancelled) => Refusal::new(Reason::SessionCancelled, "The session was cancelled."),
        _ => Refusal::new(Reason::MeetingEnded, "The meeting is over."),
    }
}
