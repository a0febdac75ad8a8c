//! The metrics of booking.

use chassis::telemetry::meters::Meter;

pub const METERS: &[Meter] = &[
    Meter::counter("greenroom_bookings_created_total", "Bookings created.", &[]),
    Meter::counter(
        "greenroom_bookings_moved_total",
        "Changes of status by the clock or by attendance, by the new status.",
        &[("status", &["in_progress", "completed", "no_show"])],
    ),
    Meter::open_counter(
        "greenroom_booking_room_calls_total",
        "Calls to room-lifecycle for a booking, by method and result.",
    ),
    Meter::counter(
        "greenroom_deliveries_total",
        "Attempts to deliver a notification, by channel and result.",
        &[
            ("channel", &["email", "webhook"]),
            ("result", &["delivered", "later", "dead", "dropped", "untried", "waiting"]),
        ],
    ),
    Meter::gauge("greenroom_deliveries_waiting", "Deliveries that wait for an address, by channel."),
    Meter::gauge("greenroom_deliveries_pending", "Deliveries that are not sent yet, by channel."),
    Meter::gauge(
        "greenroom_deliveries_oldest_pending_seconds",
        "Age of the oldest delivery that is not sent yet, by channel.",
    ),
    Meter::gauge("greenroom_deliveries_dead", "Deliveries that were given up, by channel."),
];

pub const TASKS: &[&str] = &["create_booking", "reschedule_booking", "cancel_booking", "end_booking"];
