//! CORS: `CORS_ORIGINS` lists the web pages that may call, for all routes except nests. Any page may call nests.

use std::time::Duration;

use http::{HeaderName, HeaderValue, Method, header};
use tower_http::cors::{AllowCredentials, AllowHeaders, AllowMethods, AllowOrigin, Any, CorsLayer};
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
        origins.split(',').map(|text| origin(text.trim())).collect::<Result<_, _>>().map(Self::Origins)
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
            // Mirrored: libraries for tracing and caching add headers that no list can know.
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(EXPOSED)
            .max_age(PREFLIGHT);
        Some(layer)
    }

    /// Returns the same layer for a gateway that reads the cookie `AUTH_COOKIE`: listed pages may send it.
    pub(crate) fn layer_with_cookie(&self) -> Option<CorsLayer> {
        let layer = self.layer()?;
        Some(match self {
            Self::Origins(origins) => {
                let origins = origins.clone();
                layer
                    .allow_credentials(AllowCredentials::predicate(move |origin, _| origins.contains(origin)))
            }
            // Only origins that the operator has listed may use the cookies of other pages.
            Self::None | Self::Any | Self::Local => layer,
        })
    }
}

/// Parses one origin of the list.
fn origin(text: &str) -> Result<HeaderValue, String> {
    if text.contains('*') {
        return Err(format!("`{text}`: wildcards are not supported; list each origin"));
    }
    // Refuses a path or a slash at the end: browsers send none, and the value would never match.
    let is_web = || Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == text);
    HeaderValue::from_str(text)
        .ok()
        .filter(|_| is_web() || is_of_web_view(text))
        .ok_or_else(|| format!("`{text}` is not an origin such as https://app.example.org"))
}

/// Whether a text is an origin with a custom scheme, such as `capacitor://localhost`. Web views of apps send it as it
/// is written in the app. The URL standard knows no origin of such a scheme.
fn is_of_web_view(text: &str) -> bool {
    let Some((scheme, authority)) = text.split_once("://") else { return false };
    let (host, port) = authority.split_once(':').unwrap_or((authority, "0"));
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_lowercase())
        && scheme.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'+' | b'-' | b'.'));
    let is_host = !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'));
    // A web origin that the URL standard writes in another way would never match either.
    let is_web = matches!(scheme, "http" | "https" | "ws" | "wss" | "ftp" | "file");
    is_scheme && !is_web && is_host && port.parse::<u16>().is_ok() && !port.starts_with('+')
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_origins_are_refused() {
        for pattern in
            ["https://*.example.org", "*.example.org", "https://app.example.org, *", "https://*", "**"]
        {
            let problem = Cors::parse(pattern).unwrap_err();
            assert!(
                problem.contains("wildcards are not supported; list each origin"),
                "{pattern}: {problem}"
            );
        }
        assert_eq!(Cors::parse("*"), Ok(Cors::Any));
    }

    #[test]
    fn origins_of_web_views_are_kept_as_text() {
        for origin in [
            "capacitor://localhost",
            "ionic://localhost",
            "tauri://localhost",
            "app://Main_Window",
            "app.example-1+x://localhost:8100",
            "https://localhost",
            "http://[::1]:3000",
        ] {
            let kept = Cors::Origins(vec![HeaderValue::from_static(origin)]);
            assert_eq!(Cors::parse(origin), Ok(kept), "{origin}");
        }
    }

    #[test]
    fn texts_that_browsers_never_send_are_refused() {
        for text in [
            "",
            "null",
            "app.example.org",
            "https://app.example.org/",
            "https://app.example.org/path",
            "https://app.example.org:443",
            "https://App.example.org",
            "capacitor://",
            "capacitor://localhost/",
            "capacitor://localhost/index.html",
            "capacitor://user@localhost",
            "capacitor://localhost:",
            "capacitor://localhost:+80",
            "capacitor://localhost:99999",
            "Capacitor://localhost",
            "capacitor:localhost",
            "file://host",
            "://localhost",
            "1app://localhost",
        ] {
            assert!(Cors::parse(text).is_err(), "{text}");
        }
    }
}
