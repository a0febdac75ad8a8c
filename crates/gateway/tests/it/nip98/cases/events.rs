//! Valid headers with events of wrong content, or with forged events.

use serde_json::{Value, json};

use super::{Case, Target, add, tags};
use crate::nip98::{Signer, encode};

/// SHA-256 of an empty body.
const EMPTY_HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

pub fn kinds_and_times(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let good = || tags(target.url, target.method);
    for kind in [0, 1, 4, 22242, 24242, 27234, 27236, 30312, u16::MAX] {
        add(cases, format!("kind {kind}"), encode(&signer.event(kind, target.now, good()).to_string()));
    }
    let now = target.now;
    let far = [61, 62, 90, 120, 3_600, 86_400, 31_536_000];
    let times = far.iter().flat_map(|&far| [now - far - 5, now + far + 60]);
    for at in times.chain([
        0,
        1,
        now * 1000,
        now * 1_000_000,
        u64::from(u32::MAX),
        i64::MAX.unsigned_abs(),
        u64::MAX,
    ]) {
        add(cases, format!("signed at {at}"), encode(&signer.event(27235, at, good()).to_string()));
    }
}

pub fn tag_lists(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let (u, method) = (json!(["u", target.url]), json!(["method", target.method]));
    let payload = json!(["payload", EMPTY_HASH]);
    for tags in [
        json!([]),
        json!([u]),
        json!([method]),
        json!([u, u, method]),
        json!([u, method, method]),
        json!([u, method, ["u", "https://other.test/"]]),
        json!([["u", "https://other.test/"], u, method]),
        json!([u, method, ["method", "POST"]]),
        json!([u, method, payload, payload]),
        json!([["u"], method]),
        json!([u, ["method"]]),
        json!([u, method, ["payload"]]),
        json!([["U", target.url], method]),
        json!([u, ["Method", target.method]]),
        json!([["url", target.url], method]),
        json!([[" u", target.url], method]),
        json!([["", target.url], method]),
        json!([["x", "u", target.url], method]),
        json!([["u", ""], method]),
        json!([u, ["method", ""]]),
    ] {
        add(cases, format!("tags {tags}"), encode(&signer.event(27235, target.now, tags).to_string()));
    }
    for method in
        ["POST", "PUT", "HEAD", "DELETE", "GETT", "GE", " GET", "GET ", "GET\0", "*", "GET,PUT", "ＧＥＴ"]
    {
        let tags = tags(target.url, method);
        add(cases, format!("method {method:?}"), encode(&signer.event(27235, target.now, tags).to_string()));
    }
}

/// Wrong payloads, and tags of wrong types.
pub fn payloads_and_types(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let (u, method) = (json!(["u", target.url]), json!(["method", target.method]));
    let (short, long) = (&EMPTY_HASH[1..], format!("{EMPTY_HASH}0"));
    let plus = format!("+{short}");
    for payload in [
        "",
        "x",
        short,
        &long,
        &plus,
        &EMPTY_HASH.replace('e', "g"),
        &EMPTY_HASH.replace('e', "f"),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        &format!("0x{EMPTY_HASH}"),
        &"ü".repeat(32),
    ] {
        let tags = json!([u, method, ["payload", payload]]);
        add(
            cases,
            format!("payload {payload:?}"),
            encode(&signer.event(27235, target.now, tags).to_string()),
        );
    }
    // Tags that the library does not sign.
    let good = signer.event(27235, target.now, json!([u, method])).to_string();
    for odd in [
        "[]",
        "null",
        "1",
        "\"u\"",
        "[1]",
        "[null]",
        "[\"x\",1]",
        "[\"x\",null]",
        "[[\"x\"]]",
        "{\"u\":1}",
        "true",
    ] {
        let changed = good.replacen("\"tags\":[", &format!("\"tags\":[{odd},"), 1);
        add(cases, format!("a tag {odd}"), encode(&changed));
    }
}

/// Texts that are not the URL of any request.
const MALFORMED_URLS: [&str; 23] = [
    "",
    "x",
    "/",
    "//",
    "http",
    "http://",
    "https://",
    "http:",
    "javascript:alert(1)",
    "data:text/plain,x",
    "file:///etc/passwd",
    "nostr:naddr1",
    "http://[::1",
    "http://[::1]/",
    "http://a b/",
    "http://\u{0}/",
    "http://%00/",
    "http://.../",
    "http://:80/",
    "http://999.999.999.999/",
    "https://xn--/",
    "\u{feff}",
    "😀",
];

/// URLs of other requests.
pub fn urls(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let (origin, path) = target.url.split_at(target.url.find("/api").unwrap());
    let (scheme, authority) = origin.split_once("://").unwrap();
    let host = authority.split(':').next().unwrap();
    let mut urls: Vec<String> = MALFORMED_URLS.map(str::to_owned).into();
    urls.push(path.to_owned());
    for other in [
        format!("{authority}{path}"),
        format!("//{authority}{path}"),
        format!("ws://{authority}{path}"),
        format!("wss://{authority}{path}"),
        format!("ftp://{authority}{path}"),
        format!("{scheme}s2://{authority}{path}"),
        format!("{scheme}://other.test{path}"),
        format!("{scheme}://{host}.other.test{path}"),
        format!("{scheme}://{authority}.{path}"),
        format!("{scheme}://x{authority}{path}"),
        format!("{scheme}://{host}:1{path}"),
        format!("{scheme}://{host}:65536{path}"),
        format!("{scheme}://{host}:x{path}"),
        format!("{scheme}://user@{authority}{path}"),
        format!("{scheme}://user:secret@{authority}{path}"),
        format!("{scheme}://:secret@{authority}{path}"),
        format!("{scheme}://other.test@{authority}{path}"),
        format!("{scheme}://{authority}@other.test{path}"),
        format!("{scheme}://{authority}\\@other.test{path}"),
        format!("{scheme}://{authority}"),
        format!("{scheme}://{authority}/"),
        format!("{scheme}://{authority}/x{path}"),
        format!("{scheme}://{authority}/{path}"),
        format!("{scheme}://{authority}{}", path.to_uppercase()),
    ] {
        urls.push(other);
    }
    for after in ["/", "//", "?", "?x", "?x=1", "#", "#x", "/..", "/x", "%20", "%2f", ";x", "&x", ".", "\\"] {
        urls.push(format!("{}{after}", target.url));
    }
    for url in urls {
        let tags = tags(&url, target.method);
        add(cases, format!("URL {url:?}"), encode(&signer.event(27235, target.now, tags).to_string()));
    }
}

/// Events that were changed after they were signed.
pub fn forgeries(good: &Value, cases: &mut Vec<Case>) {
    let other = Signer::new(2).event(27235, good["created_at"].as_u64().unwrap(), good["tags"].clone());
    for field in ["id", "pubkey", "sig"] {
        let hex = good[field].as_str().unwrap();
        let mut wrong: Vec<String> = (0..hex.len())
            .step_by(13)
            .map(|at| {
                let digit = if &hex[at..=at] == "0" { "1" } else { "0" };
                format!("{}{digit}{}", &hex[..at], &hex[at + 1..])
            })
            .collect();
        wrong.push(other[field].as_str().unwrap().to_owned());
        wrong.extend(["0", "f"].map(|digit| digit.repeat(hex.len())));
        wrong.extend([
            format!("{hex}00"),
            hex[2..].to_owned(),
            format!("0x{}", &hex[2..]),
            hex.replace(|digit: char| digit.is_ascii_digit(), "g"),
        ]);
        for wrong in wrong {
            let mut forged = good.clone();
            forged[field] = wrong.clone().into();
            add(cases, format!("{field} = {wrong}"), encode(&forged.to_string()));
        }
    }
    for (field, value) in
        [("content", json!("x")), ("created_at", json!(good["created_at"].as_u64().unwrap() + 1))]
    {
        let mut forged = good.clone();
        forged[field] = value;
        add(cases, format!("another {field}"), encode(&forged.to_string()));
    }
    let mut forged = good.clone();
    forged["tags"].as_array_mut().unwrap().push(json!(["x"]));
    add(cases, "a tag more", encode(&forged.to_string()));
    let mut forged = good.clone();
    forged["id"] = other["id"].clone();
    forged["sig"] = other["sig"].clone();
    add(cases, "id and signature of another", encode(&forged.to_string()));
}
