//! Headers that prove nothing, made from one that would: each differs from it in one thing.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Signer, encode};

/// What the good header is for.
pub struct Target<'a> {
    pub url: &'a str,
    pub method: &'a str,
    pub now: u64,
}

pub type Case = (String, Vec<u8>);

/// Every case, with a word on what is wrong with it.
pub fn all(target: &Target<'_>) -> Vec<Case> {
    let signer = Signer::new(1);
    let good = signer.event(27235, target.now, tags(target.url, target.method));
    let mut cases = Vec::new();
    framing(&good, &mut cases);
    base64(&good, &mut cases);
    json_text(&good, &mut cases);
    fields(&good, &mut cases);
    kinds_and_times(&signer, target, &mut cases);
    tag_lists(&signer, target, &mut cases);
    urls(&signer, target, &mut cases);
    forgeries(&good, &mut cases);
    cases
}

fn tags(url: &str, method: &str) -> Value {
    json!([["u", url], ["method", method]])
}

fn add(cases: &mut Vec<Case>, what: impl Into<String>, header: impl Into<Vec<u8>>) {
    cases.push((what.into(), header.into()));
}

fn framing(good: &Value, cases: &mut Vec<Case>) {
    let encoded = STANDARD.encode(good.to_string());
    for scheme in
        ["", "Bearer ", "Basic ", "Nostr", "Nostr\t", "Nostr:", "Nost r ", "NIP98 ", "\u{feff}Nostr "]
    {
        add(cases, format!("scheme {scheme:?}"), format!("{scheme}{encoded}"));
    }
    for alone in ["", " ", "Nostr", "Nostr ", "nostr", "Bearer", "Bearer ", "Nostr null", "Nostr ="] {
        add(cases, format!("only {alone:?}"), alone);
    }
    add(cases, "twice", format!("Nostr {encoded} Nostr {encoded}"));
    add(cases, "twice by comma", format!("Nostr {encoded}, Nostr {encoded}"));
    add(cases, "with a parameter", format!("Nostr {encoded}; a=b"));
    add(cases, "in quotes", format!("Nostr \"{encoded}\""));
    add(cases, "percent-encoded", format!("Nostr {}", encoded.replace('=', "%3D") + "%20"));
    for length in [8 * 1024, 64 * 1024, 1024 * 1024] {
        add(cases, format!("{length} bytes"), format!("Nostr {}", "A".repeat(length)));
        let mut long = good.clone();
        long["content"] = "x".repeat(length).into();
        add(cases, format!("an event of {length} bytes"), encode(&long.to_string()));
    }
}

fn base64(good: &Value, cases: &mut Vec<Case>) {
    let mut text = good.to_string();
    while text.len() % 3 != 1 {
        text.push(' '); // so that there is padding
    }
    let encoded = STANDARD.encode(&text);
    let case = |what: String, encoded: String| (what, format!("Nostr {encoded}").into_bytes());
    for cut in 1..=12 {
        cases.push(case(format!("without its last {cut}"), encoded[..encoded.len() - cut].to_owned()));
        cases.push(case(format!("without its first {cut}"), encoded[cut..].to_owned()));
    }
    for more in ["=", "==", "A", "AA", "AAA", " A", "====", "\u{e4}"] {
        cases.push(case(format!("with {more:?} after it"), format!("{encoded}{more}")));
    }
    for strange in " \t!\"#$%&'()*,-.:;<>?@[\\]^_`{|}~=\u{7f}\0\u{a0}\u{e9}\u{2028}".chars() {
        let mut broken = encoded.clone();
        broken.insert(encoded.len() / 2, strange);
        cases.push(case(format!("with {strange:?} in it"), broken));
    }
    let mut bits = encoded.clone();
    let last = bits.trim_end_matches('=').len() - 1;
    bits.replace_range(last..=last, "B");
    cases.push(case("with bits behind its end".into(), bits));
    cases.push(case("in small letters".into(), encoded.to_lowercase()));
    cases.push(case("in capitals".into(), encoded.to_uppercase()));
    cases.push(case("backwards".into(), encoded.chars().rev().collect()));
    cases.push(case("encoded twice".into(), STANDARD.encode(&encoded)));
    cases.push(case("not encoded".into(), text.clone()));
    cases.push(case(
        "in hex".into(),
        text.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")),
    ));
    for byte in [0x80, 0xc0, 0xff] {
        cases.push((format!("byte {byte:x}"), [b"Nostr ", encoded.as_bytes(), &[byte]].concat()));
    }
}

fn json_text(good: &Value, cases: &mut Vec<Case>) {
    let text = good.to_string();
    for end in (0..text.len()).step_by(9) {
        add(cases, format!("JSON cut at {end}"), encode(&text[..end]));
    }
    for other in [
        "null",
        "true",
        "27235",
        "-1",
        "1e999",
        "\"text\"",
        "[]",
        "{}",
        "[{}]",
        "{",
        "}",
        "{]",
        "NaN",
        "{'id': 1}",
        "{\"id\"}",
        "{\"id\":}",
        "{\"\":\"\"}",
        "undefined",
        "<event/>",
        "\0",
        "{\"id\": \"\\ud800\"}",
    ] {
        add(cases, format!("JSON {other}"), encode(other));
    }
    for (before, after) in [
        ("[", "]"),
        ("\u{feff}", ""),
        ("", "x"),
        ("", "{}"),
        ("", ","),
        ("", "\0"),
        ("{\"event\":", "}"),
        ("[\"AUTH\",", "]"),
    ] {
        add(
            cases,
            format!("JSON between {before:?} and {after:?}"),
            encode(&format!("{before}{text}{after}")),
        );
    }
    let values: Vec<&Value> = ["id", "pubkey", "created_at", "kind", "tags", "content", "sig"]
        .iter()
        .map(|field| &good[field])
        .collect();
    add(cases, "the fields' values in an array", encode(&json!(values).to_string()));
    for depth in [200, 2_000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = format!("{}1{}", open.repeat(depth), close.repeat(depth));
            add(cases, format!("{depth} deep"), encode(&nested));
        }
    }
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    add(cases, "UTF-16", format!("Nostr {}", STANDARD.encode(utf16)));
    for position in [0, 1, 30, text.len() / 2, text.len()] {
        for garbage in [&[0xff][..], &[0xc3, 0x28], &[0xed, 0xa0, 0x80], &[0]] {
            let mut bytes = text.clone().into_bytes();
            bytes.splice(position..position, garbage.iter().copied());
            add(cases, format!("{garbage:x?} at {position}"), format!("Nostr {}", STANDARD.encode(bytes)));
        }
    }
}

/// Each field missing, of each wrong type, and there twice.
fn fields(good: &Value, cases: &mut Vec<Case>) {
    let text = good.to_string();
    for (field, value) in good.as_object().unwrap() {
        let mut without = good.clone();
        without.as_object_mut().unwrap().remove(field);
        add(cases, format!("without {field}"), encode(&without.to_string()));
        let twice = text.replacen('{', &format!("{{\"{field}\":{value},"), 1);
        add(cases, format!("{field} twice"), encode(&twice));
        for wrong in [
            json!(null),
            json!(true),
            json!(-1),
            json!(1.5),
            json!("x"),
            json!(""),
            json!([]),
            json!([1]),
            json!({}),
        ] {
            let harmless = field == "tags" && wrong == json!([]) && value == &wrong;
            if !harmless {
                let mut changed = good.clone();
                changed[field] = wrong.clone();
                add(cases, format!("{field} = {wrong}"), encode(&changed.to_string()));
            }
        }
        if let Some(number) = value.as_u64() {
            for wrong in [json!(number.to_string()), json!([number])] {
                let mut changed = good.clone();
                changed[field] = wrong.clone();
                add(cases, format!("{field} = {wrong}"), encode(&changed.to_string()));
            }
            for wrong in [
                format!("{number}.0"),
                format!("{number}.5"),
                format!("0{number}"),
                format!("+{number}"),
                format!("{number}e99"),
                "9".repeat(400),
            ] {
                let changed =
                    text.replacen(&format!("\"{field}\":{number}"), &format!("\"{field}\":{wrong}"), 1);
                add(cases, format!("{field} = {wrong}"), encode(&changed));
            }
        }
    }
}

fn kinds_and_times(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let good = || tags(target.url, target.method);
    for kind in [0, 1, 4, 22242, 24242, 27234, 27236, 30312, u16::MAX] {
        add(cases, format!("kind {kind}"), encode(&signer.event(kind, target.now, good()).to_string()));
    }
    let now = target.now;
    let far = [61, 62, 90, 120, 3_600, 86_400, 31_536_000];
    let times = far.iter().flat_map(|&far| [now - far - 5, now + far + 5]);
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

fn tag_lists(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let (u, method) = (json!(["u", target.url]), json!(["method", target.method]));
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let payload = json!(["payload", empty]);
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
    let (short, long) = (&empty[1..], format!("{empty}0"));
    let plus = format!("+{short}");
    for payload in [
        "",
        "x",
        short,
        &long,
        &plus,
        &empty.replace('e', "g"),
        &empty.replace('e', "f"),
        "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        &format!("0x{empty}"),
        &"ü".repeat(32),
    ] {
        let tags = json!([u, method, ["payload", payload]]);
        add(
            cases,
            format!("payload {payload:?}"),
            encode(&signer.event(27235, target.now, tags).to_string()),
        );
    }
    // Tags that the library would not sign.
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

/// The URL of another request.
fn urls(signer: &Signer, target: &Target<'_>, cases: &mut Vec<Case>) {
    let (origin, path) = target.url.split_at(target.url.find("/api").unwrap());
    let (scheme, place) = origin.split_once("://").unwrap();
    let host = place.split(':').next().unwrap();
    let mut urls: Vec<String> = [
        "",
        "x",
        "/",
        path,
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
    ]
    .map(str::to_owned)
    .into();
    for other in [
        format!("{place}{path}"),
        format!("//{place}{path}"),
        format!("ws://{place}{path}"),
        format!("wss://{place}{path}"),
        format!("ftp://{place}{path}"),
        format!("{scheme}s2://{place}{path}"),
        format!("{scheme}://other.test{path}"),
        format!("{scheme}://{host}.other.test{path}"),
        format!("{scheme}://{place}.{path}"),
        format!("{scheme}://x{place}{path}"),
        format!("{scheme}://{host}:1{path}"),
        format!("{scheme}://{host}:65536{path}"),
        format!("{scheme}://{host}:x{path}"),
        format!("{scheme}://user@{place}{path}"),
        format!("{scheme}://user:secret@{place}{path}"),
        format!("{scheme}://:secret@{place}{path}"),
        format!("{scheme}://other.test@{place}{path}"),
        format!("{scheme}://{place}@other.test{path}"),
        format!("{scheme}://{place}\\@other.test{path}"),
        format!("{scheme}://{place}"),
        format!("{scheme}://{place}/"),
        format!("{scheme}://{place}/x{path}"),
        format!("{scheme}://{place}/{path}"),
        format!("{scheme}://{place}{}", path.to_uppercase()),
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

/// Events that nobody signed as they are.
fn forgeries(good: &Value, cases: &mut Vec<Case>) {
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
