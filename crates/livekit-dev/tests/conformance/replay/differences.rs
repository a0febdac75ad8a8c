//! The allowed differences between a recording and a replay, with their reasons. Everything else must be equal.

use serde_json::Value;

/// Messages of the server that are not compared.
const NOT_COMPARED: &[(&[&str], &str)] = &[
    (
        &["offer", "answer", "trickle", "media_sections_requirement"],
        "the number of negotiations is up to the client",
    ),
    (&["pong", "pong_resp"], "their number depends on how long a replay takes"),
    (
        &["speakers_changed", "connection_quality", "stream_state_update"],
        "depends on timers and on the network",
    ),
    (&["subscribed_quality_update"], "follows the layers that a browser's estimate lets it send"),
    (&["room_update"], "at the end of a period of 5 s that began before the replay"),
];

// Also not compared (`shape.rs`): the echo of a client's own `leave`, which a browser that closes first does not receive;
// and that a participant joined or became ACTIVE, which is announced every 3 s or with the first track.

/// Departures of others that are not compared. When a room is deleted, some participants still receive the departures of
/// others. The departure of a participant that never published is announced on a timer, so participants that leave soon
/// after do not receive it.
pub fn is_quiet_end(info: &Value) -> bool {
    let reason = &info["disconnect_reason"];
    reason == "ROOM_DELETED" || (reason == "CLIENT_INITIATED" && info["is_publisher"] != true)
}

/// Fields whose presence is not compared.
pub const IGNORED_FIELDS: &[(&str, &str)] = &[
    ("num_participants", "a count of the last refresh, up to 5 s old"),
    ("num_publishers", "a count of the last refresh, up to 5 s old"),
    ("numParticipants", "a count of the last refresh, up to 5 s old"),
    ("numPublishers", "a count of the last refresh, up to 5 s old"),
    ("ice_servers", "empty in livekit-dev: every browser would ask public STUN servers"),
];

/// Whether only the number of tracks is compared: without permission, a participant's tracks are removed one by one, in
/// the order of a map.
pub fn loses_tracks(info: &Value) -> bool {
    info["permission"]["can_publish"] != true
}

/// Webhooks that may arrive in any order among each other.
pub const UNORDERED: &[(&str, &str)] =
    &[("\"track_unpublished\"", "the real server keeps the tracks of a participant in a map")];

/// Not compared for bystanders: the recordings 10c and 19 omit it.
pub const SUBSCRIPTION_LANE: &str = "subscription permissions";

/// The lane in which a message is compared, in order. None when it is not compared.
///
/// The real server sends the lanes from different goroutines, so their order among each other changes from run to run.
pub fn lane_of(kind: &str) -> Option<&'static str> {
    if NOT_COMPARED.iter().any(|(kinds, _)| kinds.contains(&kind)) {
        return None;
    }
    Some(match kind {
        "refresh_token" => "tokens",
        "track_published" => "published tracks",
        "track_subscribed" => "subscribed tracks",
        "subscription_permission_update" => SUBSCRIPTION_LANE,
        _ => "main",
    })
}
