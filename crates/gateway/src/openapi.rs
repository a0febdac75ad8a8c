//! The OpenAPI 3.1 document: paths, shapes and refusals from the handlers, finished by [`mod@finish`].
//!
//! A handler documents its answers and, in the extension [`refusals::REFUSES`], the codes that it refuses with. The
//! responses of those codes are the same everywhere; [`refusals`] writes them.

mod finish;
mod problem;
mod refusals;
mod webhooks;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        self,
        security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme},
    },
};

pub(crate) use self::finish::finish;
use self::{
    problem::{ErrorCode, LiveProblem, NestProblem, Problem, WrongField},
    webhooks::WebhookEvent,
};

/// The description of the API, in Markdown.
const DESCRIPTION: &str = include_str!("openapi/description.md");

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Greenroom",
        description = DESCRIPTION,
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
        contact(name = "The operator of this gateway")
    ),
    tags(
        (name = "Bookings", description = "Scheduled sessions between a host and a guest."),
        (name = "Meetings", description = "The LiveKit room of a booking: its tokens, its participants, its end."),
        (name = "Live rooms", description = "Permanent rooms of hosts: sessions, seats, lobby and moderation."),
        (name = "Listing", description = "The list of live rooms, and its changes as server-sent events."),
        (name = "Recordings", description = "Recordings of bookings and of live rooms."),
        (name = "Nests", description = "Open audio rooms of Nostr clients. Requests are signed (NIP-98)."),
        (name = "People", description = "The caller, and the language and time zone of mails to them."),
        (name = "Notifications", description = "What happened to the caller's bookings and recordings."),
        (name = "Diagnosis", description = "Why a caller cannot join a room, and a repair of it."),
        (name = "Operation", description = "For operators: state, health, and the webhook of LiveKit."),
    ),
    components(schemas(Problem, LiveProblem, NestProblem, WrongField, ErrorCode, WebhookEvent)),
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
        let query = |name, description| ApiKey::Query(ApiKeyValue::with_description(name, description));
        let header = |name, description| ApiKey::Header(ApiKeyValue::with_description(name, description));
        for (scheme, key) in [
            ("calendarLink", query("signature", "A signed link: `calendarUrl` of a booking.")),
            ("ticket", query("ticket", "A ticket of `POST /api/v1/live/streams/ticket`.")),
            ("recordingLink", query("ticket", "The ticket of a `downloadUrl`.")),
            ("livekit", header("Authorization", "LiveKit's own signature, a JWT.")),
            ("nostr", header("Authorization", "`Nostr <base64 of the event>` (NIP-98).")),
        ] {
            components.add_security_scheme(scheme, SecurityScheme::ApiKey(key));
        }
    }
}
