//! The states of a booked session.

use crate::text_enum::text_enum;

text_enum! {
    /// The status of a booking. Open: `scheduled` and `in_progress`; the others are final.
    #[cfg_attr(feature = "openapi", schema(as = BookingStatus))]
    pub enum SessionStatus as proto::types::v1::SessionStatus {
        Scheduled = "scheduled",
        InProgress = "in_progress",
        Completed = "completed",
        Cancelled = "cancelled",
        NoShow = "no_show",
    }
}

impl SessionStatus {
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::InProgress)
    }
}
