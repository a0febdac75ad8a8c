//! The cookie `AUTH_COOKIE`, which carries the bearer token for pages of an existing application.
//!
//! A browser sends a cookie also with requests that a page of another origin has caused. A request with the cookie that
//! changes something is therefore accepted only from a page of the operator. Nests and webhooks never read the cookie.

use std::sync::Arc;

use axum::{
    extract::{FromRef, FromRequestParts, Request, State},
    middleware::Next,
    response::Response,
};
use chassis::{
    config::Problems,
    status::{Reason, Refusal},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts};
use proto::types::v1::Caller;
use url::Url;

use super::{Auth, key::Refused};
use crate::{cors::Cors, error::Rejection};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The setting `AUTH_COOKIE`, and the origins whose pages may change something with the cookie.
#[derive(Clone, Debug)]
pub struct CookieAuth(Arc<Setting>);

#[derive(Debug)]
struct Setting {
    name: String,
    origins: Vec<HeaderValue>,
}

/// What a request does. GET and HEAD read, unless the route of an access token takes a seat or makes a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Reads,
    Changes,
}

impl Effect {
    pub(crate) fn of(method: &Method) -> Self {
        if matches!(*method, Method::GET | Method::HEAD) { Self::Reads } else { Self::Changes }
    }
}

/// The request has two cookies of the name with different values: a page of a parent domain may have set one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CookiesDiffer;

impl CookieAuth {
    /// Checks the setting. `bases` are the base URLs of this gateway: its own pages count as listed.
    pub(crate) fn check(
        name: Option<String>,
        cors: Option<&Cors>,
        bases: &[Url],
        problems: &mut Problems,
    ) -> Option<Self> {
        let name = name?.trim().to_owned();
        if !is_cookie_name(&name) {
            problems.add("AUTH_COOKIE", format_args!("`{name}` is not a name of a cookie"));
        }
        let listed = match cors {
            // Every page on the web could act as the user.
            Some(Cors::Any) => {
                problems.add("AUTH_COOKIE", "does not work with CORS_ORIGINS=*; list each origin");
                &[]
            }
            Some(Cors::Origins(listed)) => listed.as_slice(),
            Some(Cors::None | Cors::Local) | None => &[],
        };
        let own =
            bases.iter().filter_map(|url| HeaderValue::try_from(url.origin().ascii_serialization()).ok());
        Some(Self(Arc::new(Setting { name, origins: listed.iter().cloned().chain(own).collect() })))
    }

    pub(crate) fn name(&self) -> &str {
        &self.0.name
    }

    /// Returns the token in the cookie. None: there is no such cookie, or it is empty.
    fn token<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a [u8]>, CookiesDiffer> {
        // HTTP/2 may split the header into several.
        let lines = headers.get_all(header::COOKIE).iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let mut values = pairs.filter_map(|pair| self.value(pair));
        let first = values.next();
        if values.all(|value| Some(value) == first) { Ok(first) } else { Err(CookiesDiffer) }
    }

    /// Returns the value of a pair `name=value` with our name.
    fn value<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let value = pair.trim_ascii().strip_prefix(self.0.name.as_bytes())?.strip_prefix(b"=")?.trim_ascii();
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        // Applications empty the cookie when a user signs out.
        Some(unquoted.unwrap_or(value)).filter(|value| !value.is_empty())
    }

    /// Whether a page of the operator has sent the request. Pages cannot set these headers.
    fn is_from_our_page(&self, headers: &HeaderMap) -> bool {
        // A browser sends each of them once.
        let only = |name: HeaderName| {
            let mut values = headers.get_all(name).iter();
            values.next().filter(|_| values.next().is_none())
        };
        only(header::ORIGIN).is_some_and(|origin| self.0.origins.contains(origin))
            || only(SEC_FETCH_SITE).is_some_and(|site| site == "same-origin")
    }
}

/// RFC 6265 §4.1.1: a token of RFC 9110.
fn is_cookie_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_allowed)
}

impl Auth {
    /// Returns the setting, if the request may use the cookie: a token in the header wins, also one that is not valid.
    fn readable_cookie(&self, headers: &HeaderMap) -> Option<&CookieAuth> {
        self.0.cookie.as_ref().filter(|_| !headers.contains_key(header::AUTHORIZATION))
    }

    /// Whether the request has the cookie, valid or not, and no `Authorization`.
    pub(crate) fn has_cookie(&self, headers: &HeaderMap) -> bool {
        self.readable_cookie(headers).is_some_and(|cookie| cookie.token(headers) != Ok(None))
    }

    /// Returns the token in the cookie, if there is one and no `Authorization`.
    pub(super) fn cookie<'a>(&self, parts: &'a Parts, effect: Effect) -> Result<Option<&'a str>, Rejection> {
        let Some(cookie) = self.readable_cookie(&parts.headers) else { return Ok(None) };
        let Some(token) = cookie.token(&parts.headers).map_err(|CookiesDiffer| self.refuse_two(parts))?
        else {
            return Ok(None);
        };
        // Before the token is verified: a foreign page must not learn whether the user is signed in.
        if effect == Effect::Changes && !cookie.is_from_our_page(&parts.headers) {
            return Err(self.refuse_origin(parts));
        }
        // Bytes that are no text are no token either; an empty text is refused as malformed.
        Ok(Some(std::str::from_utf8(token).unwrap_or_default()))
    }

    fn refuse_two(&self, parts: &Parts) -> Rejection {
        let message = "The browser sent two different cookies for the sign-in. Delete the cookies of this site, and \
                       sign in again.";
        self.refuse(parts, "cookies_differ", Refusal::new(Reason::Unauthenticated, message))
    }

    fn refuse_origin(&self, parts: &Parts) -> Rejection {
        let message = "A request with a cookie must come from a page of this application. Open the application and try \
                       again, or send the token as `Authorization: Bearer …`.";
        self.refuse(parts, "origin", Refusal::new(Reason::OriginNotAllowed, message))
    }

    /// Signs in the person of the cookie on a route that only reads, and that anonymous clients may read too. A cookie
    /// that is not valid counts as none, also while a new key may be missing here: an old cookie closes no public page.
    pub(crate) async fn sign_in_by_cookie(&self, parts: &mut Parts) -> Result<Option<Caller>, Rejection> {
        let Some(cookie) = self.readable_cookie(&parts.headers) else { return Ok(None) };
        let Ok(Some(token)) = cookie.token(&parts.headers) else { return Ok(None) };
        let Ok(token) = std::str::from_utf8(token) else { return Ok(None) };
        match self.0.tokens.verify(token).await {
            Ok(verified) => self.admit(verified, parts).map(|verified| Some(verified.caller)),
            // No cookie can be checked: as an anonymous client, the person would see less than they may.
            Err(refused @ Refused::NoKeys) => Err(self.refuse_for_now(parts, refused)),
            Err(_) => Ok(None),
        }
    }
}

/// A signed-in person whose GET takes a seat or makes a room, as that of an access token does. A cookie counts only
/// from a page of the operator.
pub(crate) struct SignedInToJoin(pub(crate) Caller);

impl<S> FromRequestParts<S> for SignedInToJoin
where
    S: Send + Sync,
    Auth: FromRef<S>,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let verified = Auth::from_ref(state).sign_in_until(parts, Effect::Changes).await?;
        Ok(Self(verified.caller))
    }
}

/// Keeps answers that depend on the cookie out of shared caches. Caches know this rule of `Authorization` (RFC 9111
/// §3.5), but not of cookies.
pub(crate) async fn keep_private(State(cookie): State<CookieAuth>, request: Request, next: Next) -> Response {
    let has_cookie = cookie.token(request.headers()) != Ok(None);
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    // The answer without the cookie must not be given to its bearer either.
    headers.append(header::VARY, HeaderValue::from_static("cookie"));
    if has_cookie && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(name: &str) -> CookieAuth {
        let cors = Cors::parse("https://app.test,capacitor://localhost").unwrap();
        let bases = ["https://api.test/base".parse().unwrap()];
        chassis::config::check(|problems| CookieAuth::check(Some(name.into()), Some(&cors), &bases, problems))
            .unwrap()
    }

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    #[test]
    fn token_is_read_from_the_cookie_of_that_name() {
        let token = |lines: &[&str]| {
            let headers = headers(&header::COOKIE, lines);
            setting("session")
                .token(&headers)
                .map(|token| token.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()))
        };
        let found = |text: &str| Ok(Some(text.to_owned()));
        for line in ["session=a.b", " theme=dark;session=a.b ", "session=\"a.b\";x=session=c"] {
            assert_eq!(token(&[line]), found("a.b"), "{line}");
        }
        for line in [
            "",
            "Session=a",
            "session2=a",
            "mysession=a",
            "session",
            "session=",
            "session=; x=y",
            "session=\"\"",
        ] {
            assert_eq!(token(&[line]), Ok(None), "{line}");
        }
        assert_eq!(token(&["theme=dark", "session=a.b"]), found("a.b"), "HTTP/2 splits the header");
        assert_eq!(token(&["session=a=b"]), found("a=b"));
    }

    #[test]
    fn different_values_of_the_cookie_are_ambiguous() {
        let setting = setting("session");
        for (lines, is_clear) in [
            (&["session=a; session=a"][..], true),
            (&["session=a; session="], true),
            (&["session=a; session=b"], false),
            (&["session=a", "session=b"], false),
        ] {
            assert_eq!(setting.token(&headers(&header::COOKIE, lines)).is_ok(), is_clear, "{lines:?}");
        }
    }

    #[test]
    fn pages_of_listed_and_own_origins_are_ours() {
        let setting = setting("session");
        for (name, values, expected) in [
            (header::ORIGIN, &["https://app.test"][..], true),
            (header::ORIGIN, &["capacitor://localhost"], true),
            (header::ORIGIN, &["https://api.test"], true),
            (header::ORIGIN, &["https://app.test.attacker.example"], false),
            (header::ORIGIN, &["http://app.test"], false),
            (header::ORIGIN, &["null"], false),
            (header::ORIGIN, &["https://app.test", "https://attacker.example"], false),
            (SEC_FETCH_SITE, &["same-origin"], true),
            (SEC_FETCH_SITE, &["same-site"], false),
            (SEC_FETCH_SITE, &["none"], false),
            (SEC_FETCH_SITE, &["same-origin", "cross-site"], false),
            (header::REFERER, &["https://app.test/"], false),
        ] {
            assert_eq!(setting.is_from_our_page(&headers(&name, values)), expected, "{name} {values:?}");
        }
    }

    #[test]
    fn names_that_no_cookie_can_have_are_refused() {
        for name in ["session", "__Host-session", "sb-access-token.0", "a"] {
            assert!(is_cookie_name(name), "{name}");
        }
        for name in ["", "a b", "a=b", "a;b", "a,b", "ä", "a\"", "(a)"] {
            assert!(!is_cookie_name(name), "{name}");
        }
    }
}
