//! The texts of `routines/`, in the order in which they can be applied: each after what it uses.

/// A function or a view, with the triggers and overloads that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// Its file is `routines/<name>.sql`.
    pub name: &'static str,
    /// `create or replace …`: applied again whenever it changed.
    pub sql: &'static str,
}

macro_rules! routines {
    ($($name:literal),+ $(,)?) => {
        &[$(Routine { name: $name, sql: include_str!(concat!("../routines/", $name, ".sql")) }),+]
    };
}

#[rustfmt::skip]
pub const ROUTINES: &[Routine] = routines![
    // users and bookings
    "upsert_user",
    "join_setting", "booking_window", "is_booking_open",
    "lock_users", "booking_limits", "is_slot_taken", "admit_booking",
    // notifications and their deliveries
    "notifications_notify", "mail_address", "unverified_address", "wake_deliveries", "await_address",
    "app_users_wake_deliveries", "sessions_wake_deliveries",
    // live rooms
    "may_read_live_room", "live_rooms_link_host", "live_room_sessions_end_reason", "live_session_due",
    "live_seats", "seat_counts", "seat_role", "current_bans", "refresh_live_room", "stale_live_rooms",
    // rooms on LiveKit
    "room_owners", "room_owner", "kicked_participants", "database_identity", "mark_room", "sessions_mark_room",
    "live_room_sessions_mark_room", "nests_mark_room", "recordings_mark_nest", "livekit_rooms_write_name",
    "livekit_participants_notify",
    // the listing
    "live_stream_projection", "unaligned_live_streams", "mark_streams", "mark_stream", "repair_live_rooms",
    // rights
    "service_grants", "grant_service_rights", "set_search_paths",
];
