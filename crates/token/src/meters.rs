//! The metrics of token.

use chassis::telemetry::meters::Meter;
use domain::{ClosedSet, OwnerKind};

/// Outcomes of a request for a token. Maintained by hand: an outcome that is not listed has no counter at 0.
const RESULTS: &[&str] = &[
    "issued",
    "banned",
    "database_busy",
    "database_unavailable",
    "internal",
    "invalid_session_id",
    "kicked",
    "livekit_unavailable",
    "meeting_ended",
    "not_participant",
    "rejected",
    "room_not_active",
    "room_not_found",
    "service_unavailable",
    "session_cancelled",
    "session_not_found",
    "too_early",
    "waiting_in_lobby",
];

pub const METERS: &[Meter] = &[
    Meter::counter(
        "greenroom_tokens_total",
        "Requests for an access token, by kind of room and result.",
        &[("owner", OwnerKind::TEXTS), ("result", RESULTS)],
    ),
    Meter::counter(
        "greenroom_joins_total",
        "Tokens by whether their holder joined the room within 30 s.",
        &[("result", &["seen", "not_seen"])],
    ),
];

pub const TASKS: &[&str] = &["look ahead", "remember person"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_values_are_documented() {
        let docs = include_str!("../../../docs/metrics.md");
        let row = docs.lines().find(|line| line.starts_with("| `greenroom_tokens_total`")).unwrap();
        let values = OwnerKind::TEXTS.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(" · ");
        assert!(row.contains(&format!("`owner`: {values};")), "{row}");
    }
}
