//! URLs that other users' browsers load: pictures of users and covers of rooms. And which IP addresses belong to the
//! public internet, for these URLs and for webhooks.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// The longest URL that is stored, in bytes.
pub const LONGEST_URL: usize = 2_048;

/// Networks that are not the public internet: the IANA registries of special-purpose addresses, and multicast.
const V4: [Ipv4Net; 16] = [
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 0, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 0, 2, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 31, 196, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 88, 99, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new_assert(Ipv4Addr::new(198, 51, 100, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(203, 0, 113, 0), 24),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 4),
    Ipv4Net::new_assert(Ipv4Addr::new(240, 0, 0, 0), 4),
];

/// Networks within the global unicast range `2000::/3` that are not the public internet: IETF protocols (Teredo, ORCHID,
/// benchmarks), documentation, 6to4 (it carries IPv4 addresses), the second documentation network.
const V6: [Ipv6Net; 4] = [
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    Ipv6Net::new_assert(Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    Ipv6Net::new_assert(Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// The global unicast range.
const GLOBAL_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !V4.iter().any(|network| network.contains(&address)),
        // Mapped IPv4, NAT64, unique local, link-local, multicast and the others are outside of 2000::/3.
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// Returns the normal form of a URL that pages may load for other users: https, no user info, at most 2,048 bytes, and a
/// host whose text does not name this machine or a private network. None for every other text.
///
/// The normal form is stored: a text that browsers would read in another way than it was checked is never passed on.
#[must_use]
pub fn public_url(text: &str) -> Option<String> {
    // The parser drops blanks and control characters and reads `\` as `/`, so texts with them are refused
    // before.
    let is_written_plainly = text.len() <= LONGEST_URL
        && !text
            .chars()
            .any(|character| character.is_whitespace() || character.is_control() || character == '\\');
    let authority =
        // By bytes: `get` is None where the text is shorter, or where byte 8 is inside a character.
        text.get(..8).filter(|scheme| is_written_plainly && scheme.eq_ignore_ascii_case("https://"));
    authority?;
    // The parser would accept user info, and a reader could take it for the host.
    if text[8..].split(['/', '?', '#']).next()?.contains('@') {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_public = match url.host()? {
        Host::Ipv4(address) => is_global(address.into()),
        Host::Ipv6(address) => is_global(address.into()),
        Host::Domain(name) => is_public_name(name),
    };
    let url = String::from(url);
    // Measured again: the normal form may be longer, with percent-encoding or punycode.
    (is_public && url.len() <= LONGEST_URL).then_some(url)
}

/// The name is in lower case: the URL parser converted it.
fn is_public_name(name: &str) -> bool {
    // `localhost.` is the same name as `localhost`.
    let name = name.trim_end_matches('.');
    let top = name.rsplit('.').next().unwrap_or_default();
    !matches!(top, "" | "localhost" | "local")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_global() {
        for global in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00:1450::1"] {
            assert!(is_global(global.parse().unwrap()), "{global}");
        }
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::7f00:1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "100::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
        ] {
            assert!(!is_global(private.parse().unwrap()), "{private}");
        }
    }

    #[test]
    fn public_urls_are_kept_in_their_normal_form() {
        for (text, kept) in [
            ("https://cdn.example.org/a.png", "https://cdn.example.org/a.png"),
            ("https://cdn.example.org:8443/a.png?s=1#x", "https://cdn.example.org:8443/a.png?s=1#x"),
            ("HTTPS://CDN.Example.org", "https://cdn.example.org/"),
            ("https://8.8.8.8/a", "https://8.8.8.8/a"),
            ("https://[2606:4700::1111]/a", "https://[2606:4700::1111]/a"),
            ("https://bücher.example/a", "https://xn--bcher-kva.example/a"),
            ("https://localhost.example.org/", "https://localhost.example.org/"),
            ("https://example.org/@ada", "https://example.org/@ada"),
        ] {
            assert_eq!(public_url(text).as_deref(), Some(kept), "{text}");
        }
        let longest = format!("https://a.example/{}", "x".repeat(LONGEST_URL - 18));
        assert_eq!(longest.len(), LONGEST_URL);
        assert!(public_url(&longest).is_some() && public_url(&format!("{longest}x")).is_none());
        assert!(
            public_url(&format!("https://a.example/{}", "ü".repeat(800))).is_none(),
            "its normal form is longer"
        );
    }

    #[test]
    fn urls_that_are_not_public_are_refused() {
        for text in [
            "",
            "a.png",
            "//cdn.example.org/a.png",
            "javascript:alert(1)",
            "JavaScript:alert(1)//https://",
            "data:image/png;base64,AAAA",
            "file:///etc/passwd",
            "blob:https://example.org/x",
            "http://cdn.example.org/a.png",
            "https:cdn.example.org",
            "https:/cdn.example.org",
            "https://",
            "https://user@example.org/",
            "https://user:secret@example.org/",
            "https://@example.org/",
            "https://:@example.org/",
            "https://example.org\\@evil.example/",
            "https://a b.example/",
            "https://a.example/a b",
            " https://a.example/",
            "https://a.example/\n",
            "java\tscript:alert(1)",
            "ht\ntps://a.example/",
            "https://localhost/",
            "https://LOCALHOST./",
            "https://a.localhost/",
            "https://a.localhost../",
            "https://printer.local/",
            "https://printer.local./",
            "https://local/",
            "https://loc\u{ad}alhost/",
            "https://ｌocalhost/",
            "https://127.0.0.1/",
            "https://127.0.0.1./",
            "https://127.1/",
            "https://2130706433/",
            "https://0x7f.1/",
            "https://0x7f000001/",
            "https://017700000001/",
            "https://①②⑦.0.0.1/",
            "https://0/",
            "https://10.0.0.8/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]/",
            "https://[::]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[::ffff:8.8.8.8]/",
            "https://[fe80::1]/",
            "https://[fd00::1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://./",
            "https://example.org:99999/",
        ] {
            assert_eq!(public_url(text), None, "{text}");
        }
    }
}
