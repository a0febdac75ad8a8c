//! The metrics of the gateway.

use chassis::telemetry::meters::Meter;

/// Why a token, a signature, a ticket or a link is refused.
const REFUSED: &[&str] = &[
    "audience",
    "client",
    "cookies_differ",
    "expired",
    "issuer",
    "link",
    "malformed",
    "missing",
    "nip98_base64",
    "nip98_json",
    "nip98_kind",
    "nip98_method",
    "nip98_missing",
    "nip98_no_payload",
    "nip98_no_urls",
    "nip98_payload",
    "nip98_scheme",
    "nip98_signature",
    "nip98_size",
    "nip98_tags",
    "nip98_time",
    "nip98_url",
    "not_yet_valid",
    "origin",
    "signature",
    "subject",
    "ticket",
    "too_large",
    "unknown_key",
];

pub const METERS: &[Meter] = &[
    Meter::open_counter("greenroom_http_requests_total", "HTTP requests, by route, method and status."),
    Meter::histogram("greenroom_http_request_duration_seconds", "Time until an HTTP request was answered."),
    Meter::counter(
        "greenroom_connections_refused_total",
        "Connections closed at once because their address had too many.",
        &[],
    ),
    Meter::counter(
        "greenroom_sign_ins_refused_total",
        "Tokens, signatures, tickets and links that were refused, by reason.",
        &[("reason", REFUSED)],
    ),
    Meter::gauge("greenroom_stream_listeners", "Open event streams of the listing."),
    Meter::counter(
        "greenroom_stream_listeners_dropped_total",
        "Event streams that were dropped because they were too slow.",
        &[],
    ),
    Meter::counter(
        "greenroom_jwks_fetches_total",
        "Fetches of the identity provider's keys, by result.",
        &[("result", &["ok", "failed"])],
    ),
];

pub const TASKS: &[&str] = &["identity keys", "stream feed"];
