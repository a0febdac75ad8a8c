//! All SQL of the booking service. Each read of a booking selects the same columns, including `now`: decisions about a
//! row use the time at which it was read.

mod claim;
mod conclude;
mod deliveries;
mod notifications;
mod pass;
mod read;
mod reminders;
mod users;
mod write;

pub use claim::{ClaimTerms, Claimed, DeliveryBooking, claim_deliveries, claim_probe};
pub use conclude::{Outcome, conclude_delivery};
pub use deliveries::{Delivery, delete_deliveries, expand_notifications, find_backlog, list_deliveries};
pub use notifications::{Notification, insert_room_failed, list_notifications, mark_notification_read};
pub use pass::{BATCH, close_overdue, start_attended};
pub use read::{Booking, Filter, find_booking, find_booking_by_key, find_now, is_kicked, list_bookings};
pub use reminders::insert_reminders;
pub use users::{find_user, set_preferences};
pub use write::{
    NewBooking, Rescheduled, cancel_booking, end_booking, find_obstacles, insert_booking, is_slot_taken,
    lock_users, reschedule_booking,
};
