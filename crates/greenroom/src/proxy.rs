//! The proxies of `HTTP_PROXY`, `HTTPS_PROXY` and `ALL_PROXY`, which HTTP clients in this process use. Calls over gRPC
//! and SMTP, and to Postgres, never go through a proxy.

use hyper_util::client::proxy::matcher::Matcher;

/// This machine, as `NO_PROXY` names it: a proxy cannot reach what listens on a loopback address here.
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";

/// Returns the `NO_PROXY` with which loopback addresses never go through a proxy, also for clients that libraries
/// create.
#[must_use]
pub fn no_proxy() -> String {
    with_loopback(first(&["NO_PROXY", "no_proxy"]).map(|(_, value)| value).as_deref())
}

fn with_loopback(set: Option<&str>) -> String {
    match set.map(str::trim).filter(|set| !set.is_empty()) {
        Some(set) => format!("{set},{LOOPBACK}"),
        None => LOOPBACK.to_owned(),
    }
}

/// The proxy between this process and an address.
#[derive(Debug, PartialEq, Eq)]
pub struct Proxy {
    /// The variable that names the proxy.
    pub variable: &'static str,
    pub host: String,
    pub port: u16,
}

/// Returns the proxy through which requests to this URL go.
#[must_use]
pub fn between(url: &str) -> Option<Proxy> {
    // A URL without a scheme or host is called by no client.
    let intercept = Matcher::from_env().intercept(&url.parse().ok()?)?;
    let variables: &[&str] = if url.starts_with("https:") {
        &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    };
    let (variable, _) = first(variables)?;
    let proxy = intercept.uri();
    let usual = match proxy.scheme_str() {
        Some("https") => 443,
        Some("http") | None => 80,
        Some(_) => 1080, // SOCKS
    };
    // Without the user and the password that the variable may contain.
    Some(Proxy { variable, host: proxy.host()?.to_owned(), port: proxy.port_u16().unwrap_or(usual) })
}

/// The first of these variables that is set and not empty.
fn first(names: &[&'static str]) -> Option<(&'static str, String)> {
    let value = |name: &&'static str| Some((*name, std::env::var(name).ok()?));
    names.iter().filter_map(value).find(|(_, value)| !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_added_to_the_hosts_that_are_set() {
        assert_eq!(with_loopback(None), LOOPBACK);
        assert_eq!(with_loopback(Some(" ")), LOOPBACK);
        assert_eq!(with_loopback(Some("example.org")), format!("example.org,{LOOPBACK}"));
    }

    #[test]
    fn no_loopback_address_goes_through_a_proxy() {
        for set in [None, Some("example.org"), Some("*")] {
            let proxied = Matcher::builder().all("http://proxy.test:3128").no(with_loopback(set)).build();
            for url in [
                "http://localhost:1",
                "http://a.localhost",
                "http://127.0.0.1:8080",
                "https://127.9.9.9",
                "http://[::1]:7880",
            ] {
                assert!(proxied.intercept(&url.parse().unwrap()).is_none(), "{set:?}: {url}");
            }
        }
        let proxied = Matcher::builder().all("http://proxy.test:3128").no(with_loopback(None)).build();
        assert!(proxied.intercept(&"http://livekit:7880".parse().unwrap()).is_some());
    }
}
