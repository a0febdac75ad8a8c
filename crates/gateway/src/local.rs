//! Checks whether a request was sent to this machine by a local name, and from a local page.
//!
//! A web page can point its own name at this machine (DNS rebinding). Its requests then have that name as `Host`. A
//! name such as `127.attacker.example` only looks like a loopback address, so the host must parse as a loopback address
//! or be `localhost`.

use std::net::{IpAddr, Ipv6Addr};

use http::{HeaderMap, HeaderValue, Uri, header};

/// Whether a request names this machine as its host, and comes from no page or from a page that this machine serves.
/// A host in the request target (`GET http://… HTTP/1.1`, `:authority`) counts like the header.
#[must_use]
pub fn is_request(uri: &Uri, headers: &HeaderMap) -> bool {
    let target = uri.authority().map(|authority| authority.as_str().as_bytes());
    // Every host counts. One local name among several would hide a foreign one.
    let mut hosts = target.into_iter().chain(headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes));
    let is_host = |host: &[u8]| std::str::from_utf8(host).is_ok_and(is_host);
    // A request without any host is refused too.
    hosts.next().is_some_and(is_host)
        && hosts.all(is_host)
        && headers.get_all(header::ORIGIN).iter().all(is_origin)
}

/// Whether an `Origin` belongs to a page that this machine serves, at any port.
#[must_use]
pub fn is_origin(origin: &HeaderValue) -> bool {
    origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://")).is_some_and(is_host)
}

/// Whether a host is `localhost` or a loopback address, with or without a port.
fn is_host(host: &str) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        // In `[::1]` the last colon is part of the address.
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    // A port that is no number may hide another host, as in `localhost:x@attacker.example`.
    if !port.is_empty() && (!port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err()) {
        return false;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        let address = address.parse::<Ipv6Addr>().map(|address| IpAddr::V6(address).to_canonical());
        return address.is_ok_and(|address| address.is_loopback());
    }
    name.eq_ignore_ascii_case("localhost")
        || matches!(name.parse(), Ok(IpAddr::V4(address)) if address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: [&str; 9] = [
        "localhost",
        "localhost:8080",
        "LocalHost:8080",
        "127.0.0.1",
        "127.0.0.1:8080",
        "127.255.255.254:1",
        "[::1]",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
    ];
    const FOREIGN: [&str; 27] = [
        "",
        ":8080",
        "127.attacker.example",
        "127.0.0.1.attacker.example:8080",
        "127.0.0.1.nip.io",
        "localhost.attacker.example",
        "attacker.localhost",
        "localhost.",
        "localhost:evil",
        "localhost:+80",
        "localhost:99999",
        "localhost:80:80",
        "localhost@attacker.example",
        "attacker@localhost",
        "localhost/",
        "127.1",
        "127.0.0.1/x",
        "0x7f.0.0.1",
        "0.0.0.0:8080",
        "10.0.0.1:8080",
        "::1",
        "[::1",
        "[::]:8080",
        "[::1%25lo]",
        "[127.0.0.1]",
        "[::ffff:10.0.0.1]",
        "attacker.example:8080",
    ];

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let mut headers = HeaderMap::new();
        for (name, text) in pairs {
            headers.append(name.clone(), value(text));
        }
        headers
    }

    fn answers(target: &str, pairs: &[(header::HeaderName, &str)]) -> bool {
        is_request(&target.parse().unwrap(), &headers(pairs))
    }

    #[test]
    fn host_must_be_localhost_or_a_loopback_address() {
        for host in LOCAL {
            assert!(answers("/dev/inbox", &[(header::HOST, host)]), "{host}");
        }
        for host in FOREIGN {
            assert!(!answers("/dev/inbox", &[(header::HOST, host)]), "{host}");
        }
        assert!(!answers("/dev/inbox", &[]), "no host at all");
    }

    #[test]
    fn each_named_host_must_be_local() {
        let local = (header::HOST, "localhost");
        assert!(answers("http://127.0.0.1:8080/dev", &[]), "HTTP/2 has :authority only");
        assert!(!answers("http://attacker.example/dev", std::slice::from_ref(&local)));
        assert!(!answers("/dev", &[local.clone(), (header::HOST, "attacker.example")]));
        assert!(!answers("http://127.0.0.1/dev", &[(header::HOST, "attacker.example")]));
    }

    #[test]
    fn origin_must_be_absent_or_a_local_http_page() {
        let from = |origin: &str| answers("/dev", &[(header::HOST, "localhost"), (header::ORIGIN, origin)]);
        for host in LOCAL {
            assert!(from(&format!("http://{host}")), "{host}");
        }
        for host in FOREIGN {
            assert!(!from(&format!("http://{host}")), "{host}");
        }
        for origin in
            ["", "null", "localhost", "https://localhost", "file://", "http://localhost/", "http://"]
        {
            assert!(!from(origin), "{origin}");
        }
        let two = [
            (header::HOST, "localhost"),
            (header::ORIGIN, "http://localhost"),
            (header::ORIGIN, "http://attacker.example"),
        ];
        assert!(!answers("/dev", &two));
    }
}
