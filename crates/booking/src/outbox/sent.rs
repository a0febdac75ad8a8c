//! What became of one attempt to send.

use std::time::Duration;

use time::OffsetDateTime;

/// The result of one attempt to send.
#[derive(Debug, PartialEq)]
pub enum Sent {
    Delivered,
    /// It is out of date, or has no recipient.
    Dropped(String),
    /// The user's address is not known; the delivery waits for it until then.
    Addressless(OffsetDateTime, String),
    /// No attempt can succeed; the receiver was not called.
    Hopeless(String),
    /// The receiver refused this recipient permanently.
    Rejected(String),
    /// The receiver refused this delivery; a later attempt may succeed.
    Refused(String),
    /// The receiver asks to be called again after this time, with this or, if `whole`, with any delivery.
    Deferred {
        after: Duration,
        whole: bool,
        why: String,
    },
    /// The receiver as a whole does not work.
    Unreachable(String),
    /// The receiver did not answer; this recipient may be the cause.
    Unanswered(String),
}
