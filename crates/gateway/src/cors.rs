//! CORS: `CORS_ORIGINS` lists the web pages that may call, for all routes except nests. Any page may call nests.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer};
use url::Url;

use crate::{edge::REQUEST_ID, local};

/// Response headers that pages may read besides the default ones.
const EXPOSED: [HeaderName; 3] = [REQUEST_ID, header::RETRY_AFTER, header::LOCATION];
/// How long a browser may cache the answer to its preflight.
const PREFLIGHT: Duration = Duration::from_mins(10);

/// The setting `CORS_ORIGINS`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cors {
    None,
    Any,
    Origins(Vec<HeaderValue>),
    /// Pages that this machine serves, at any port: the default of `greenroom up`.
    Local,
}

impl Cors {
    pub(crate) fn parse(origins: &str) -> Result<Self, String> {
        if origins == "*" {
            return Ok(Self::Any);
        }
        let origin = |text: &str| {
            let text = text.trim();
            // Refuses a path or a slash at the end: browsers send none, and the value would never match.
            let is_origin = Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
            HeaderValue::from_str(text)
                .ok()
                .filter(|_| is_origin)
                .ok_or_else(|| format!("`{text}` is not an origin such as https://app.example.org"))
        };
        origins.split(',').map(origin).collect::<Result<_, _>>().map(Self::Origins)
    }

    /// Returns the layer that answers preflights and adds CORS headers. None: no page of another origin may call.
    #[must_use]
    pub fn layer(&self) -> Option<CorsLayer> {
        let origins = match self {
            Self::None => return None,
            Self::Any => AllowOrigin::from(Any),
            Self::Origins(origins) => AllowOrigin::list(origins.iter().cloned()),
            Self::Local => AllowOrigin::predicate(|origin, _| local::is_origin(origin)),
        };
        let layer = CorsLayer::new()
            .allow_origin(origins)
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers([
                // A page cannot send these headers unless the preflight allows them.
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::RANGE,
                HeaderName::from_static("idempotency-key"),
                HeaderName::from_static("last-event-id"),
                HeaderName::from_static("traceparent"),
                REQUEST_ID,
            ])
            .expose_headers(EXPOSED)
            .max_age(PREFLIGHT);
        Some(layer)
    }
}

/// Returns the layer of nests: any page, any method, any header. With [`Cors::Local`], only pages of this machine.
pub(crate) fn of_nests(setting: &Cors) -> CorsLayer {
    let origins = match setting {
        Cors::Local => AllowOrigin::predicate(|origin, _| local::is_origin(origin)),
        Cors::None | Cors::Any | Cors::Origins(_) => AllowOrigin::from(Any),
    };
    CorsLayer::new()
        .allow_origin(origins)
        // Mirrored, because these clients use methods and headers that this list cannot know.
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request()) // `*` would not cover Authorization
        .expose_headers(EXPOSED)
        .max_age(PREFLIGHT)
}
