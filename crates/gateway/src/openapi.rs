//! The OpenAPI 3.1 document: paths, shapes and refusals from the handlers.
//!
//! A handler documents what it answers, and the codes that it refuses with, in the extension [`REFUSES`] beside it. The
//! responses of those codes are written here, because the status and body of a code are the same everywhere.

use std::collections::BTreeMap;

use chassis::status::Reason::{
    self, DatabaseBusy, DatabaseUnavailable, Internal, RateLimited, ServiceUnavailable, TokenTooLarge,
    TooLarge, Unauthenticated, UnsupportedEncoding,
};
use serde_json::Value;
use utoipa::{
    Modify, OpenApi, ToSchema,
    openapi::{
        self, ContentBuilder, Ref, RefOr, ResponseBuilder, SecurityRequirement, Server,
        path::Operation,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::family::Family;

/// The extension in which a handler lists the codes that it refuses with, besides [`SIGNED_IN`]. The document that clients
/// read does not have it.
const REFUSES: &str = "x-refuses";

/// A field of the request that is wrong, and what it must be.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a part of a body that `error` writes")]
struct WrongField {
    /// The name as the request has it.
    #[schema(example = "guest.name")]
    field: String,
    #[schema(example = "must be a text")]
    message: String,
}

/// Every refusal.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that `error` writes")]
struct Problem {
    /// For people, short.
    #[schema(example = "Session Not Found")]
    error: String,
    /// What to do about it.
    message: String,
    /// For programs; it does not change.
    #[schema(example = "session_not_found")]
    code: String,
    /// Finds the request in our logs; the same as the header `x-request-id`.
    request_id: String,
    /// 400: the first field that is wrong.
    field: Option<String>,
    /// 400: all fields that are wrong.
    errors: Option<Vec<WrongField>>,
    /// `too_early`: when the meeting can be joined.
    #[schema(format = DateTime)]
    opens_at: Option<String>,
    /// 429 and 503: seconds; the same as the header `Retry-After`.
    retry_after: Option<u64>,
}

/// Every refusal of `/api/v1/live`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes a body that `error` writes")]
struct LiveProblem {
    /// always false
    ok: bool,
    /// The code in capitals.
    #[schema(example = "ROOM_NOT_IDLE")]
    error: String,
    /// What to do about it.
    message: String,
    /// For programs; it does not change.
    #[schema(example = "room_not_idle")]
    code: String,
    /// Finds the request in our logs; the same as the header `x-request-id`.
    request_id: String,
    /// 400: the first field that is wrong.
    field: Option<String>,
    /// 400: all fields that are wrong.
    errors: Option<Vec<WrongField>>,
    /// `room_not_idle`: the session that is open.
    session_id: Option<String>,
    /// `room_not_idle`: when it starts, or started.
    #[schema(format = DateTime)]
    starts_at: Option<String>,
    /// 429 and 503: seconds; the same as the header `Retry-After`.
    retry_after: Option<u64>,
}

#[derive(OpenApi)]
#[openapi(
    info(title = "Greenroom", description = "Scheduled video sessions and live rooms on LiveKit. Every answer carries \
        `x-request-id`; every refusal has the same body and a `code` that does not change.\n\n\
        Unknown query parameters are ignored, and blank ones count as absent. Unknown fields of a JSON body are 400, but \
        for `/api/v1/live` and `/api/v1/nests`, which ignore them. A 400 names every wrong field in `errors`.\n\n\
        Texts for people are cleaned before they are measured and stored: control characters, invisible characters and \
        those that change the direction of what follows are removed. Ids are never changed: one that begins or ends with \
        white space, or has a control or invisible character, is 400. URLs of pictures are https, without a user name, \
        and their host is neither this machine nor a private network."),
    components(schemas(Problem, LiveProblem, WrongField)),
    modifiers(&Security),
    security(("bearer" = []))
)]
pub(crate) struct Document;

struct Security;

impl Modify for Security {
    fn modify(&self, document: &mut openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.bearer_format = Some("JWT".to_owned());
        bearer.description = Some("A token of the identity provider.".to_owned());
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        let signature = ApiKeyValue::with_description("Authorization", "LiveKit's own signature, a JWT.");
        let ticket =
            ApiKeyValue::with_description("ticket", "A ticket of `POST /api/v1/live/streams/ticket`.");
        let link = ApiKeyValue::with_description("signature", "A signed link: `calendarUrl` of a booking.");
        components.add_security_scheme("calendarLink", SecurityScheme::ApiKey(ApiKey::Query(link)));
        components.add_security_scheme("ticket", SecurityScheme::ApiKey(ApiKey::Query(ticket)));
        let link = ApiKeyValue::with_description("ticket", "What a `downloadUrl` carries.");
        components.add_security_scheme("recordingLink", SecurityScheme::ApiKey(ApiKey::Query(link)));
        components.add_security_scheme("livekit", SecurityScheme::ApiKey(ApiKey::Header(signature)));
        let nostr = ApiKeyValue::with_description("Authorization", "`Nostr <base64 of the event>` (NIP-98).");
        components.add_security_scheme("nostr", SecurityScheme::ApiKey(ApiKey::Header(nostr)));
    }
}

/// What every route for signed-in people can refuse with.
const SIGNED_IN: &[Reason] = &[
    Unauthenticated,
    TokenTooLarge,
    RateLimited,
    Internal,
    DatabaseUnavailable,
    DatabaseBusy,
    ServiceUnavailable,
];

/// The finished document: `base` is where clients reach this gateway.
pub(crate) fn finish(mut document: openapi::OpenApi, base: Option<&str>) -> openapi::OpenApi {
    document.servers = Some(vec![Server::new(base.unwrap_or("/"))]);
    for (path, item) in &mut document.paths.paths {
        let is_live = Family::of(path) == Family::Live;
        let operations = [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
        for operation in operations.into_iter().filter_map(Option::as_mut) {
            let is_nests = operation.tags.iter().flatten().any(|tag| tag == "Nests");
            refusals(operation, if is_live && !is_nests { "LiveProblem" } else { "Problem" });
        }
    }
    document
}

fn refusals(operation: &mut Operation, problem: &str) {
    let Some(own) = operation.extensions.as_mut().and_then(|extensions| extensions.remove(REFUSES)) else {
        return;
    };
    let own: Vec<Reason> = codes(&own).collect();
    operation.security.get_or_insert_with(|| vec![SecurityRequirement::new("bearer", Vec::<String>::new())]);
    let mut by_status: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    let anonymous =
        operation.security.as_ref().is_some_and(|all| all.contains(&SecurityRequirement::default()));
    let of_tokens = |reason: &Reason| matches!(reason, Unauthenticated | TokenTooLarge);
    let usual = SIGNED_IN.iter().filter(|reason| !(anonymous && of_tokens(reason)));
    // A route that reads a body refuses a compressed one.
    let encoding: &[Reason] = if own.contains(&TooLarge) { &[UnsupportedEncoding] } else { &[] };
    for reason in usual.chain(&own).chain(encoding) {
        by_status.entry(reason.http()).or_default().push(reason.code());
    }
    for (status, codes) in by_status {
        let problem = ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(problem)))).build();
        let codes: Vec<String> = codes.iter().map(|code| format!("`{code}`")).collect();
        let response = ResponseBuilder::new()
            .description(codes.join(" · "))
            .content("application/json", problem)
            .build();
        operation.responses.responses.insert(status.to_string(), RefOr::T(response));
    }
}

fn codes(list: &Value) -> impl Iterator<Item = Reason> {
    list.as_array().into_iter().flatten().filter_map(|code| code.as_str()?.parse().ok())
}
