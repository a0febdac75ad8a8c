//! The metrics of sync.

use chassis::telemetry::meters::Meter;

pub const METERS: &[Meter] = &[
    Meter::gauge("greenroom_listing_dirty", "Marks of rooms whose row is not written yet."),
    Meter::gauge("greenroom_listing_set_aside", "Rooms whose row could not be written and is retried later."),
    Meter::gauge(
        "greenroom_listing_drift",
        "Rows that differed without a mark, in the last complete comparison.",
    ),
    Meter::gauge(
        "greenroom_listing_strays",
        "Rows that say live and belong to no live room, in the last complete comparison.",
    ),
    Meter::histogram(
        "greenroom_listing_lag_seconds",
        "Time from a change of a live room to its row in the listing.",
    ),
    Meter::counter("greenroom_listing_rows_written_total", "Rows of the listing that were written.", &[]),
    Meter::counter(
        "greenroom_listing_poisoned_total",
        "Rows that could not be written and were set aside.",
        &[],
    ),
    Meter::counter(
        "greenroom_listing_readers_dropped_total",
        "Followers of the change feed that were dropped because they were too slow.",
        &[],
    ),
];

pub const TASKS: &[&str] = &[];
