//! The texts of `routines/`, in the order in which they can be applied: each after what it uses.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// A function or a view, with the triggers and overloads that belong to it.
#[derive(Clone, Copy, Debug)]
pub struct Routine {
    /// Its file is `routines/<name>.sql`.
    pub name: &'static str,
    /// `create or replace …`: applied whenever it is a text that the database never had.
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
    "upsert_user", "set_preferences",
    "join_setting", "booking_window", "is_booking_open",
    "lock_users", "booking_limits", "is_slot_taken", "admit_booking",
    // notifications and their deliveries
    "booking_payload", "booking_changes", "notify_parties", "notifications_notify",
    "mail_address", "unverified_address", "mail_refusal", "wake_deliveries", "await_address",
    "app_users_wake_deliveries", "sessions_wake_deliveries",
    // live rooms
    "may_read_live_room", "live_rooms_link_host", "live_room_sessions_end_reason", "live_session_due",
    "live_seats", "seat_counts", "seat_role", "current_bans", "seat_changes", "refresh_live_room", "stale_live_rooms",
    // rooms on LiveKit
    "room_owners", "room_owner", "owner_participants", "kicked_participants", "database_identity", "mark_room",
    "sessions_mark_room", "live_room_sessions_mark_room", "nests_mark_room", "recordings_mark_nest",
    "livekit_rooms_write_name", "livekit_participants_notify",
    // signed requests
    "signed_answer", "accept_signed",
    // the listing
    "live_stream_projection", "unaligned_live_streams", "mark_streams", "mark_stream", "repair_live_rooms",
    // rights
    "service_grants", "grant_service_rights", "set_search_paths",
];

impl Routine {
    /// The SHA-256 of its text, in hexadecimal.
    #[must_use]
    pub fn checksum(&self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }

    /// Applies it, and records that it is in effect. The name and the checksum need no quoting.
    pub(crate) fn script(&self) -> String {
        let (name, checksum) = (self.name, self.checksum());
        format!(
            "{}
             insert into greenroom.applied_routines (name, checksum) values ('{name}', '\\x{checksum}');",
            self.sql
        )
    }
}

/// Before the routines, in their transaction. The lock: rights and settings of logins are rows of the catalogue, and two
/// that write them at once fail with `tuple concurrently updated`. deploy/postgres/logins.sql and `greenroom migrate`
/// take the same one. It comes first, so that no table is locked while we wait for it.
pub(crate) const PREPARE: &str = "select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0));
                                  set local search_path = greenroom;";

/// After the routines, also when none was applied: rights for roles that were created since, and the logins' search path.
pub(crate) const FINISH: &str =
    "select greenroom.grant_service_rights(); select greenroom.set_search_paths();";

/// All of them for an empty database, in the transaction of the migration before them.
pub(crate) fn script(routines: &[Routine]) -> String {
    let mut script = format!("{PREPARE}\n");
    for routine in routines {
        let _ = writeln!(script, "{}", routine.script()); // a String takes all that is written
    }
    script.push_str(FINISH);
    script
}
