//! Invalid headers, each derived from a valid one by one change.

mod events;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{Signer, encode};

/// The request that the valid header is for.
pub struct Target<'a> {
    pub url: &'a str,
    pub method: &'a str,
    pub now: u64,
}

pub type Case = (String, Vec<u8>);

/// Returns every case with a description.
pub fn all(target: &Target<'_>) -> Vec<Case> {
    let signer = Signer::new(1);
    let good = signer.event(27235, target.now, tags(target.url, target.method));
    let mut cases = Vec::new();
    framing(&good, &mut cases);
    base64(&good, &mut cases);
    json_text(&good, &mut cases);
    json_shape_and_bytes(&good, &mut cases);
    fields(&good, &mut cases);
    events::kinds_and_times(&signer, target, &mut cases);
    events::tag_lists(&signer, target, &mut cases);
    events::payloads_and_types(&signer, target, &mut cases);
    events::urls(&signer, target, &mut cases);
    events::forgeries(&good, &mut cases);
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
        text.push(' '); // makes padding necessary
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
}

fn json_shape_and_bytes(good: &Value, cases: &mut Vec<Case>) {
    let text = good.to_string();
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

/// Each field missing, of each wrong type, and twice.
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
