use serde::Deserialize;
use time::OffsetDateTime;

use crate::{extract, wire::Limit};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Body {
    title: String,
    minutes: i32,
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    #[serde(default, with = "time::serde::rfc3339::option")]
    until: Option<OffsetDateTime>,
    flag: Option<bool>,
    colour: Option<Colour>,
    shade: Colour,
    tags: Option<Vec<String>>,
    guest: Option<Guest>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Colour {
    Red,
    DarkBlue,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only read")]
struct Guest {
    name: String,
    email: String,
}

fn wrong(body: &str) -> Vec<String> {
    let refusal = extract::json::<Body>(body.as_bytes()).unwrap_err();
    refusal.errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
}

#[test]
fn body_errors_name_all_fields_when_all_are_wrong() {
    let body = r#"{"title": 7, "minutes": 1.5, "at": "soon", "until": "2030-01-01T10:00:00 02:00", "flag": "yes",
        "colour": "green", "shade": 3, "tags": ["a", 5], "guest": "Gus", "recurrence": {"count": 4}}"#;
    let found = wrong(body);
    assert_eq!(found[0], "title: must be a text", "the first is what is wrong first");
    let mut found = found;
    found.sort();
    assert_eq!(
        found,
        [
            "at: must be a time as RFC 3339 writes it, such as 2030-01-31T10:00:00Z",
            "colour: must be red or dark_blue",
            "flag: must be true or false",
            "guest: must be a JSON object",
            "minutes: must be a whole number",
            "recurrence: is not known here",
            "shade: must be red or dark_blue",
            "tags.[1]: must be a text",
            "title: must be a text",
            "until: must be a time as RFC 3339 writes it; there is a blank where the + of its offset was: in a URL, \
             write %2B for +",
        ]
    );
}

#[test]
fn body_errors_name_all_missing_and_unknown_fields() {
    let body = r#"{"minutes": 99999999999, "guest": {"email": 3, "phone": 1}, "a": 1, "b": {"c": 2}}"#;
    let mut found = wrong(body);
    found.sort();
    let expected = [
        "a: is not known here",
        "at: is missing",
        "b: is not known here",
        "guest.email: must be a text",
        "guest.name: is missing",
        "guest.phone: is not known here",
        "minutes: is out of range",
        "shade: is missing",
        "title: is missing",
    ];
    assert_eq!(found, expected);
}

#[test]
fn body_errors_are_bounded_and_repeated_fields_found() {
    let many: Vec<_> = (0..1000).map(|n| format!(r#""f{n}": 1"#)).collect();
    assert_eq!(wrong(&format!("{{{}}}", many.join(","))).len(), super::MAX_ERRORS);
    let found = wrong(r#"{"title": "a", "title": "b"}"#);
    assert_eq!(found[0], "title: is there more than once");
    assert!(found.contains(&"minutes: is missing".to_owned()), "{found:?}");
}

#[test]
fn body_that_is_not_a_json_object_has_one_error() {
    for body in
        ["{", "[]", "null", "7", r#"{"title": 7, "#, r#"{"title": "\ud800"}"#, "{} {}", &"[".repeat(5000)]
    {
        let found = wrong(body);
        assert_eq!(found.len(), 1, "{body} {found:?}");
        assert!(found[0].starts_with("body: "), "{body} {found:?}");
    }
}

#[derive(Debug, Default, Deserialize)]
struct TestQuery {
    limit: Option<Limit>,
    colour: Option<Colour>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    from: Option<OffsetDateTime>,
    cursor: Option<String>,
}

fn wrong_query(query: &str) -> Vec<String> {
    let refusal = extract::query::<TestQuery>(query).unwrap_err();
    refusal.errors.into_iter().map(|error| format!("{}: {}", error.field, error.message)).collect()
}

#[test]
fn query_errors_name_all_parameters() {
    let mut found = wrong_query("limit=0&colour=green&from=2030-01-01T00:00:00+02:00&cursor=x&other=1");
    found.sort();
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(
        (found[0].as_str(), found[2].as_str()),
        ("colour: must be red or dark_blue", "limit: must be 1 to 100")
    );
    assert!(found[1].starts_with("from: ") && found[1].contains("%2B"), "{}", found[1]);
    for (query, expected) in [
        ("limit=ten", "limit: must be a whole number"),
        ("limit=99999999999", "limit: is out of range"),
        ("limit=101", "limit: must be 1 to 100"),
        ("limit=1&limit=2", "limit: is there more than once"),
        ("from=2030-01-01", "from: must be a time as RFC 3339 writes it, such as 2030-01-31T10:00:00Z"),
    ] {
        assert_eq!(wrong_query(query), [expected], "{query}");
    }
}

#[test]
fn blank_query_values_count_as_absent() {
    let asked = extract::query::<TestQuery>("limit=&colour=+&from=%20%09&cursor=&limit=5").unwrap();
    assert!(asked.colour.is_none() && asked.from.is_none() && asked.cursor.is_none());
    assert_eq!(crate::wire::limit(asked.limit), Some(5));
    let asked = extract::query::<TestQuery>("limit&other=").unwrap();
    assert_eq!(crate::wire::limit(asked.limit), None);
}
