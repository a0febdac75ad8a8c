//! The responses of refusals. Responses that many operations share are written once, in `components.responses`.

use std::collections::BTreeMap;

use chassis::status::Reason::{
    self, DatabaseBusy, DatabaseUnavailable, Internal, OriginNotAllowed, RateLimited, ServiceUnavailable,
    TokenTooLarge, TooLarge, Unauthenticated, UnsupportedEncoding,
};
use serde_json::{Map, Value, json};

use crate::family::Family;

/// The extension in which a handler lists the codes that it refuses with, besides those of all routes. The finished
/// document does not have it.
pub(super) const REFUSES: &str = "x-refuses";

/// The codes that every route for signed-in users can refuse with.
const SIGNED_IN: &[Reason] = &[
    Unauthenticated,
    TokenTooLarge,
    RateLimited,
    Internal,
    DatabaseUnavailable,
    DatabaseBusy,
    ServiceUnavailable,
];

/// Responses that several operations share, and their codes.
const SHARED: [(&str, &[Reason]); 8] = [
    ("Unauthenticated", &[Unauthenticated]),
    ("OriginNotAllowed", &[OriginNotAllowed]),
    ("TooLarge", &[TooLarge]),
    ("UnsupportedEncoding", &[UnsupportedEncoding]),
    ("RateLimited", &[RateLimited]),
    ("TokenTooLarge", &[TokenTooLarge]),
    ("Internal", &[Internal]),
    ("Unavailable", &[DatabaseUnavailable, DatabaseBusy, ServiceUnavailable]),
];

/// Returns the shared responses, for each shape of a refusal.
pub(super) fn shared() -> Map<String, Value> {
    let mut responses = Map::new();
    for (name, reasons) in SHARED {
        for family in [Family::Api, Family::Live, Family::Nests] {
            // Nests read no cookie, so they have no such response.
            if reasons == [OriginNotAllowed] && family == Family::Nests {
                continue;
            }
            responses.insert(shared_name(name, family), response(reasons, family));
        }
    }
    responses
}

fn shared_name(name: &str, family: Family) -> String {
    format!("{}{name}", prefix(family))
}

/// Returns the prefix of the names of a family's schemas and responses.
fn prefix(family: Family) -> &'static str {
    match family {
        Family::Api => "",
        Family::Live => "Live",
        Family::Nests => "Nest",
    }
}

/// Returns the headers that responses share.
pub(super) fn headers() -> Value {
    json!({
        "RequestId": {
            "description": "Finds the request in the logs. The client's own `x-request-id`, or a new one.",
            "schema": {"type": "string"}
        },
        "RetryAfter": {
            "description": "Seconds to wait before the next request.",
            "schema": {"type": "integer", "minimum": 1}
        },
        "WwwAuthenticate": {
            "description": "The scheme to authenticate with.",
            "schema": {"type": "string", "enum": ["Bearer", "Nostr"]}
        }
    })
}

/// Writes the responses of the codes that an operation refuses with. An operation without [`REFUSES`] has none.
pub(super) fn write(operation: &mut Value, method: &str, family: Family) {
    let Some(own) = operation.as_object_mut().and_then(|fields| fields.remove(REFUSES)) else { return };
    let mut own: Vec<Reason> = codes(&own).collect();
    // Written explicitly, so that the check below also covers the default of the document.
    if operation.get("security").is_none() {
        operation["security"] = json!([{"bearer": []}]);
    }
    own.extend(write_cookie(operation, method));
    let ways = operation["security"].as_array();
    let is_anonymous = ways.is_some_and(|ways| ways.contains(&json!({})));
    let of_tokens = |reason: &Reason| matches!(reason, Unauthenticated | TokenTooLarge);
    let usual = SIGNED_IN.iter().filter(|reason| !(is_anonymous && of_tokens(reason)));
    // A route that reads a body refuses a compressed one.
    let encoding: &[Reason] = if own.contains(&TooLarge) { &[UnsupportedEncoding] } else { &[] };
    let mut by_status: BTreeMap<u16, Vec<Reason>> = BTreeMap::new();
    for reason in usual.chain(&own).chain(encoding) {
        by_status.entry(reason.http()).or_default().push(*reason);
    }
    for (status, reasons) in by_status {
        // Only an exact match: a status with further codes needs a response of its own.
        let shared = SHARED.iter().find(|(_, codes)| *codes == reasons);
        operation["responses"][status.to_string()] = match shared {
            Some((name, _)) => {
                json!({"$ref": format!("#/components/responses/{}", shared_name(name, family))})
            }
            None => response(&reasons, family),
        };
    }
}

/// Lets the cookie sign in wherever the header does: it carries the same token. Returns the code that an operation then
/// refuses with, because a page of another origin must not change anything with the cookie.
fn write_cookie(operation: &mut Value, method: &str) -> Option<Reason> {
    let ways = operation["security"].as_array_mut()?;
    if !ways.contains(&json!({"bearer": []})) {
        return None;
    }
    ways.push(json!({"cookie": []}));
    (!matches!(method, "get" | "head")).then_some(OriginNotAllowed)
}

fn codes(list: &Value) -> impl Iterator<Item = Reason> {
    list.as_array().into_iter().flatten().filter_map(|code| code.as_str()?.parse().ok())
}

fn response(reasons: &[Reason], family: Family) -> Value {
    let mut headers = json!({"x-request-id": {"$ref": "#/components/headers/RequestId"}});
    match reasons.first().map(|reason| reason.http()) {
        Some(401) => headers["WWW-Authenticate"] = json!({"$ref": "#/components/headers/WwwAuthenticate"}),
        Some(429 | 503) => headers["Retry-After"] = json!({"$ref": "#/components/headers/RetryAfter"}),
        _ => {}
    }
    let codes: Vec<String> = reasons.iter().map(|reason| format!("`{}`", reason.code())).collect();
    json!({
        "description": codes.join(" · "),
        "headers": headers,
        "content": {"application/json": {"schema": {"$ref": format!("#/components/schemas/{}Problem", prefix(family))}}}
    })
}
