//! Requests with unknown fields, several wrong fields, another encoding, or a byte order mark. The routes and their
//! fields come from the OpenAPI document, so that the tests cover all.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::{
    fakes::{RECORDING, ROOM, SESSION},
    support::{Gateway, answer, args, checked, token},
};

/// A gateway whose rate limits these tests do not reach.
async fn unlimited() -> Gateway {
    let mut config = checked(args());
    let often = gateway::Rate::new(100_000, 100_000);
    (config.rates.user, config.rates.moderation) = (often, often);
    Gateway::with(config).await
}

/// An operation with a JSON body, or without a body where one could be sent.
struct Operation {
    method: Method,
    path: String,
    schema: Option<Value>,
    is_lenient: bool,
}

/// Returns the document and all POST, PUT, PATCH and DELETE operations for signed-in users.
async fn operations(gateway: &Gateway) -> (Value, Vec<Operation>) {
    let (_, document) = answer(gateway.get("/openapi.json")).await;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let tags = operation["tags"].as_array().cloned().unwrap_or_default();
            if method == Method::GET || path.contains("webhook") || tags.contains(&json!("Nests")) {
                continue; // webhooks are from LiveKit, and bodies for nests are signed
            }
            let schema = operation["requestBody"]["content"]
                .get("application/json")
                .map(|json| json["schema"].clone());
            let path = path
                .replace("{bookingId}", SESSION)
                .replace("{sessionId}", SESSION)
                .replace("{notificationId}", crate::fakes::NOTIFICATION)
                .replace("{recordingId}", RECORDING)
                .replace("{recording_id}", RECORDING)
                .replace("{room_id}", ROOM)
                .replace("{ref}", SESSION);
            assert!(!path.contains('{'), "{path}: a parameter that this test does not know");
            let is_lenient = path.starts_with("/api/v1/live");
            found.push(Operation { method, path, schema, is_lenient });
        }
    }
    assert!(found.len() > 30, "{} operations", found.len());
    (document, found)
}

/// Resolves references, and the option of a nullable schema that is not null.
fn resolved<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return resolved(document, &document["components"]["schemas"][name]);
    }
    let options = schema["oneOf"].as_array().into_iter().flatten();
    let option = options.into_iter().find(|option| option["type"] != "null");
    option.map_or(schema, |option| resolved(document, option))
}

/// Returns a value that fits a schema.
fn sample(document: &Value, schema: &Value) -> Value {
    let schema = resolved(document, schema);
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().find(|kind| **kind != "null").unwrap().as_str(),
        kind => kind.as_str(),
    };
    match kind {
        Some("object") => {
            let fields = schema["properties"].as_object().into_iter().flatten();
            fields.map(|(name, field)| (name.clone(), sample(document, field))).collect()
        }
        Some("array") => json!([sample(document, &schema["items"])]),
        Some("string") if schema["format"] == "date-time" => json!("2030-01-01T10:00:00Z"),
        Some("string") => schema["enum"].get(0).cloned().unwrap_or(json!("x")),
        Some("integer") => json!(30),
        Some("boolean") => json!(true),
        other => panic!("{other:?} in {schema}"),
    }
}

/// Returns pointers to all objects in a body.
fn objects(body: &Value, at: &str) -> Vec<String> {
    let inner = body.as_object().into_iter().flatten();
    let inner = inner.filter(|(_, value)| value.is_object());
    let deeper = inner.flat_map(|(name, value)| objects(value, &format!("{at}/{name}")));
    std::iter::once(at.to_owned()).chain(deeper).collect()
}

fn send(gateway: &Gateway, operation: &Operation, body: &Value) -> RequestBuilder {
    let request = gateway.request(operation.method.clone(), &operation.path);
    request.bearer_auth(token("host-1")).body(body.to_string())
}

#[tokio::test]
async fn unknown_fields_are_400_in_every_strict_body() {
    let gateway = unlimited().await;
    let (document, operations) = operations(&gateway).await;
    for operation in operations {
        let shown = format!("{} {}", operation.method, operation.path);
        let good = operation.schema.as_ref().map_or(json!({}), |schema| sample(&document, schema));
        let (status, reply) = answer(send(&gateway, &operation, &good)).await;
        assert!(status < 300, "{shown}: {status} {reply}");
        for object in objects(&good, "") {
            let mut body = good.clone();
            body.pointer_mut(&object).unwrap()["recurrence"] = json!({"count": 4});
            let (status, reply) = answer(send(&gateway, &operation, &body)).await;
            if operation.is_lenient {
                assert!(status < 300, "{shown}: {status} {reply}");
                continue;
            }
            let field = format!("{}.recurrence", object.trim_start_matches('/').replace('/', "."))
                .trim_start_matches('.')
                .to_owned();
            assert_eq!((status, &reply["code"]), (400, &json!("invalid_request")), "{shown}: {reply}");
            assert_eq!(
                (&reply["field"], &reply["errors"][0]["field"]),
                (&json!(field), &json!(field)),
                "{shown}: {reply}"
            );
        }
    }
}

#[tokio::test]
async fn schemas_of_strict_bodies_allow_no_other_fields() {
    let gateway = unlimited().await;
    let (document, operations) = operations(&gateway).await;
    for operation in operations {
        let Some(schema) = operation.schema.filter(|_| !operation.is_lenient) else { continue };
        assert_eq!(resolved(&document, &schema)["additionalProperties"], json!(false), "{}", operation.path);
    }
    let about = document["info"]["description"].as_str().unwrap();
    assert!(about.contains("Unknown query parameters are ignored"), "{about}");
}

#[tokio::test]
async fn answers_name_every_wrong_field() {
    let gateway = unlimited().await;
    let body = json!({
        "guestId": 5, "title": ["x"], "scheduledAt": "2030-01-01T10:00:00 02:00", "durationMinutes": 1.5,
        "guest": {"name": null, "phone": "1"}, "recurrence": "weekly",
    });
    let request = gateway.post("/api/bookings").bearer_auth(token("ana")).header("idempotency-key", "");
    let (status, reply) = answer(request.json(&body)).await;
    assert_eq!(status, 400, "{reply}");
    let mut fields: Vec<_> =
        reply["errors"].as_array().unwrap().iter().map(|error| error["field"].as_str().unwrap()).collect();
    assert_eq!(
        (&reply["field"], &reply["message"]),
        (&reply["errors"][0]["field"], &reply["errors"][0]["message"])
    );
    fields.sort_unstable();
    let expected = [
        "Idempotency-Key",
        "durationMinutes",
        "guest.email",
        "guest.name",
        "guest.phone",
        "guestId",
        "recurrence",
        "scheduledAt",
        "title",
    ];
    assert_eq!(fields, expected);
    let query =
        "/api/bookings?limit=0&role=owner&status=open&from=2030-01-01T00:00:00+02:00&to=x&cursor=&colour=red";
    let (status, reply) = answer(gateway.get(query).bearer_auth(token("ana"))).await;
    assert_eq!((status, reply["errors"].as_array().unwrap().len()), (400, 5), "{reply}");
    let (status, reply) = answer(gateway.get("/api/bookings/x").bearer_auth(token("ana"))).await;
    assert_eq!((status, &reply["code"]), (400, &json!("invalid_session_id")));
    assert_eq!(reply["errors"][0]["field"], "bookingId");
    gateway.fake.assert_not_called();
}

#[tokio::test]
async fn messages_contain_no_words_of_a_parser() {
    let gateway = unlimited().await;
    let words = [
        "expected",
        "invalid type",
        "invalid value",
        "line 1",
        "column",
        "i32",
        "struct",
        "variant",
        "digit",
        "component",
        "parse",
        "serde",
    ];
    let check = |reply: Value, shown: &str| {
        let text = reply.to_string();
        assert!(reply["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{shown}: {text}");
        assert!(words.iter().all(|word| !text.contains(word)), "{shown}: {text}");
    };
    let (document, operations) = operations(&gateway).await;
    for operation in operations.iter().filter(|operation| operation.schema.is_some()) {
        let good = sample(&document, operation.schema.as_ref().unwrap());
        for name in good.as_object().unwrap().keys() {
            for wrong in [json!(7.5), json!({"a": 1}), json!(["a", {}]), json!("\u{1}"), json!(1e300)] {
                let mut body = good.clone();
                body[name] = wrong.clone();
                let (status, reply) = answer(send(&gateway, operation, &body)).await;
                assert!(matches!(status, 200..300 | 400), "{} {name} {wrong}: {reply}", operation.path);
                if status == 400 {
                    check(reply, &format!("{} {name} {wrong}", operation.path));
                }
            }
        }
    }
    let post =
        |body: &'static [u8]| answer(gateway.post("/api/bookings").bearer_auth(token("ana")).body(body));
    for body in
        [&b"{"[..], b"{\"a\":}", b"[", b"\xff", b"{\"title\":\"\xff\"}", b"{} x", b"{\"title\":\"\\ud800\"}"]
    {
        check(post(body).await.1, &body.escape_ascii().to_string());
    }
    for query in
        ["limit=ten", "limit=1.5", "limit=-", "from=soon", "role=x", "status=x", "to=2030-02-30T00:00:00Z"]
    {
        let request = gateway.get(&format!("/api/bookings?{query}")).bearer_auth(token("ana"));
        check(answer(request).await.1, query);
    }
    for path in [
        "/api/bookings/x",
        "/api/notifications/x/read",
        "/api/v1/live/rooms/x",
        "/api/sessions/x/recordings/y",
    ] {
        let method = if path.ends_with("read") { Method::POST } else { Method::GET };
        check(answer(gateway.request(method, path).bearer_auth(token("ana"))).await.1, path);
    }
}

#[tokio::test]
async fn compressed_bodies_are_415_and_plain_ones_are_read() {
    let gateway = unlimited().await;
    let (_, operations) = operations(&gateway).await;
    for operation in &operations {
        for encoding in ["gzip", "br", "deflate", "zstd", "x-gzip", "identity, gzip", "GZIP"] {
            let request = send(&gateway, operation, &json!({})).header("content-encoding", encoding);
            let response = request.send().await.unwrap();
            if operation.schema.is_none() && operation.is_lenient {
                continue; // its body is not read
            }
            assert_eq!(response.headers()["accept-encoding"], "identity", "{} {encoding}", operation.path);
            let (status, reply) = crate::support::status_and_body(response).await;
            assert_eq!(
                (status, &reply["code"]),
                (415, &json!("unsupported_encoding")),
                "{} {encoding}",
                operation.path
            );
        }
    }
    let book =
        json!({"guestId": "g", "title": "T", "scheduledAt": "2030-01-01T10:00:00Z", "durationMinutes": 60});
    for encoding in ["identity", "Identity", "", "identity, identity"] {
        let request =
            gateway.post("/api/bookings").bearer_auth(token("ana")).header("content-encoding", encoding);
        assert_eq!(answer(request.json(&book)).await.0, 201, "{encoding}");
    }
    let request = gateway.post("/api/bookings").bearer_auth(token("ana"));
    assert_eq!(answer(request.body(format!("\u{feff}{book}"))).await.0, 201, "with a byte order mark");
}

#[tokio::test]
async fn tokens_with_unusable_names_and_pictures_lose_them() {
    let gateway = unlimited().await;
    let ask = async |field: &str, value: &str| {
        let mut claims = crate::support::claims("ana");
        claims[field] = json!(value);
        let (status, _) =
            answer(gateway.get("/api/bookings").bearer_auth(crate::support::sign(&claims))).await;
        (status, gateway.fake.calls().pop().and_then(|call| call.caller).unwrap_or_default())
    };
    assert_eq!(ask("name", "Ana\u{200b} \u{202e}B\n").await.1.name, "Ana B");
    assert_eq!(ask("name", "\u{3164}\u{2060}").await.1.name, "");
    assert_eq!(ask("name", &"x\u{200b}".repeat(300)).await.1.name, "x".repeat(200), "counted after cleaning");
    for picture in [
        "javascript:alert(1)",
        "http://p.test/a.png",
        "https://u:p@p.test/a.png",
        "https://127.0.0.1/",
        "https://nas.local/a",
    ] {
        assert_eq!(ask("picture", picture).await.1.avatar_url, "", "{picture}");
    }
    assert_eq!(ask("picture", "https://p.example/a.png").await.1.avatar_url, "https://p.example/a.png");
    for sub in [
        "",
        " ana",
        "ana ",
        "ana\n",
        "\tana",
        "an\u{200b}a",
        "an\u{202e}a",
        "a\na",
        "\u{3000}ana",
        "\u{3164}",
        "ana\u{feff}",
        "a\u{2028}b",
    ] {
        assert_eq!(ask("sub", sub).await.0, 401, "{sub:?}");
    }
    assert_eq!(ask("sub", "auth0|ana of üx").await.0, 200);
}

#[tokio::test]
async fn email_verified_is_passed_on_to_the_services() {
    let gateway = unlimited().await;
    for (claim, expected) in [
        (json!(false), Some(false)),
        (json!("false"), Some(false)),
        (json!(0), Some(false)),
        (json!(true), Some(true)),
        (Value::Null, None),
    ] {
        let mut claims = crate::support::claims("ana");
        claims["email_verified"] = claim.clone();
        let request = gateway.get("/api/bookings").bearer_auth(crate::support::sign(&claims));
        assert_eq!(answer(request).await.0, 200, "{claim}");
        assert_eq!(gateway.fake.last().caller.unwrap().email_verified, expected, "{claim}");
    }
}
