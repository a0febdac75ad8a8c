//! The metrics of room-lifecycle.

use chassis::telemetry::meters::Meter;

pub const METERS: &[Meter] = &[
    Meter::histogram(
        "greenroom_room_creation_seconds",
        "Time that LiveKit took to create a room, by result.",
    ),
    Meter::gauge("greenroom_rooms_missing", "Rooms that the last pass did not find on LiveKit."),
    Meter::counter(
        "greenroom_rooms_missing_total",
        "Rooms that were missing on LiveKit and were replaced by their next generation.",
        &[],
    ),
    Meter::counter(
        "greenroom_rooms_recreated_total",
        "Rooms that were created again, with a generation above 1.",
        &[],
    ),
    Meter::gauge("greenroom_rooms_orphaned", "Rooms on LiveKit that no record needs, by kind."),
    Meter::gauge(
        "greenroom_rooms_to_close",
        "Rooms that are over or were replaced and that LiveKit still had to delete after the last pass.",
    ),
    Meter::gauge(
        "greenroom_livekit_deletion_allowed",
        "Whether rooms may be deleted on LiveKit; 0 until `repair adopt`.",
    ),
    Meter::counter(
        "greenroom_ghost_probes_total",
        "Probes that asked LiveKit's nodes for a participant, by answer.",
        &[("answer", &["alive", "silent", "unknown"])],
    ),
    Meter::counter(
        "greenroom_ghosts_total",
        "Participants who count as left although LiveKit lists them as active.",
        &[],
    ),
    Meter::counter(
        "greenroom_ghost_rooms_replaced_total",
        "Rooms that contained only stale participants and were replaced by their next generation.",
        &[],
    ),
    Meter::histogram("greenroom_livekit_call_seconds", "Time of a call to LiveKit, by method and result."),
    Meter::gauge("greenroom_slow_work", "Checks and calls in progress that LiveKit answers slowly, by kind."),
    Meter::counter(
        "greenroom_slow_work_dropped_total",
        "Checks and calls that were dropped because LiveKit was slow, and will be retried.",
        &[("why", &["limit", "no_permit"])],
    ),
    Meter::counter(
        "greenroom_webhooks_total",
        "Webhooks of LiveKit, by result.",
        &[("result", &["stored", "repeated", "refused", "ignored"])],
    ),
    Meter::histogram("greenroom_webhook_lag_seconds", "Age of LiveKit's webhooks when they arrive."),
    Meter::counter(
        "greenroom_live_session_conflicts_total",
        "Attempts to go live while another session was open, by kind.",
        &[("kind", &["not_idle", "race"])],
    ),
    Meter::gauge(
        "greenroom_live_rooms_stuck",
        "Live rooms that contradict their sessions after the last pass.",
    ),
    Meter::counter(
        "greenroom_live_rooms_healed_total",
        "Live rooms that contradicted their sessions and were corrected.",
        &[("by", &["pass", "go_live", "verb"])],
    ),
    Meter::counter(
        "greenroom_live_sessions_ended_total",
        "Live sessions that ended or were cancelled, by reason.",
        &[("reason", &["host", "empty", "time", "missed", "reset"])],
    ),
    Meter::counter(
        "greenroom_live_sessions_auto_ended_total",
        "Live sessions that ended because they stayed empty.",
        &[],
    ),
    Meter::counter("greenroom_nests_created_total", "Nests created.", &[]),
    Meter::counter(
        "greenroom_nests_replayed_total",
        "Signed requests that arrived again, by how they were answered.",
        &[("result", &["answered", "used"])],
    ),
    Meter::counter(
        "greenroom_permissions_corrected_total",
        "Participants whose permissions on LiveKit were corrected.",
        &[],
    ),
    Meter::counter(
        "greenroom_nests_corrected_total",
        "Rooms of nests that were corrected on LiveKit, by what was wrong.",
        &[("what", &["metadata"])],
    ),
    Meter::counter("greenroom_nests_auto_ended_total", "Nests that ended because they stayed empty.", &[]),
    Meter::gauge("greenroom_recordings_open", "Rooms that are recorded or streamed, in the last pass."),
    Meter::counter(
        "greenroom_recordings_ended_total",
        "Recordings that ended, by status and by what detected the end.",
        &[
            ("status", &["complete", "failed", "aborted"]),
            ("by", &["livekit", "file", "watch", "start", "stop"]),
        ],
    ),
    Meter::counter(
        "greenroom_recordings_orphaned_total",
        "Recordings on LiveKit that had no record and were stopped.",
        &[],
    ),
];

pub const TASKS: &[&str] = &[
    "ban",
    "clean up",
    "close room",
    "create nest",
    "create room",
    "end nest",
    "end room",
    "ensure room",
    "give role",
    "go live",
    "kick",
    "live session",
    "mute",
    "my live room",
    "nest permissions",
    "open room",
    "participant call",
    "refresh room",
    "repair",
    "repair by diagnosis",
    "retime room",
    "save live room",
    "second look",
    "settle room",
    "slow room",
    "stream nest",
    "update live room",
];
