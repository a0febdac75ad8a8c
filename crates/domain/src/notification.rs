//! Notifications: their kinds, and the states of their deliveries.

use crate::text_enum::text_enum;

text_enum! {
    /// What a notification is about. Any release may add kinds: clients ignore unknown ones.
    pub enum NotificationKind as proto::types::v1::NotificationKind {
        BookingCreated = "booking_created",
        BookingRescheduled = "booking_rescheduled",
        BookingCancelled = "booking_cancelled",
        Reminder = "reminder",
        /// For admins: the room of a booking could not be created at once.
        RoomFailed = "room_failed",
        RecordingReady = "recording_ready",
        RecordingFailed = "recording_failed",
        /// For the host: an e-mail did not reach the guest.
        MailUndeliverable = "mail_undeliverable",
        /// The title or the description changed, not the time.
        BookingChanged = "booking_changed",
    }
}

text_enum! {
    /// The channel of a delivery.
    pub enum DeliveryChannel as proto::types::v1::DeliveryChannel {
        Email = "email",
        Webhook = "webhook",
    }
}

text_enum! {
    /// The state of the deliveries that an admin lists.
    #[derive(Default)]
    pub enum DeliveryState as proto::types::v1::DeliveryState {
        /// Given up.
        #[default]
        Dead = "dead",
        /// To be sent.
        Pending = "pending",
        /// The user's address is not known.
        Waiting = "waiting",
    }
}
