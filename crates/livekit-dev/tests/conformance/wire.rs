//! Twirp's two encodings and errors, and the limits and paths around them.

use livekit_protocol as proto;
use prost::Message;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::target::{Target, fresh};

const CREATE: &str = "/twirp/livekit.RoomService/CreateRoom";

fn creator() -> Value {
    json!({"roomCreate": true, "roomList": true})
}

#[tokio::test]
async fn json_answers_use_proto_names_and_emit_defaults() {
    let target = Target::start().await;
    let name = fresh("json");
    let (status, room) = target.json("CreateRoom", &creator(), &json!({"name": name})).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(room["name"], name);
    assert_eq!(room["empty_timeout"], 300);
    assert_eq!(room["max_participants"], 0);
    assert_eq!(room["active_recording"], false);
    assert_eq!(room["metadata"], "");
    assert!(room["creation_time"].is_string(), "64 bits are strings: {room}");
    assert_eq!(room["enabled_codecs"][0]["fmtp_line"], "");
}

#[tokio::test]
async fn json_requests_may_use_either_spelling_and_unknown_fields() {
    let target = Target::start().await;
    for field in ["empty_timeout", "emptyTimeout"] {
        let body = json!({"name": fresh("spelling"), field: 42, "fromTheFuture": 1});
        let (status, room) = target.json("CreateRoom", &creator(), &body).await;
        assert_eq!((status, &room["empty_timeout"]), (StatusCode::OK, &json!(42)), "{field}");
    }
}

#[tokio::test]
async fn empty_list_is_an_empty_array_in_json() {
    let target = Target::start().await;
    let missing = json!({"names": [fresh("missing")]});
    let (status, answer) = target.json("ListRooms", &creator(), &missing).await;
    assert_eq!((status, answer), (StatusCode::OK, json!({"rooms": []})));
}

#[tokio::test]
async fn protobuf_and_json_show_the_same_room() {
    let target = Target::start().await;
    let name = fresh("both");
    let request = proto::CreateRoomRequest { name: name.clone(), ..Default::default() };
    let response = target
        .request(Method::POST, CREATE)
        .bearer_auth(target.token("", &creator()))
        .header("content-type", "application/protobuf")
        .body(request.encode_to_vec())
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/protobuf");
    let room = proto::Room::decode(response.bytes().await.unwrap()).unwrap();
    let (_, list) = target.json("ListRooms", &creator(), &json!({"names": [name]})).await;
    assert_eq!(list["rooms"][0]["sid"], room.sid);
}

#[tokio::test]
async fn unknown_method_is_a_bad_route() {
    let target = Target::start().await;
    let (status, error) = target.json("Nonsense", &creator(), &json!({})).await;
    assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &json!("bad_route")));
    assert_eq!(error["meta"]["twirp_invalid_route"], "POST /twirp/livekit.RoomService/Nonsense");
}

#[tokio::test]
async fn wrong_verb_or_content_type_is_a_bad_route() {
    let target = Target::start().await;
    let get = target.request(Method::GET, CREATE);
    let text = target.request(Method::POST, CREATE).header("content-type", "text/plain").body("{}");
    for (case, request) in [("GET", get), ("text", text)] {
        let response = request.bearer_auth(target.token("", &creator())).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{case}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "bad_route", "{case}");
    }
}

#[tokio::test]
async fn undecodable_body_is_malformed() {
    let target = Target::start().await;
    for (content_type, body) in [("application/json", "{"), ("application/protobuf", "\u{7f}")] {
        let request = target.request(Method::POST, CREATE).bearer_auth(target.token("", &creator()));
        let response = request.header("content-type", content_type).body(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{content_type}");
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "malformed", "{content_type}");
    }
}

fn large() -> String {
    format!("{{\"metadata\": \"{}\"}}", "x".repeat(11 * 1024 * 1024))
}

#[tokio::test]
async fn body_announced_as_over_ten_mebibytes_is_413() {
    let target = Target::start().await;
    for path in [CREATE, "/rtc/validate", "/"] {
        // The server may close the connection while the body is still being sent.
        if let Ok(response) = target.request(Method::POST, path).body(large()).send().await {
            assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE, "{path}");
            assert_eq!(response.text().await.unwrap(), "request body too large", "{path}");
        }
    }
}

#[tokio::test]
async fn body_that_turns_out_over_ten_mebibytes_is_malformed() {
    let target = Target::start().await;
    let parts = large()
        .into_bytes()
        .chunks(64 * 1024)
        .map(|part| Ok::<_, std::io::Error>(part.to_vec()))
        .collect::<Vec<_>>();
    let body = reqwest::Body::wrap_stream(futures::stream::iter(parts));
    let request = target.request(Method::POST, CREATE).bearer_auth(target.token("", &creator()));
    // The server may close the connection while the body is still being sent.
    if let Ok(response) = request.header("content-type", "application/json").body(body).send().await {
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        assert_eq!(response.json::<Value>().await.unwrap()["code"], "malformed");
    }
}

/// Newer servers put a prefix before the message and older ones do not, so clients must match only the code.
#[tokio::test]
async fn error_of_the_rpc_layer_has_a_prefixed_message() {
    let target = Target::start().await;
    let (status, error) = target.json("DeleteRoom", &creator(), &json!({"room": fresh("no")})).await;
    assert_eq!((status, &error["code"]), (StatusCode::NOT_FOUND, &json!("not_found")));
    let msg = error["msg"].as_str().unwrap();
    assert!(msg.ends_with("requested room does not exist"), "{msg}");
    if target.is_dev() {
        assert_eq!(msg, "twirp error unknown: requested room does not exist");
    }
}

#[tokio::test]
async fn double_slash_before_twirp_is_tolerated() {
    let target = Target::start().await;
    let request = target.request(Method::POST, "//twirp/livekit.RoomService/ListRooms");
    let response = request.bearer_auth(target.token("", &creator())).json(&json!({})).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
}

#[tokio::test]
async fn root_answers_ok_and_other_paths_are_not_found() {
    let target = Target::start().await;
    let root = target.request(Method::GET, "/").send().await.unwrap();
    assert_eq!((root.status(), root.text().await.unwrap().as_str()), (StatusCode::OK, "OK"));
    for path in ["/nothing", "/settings/regions", "/twirp/livekit.Nothing/Do"] {
        let response = target.request(Method::GET, path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::NOT_FOUND, "{path}");
    }
}

/// The text of an answer, without the white space that differs between builds of the real server.
async fn text(target: &Target, method: &str, body: &Value) -> String {
    let path = format!("/twirp/livekit.RoomService/{method}");
    let request = target.request(Method::POST, &path).bearer_auth(target.token("", &creator()));
    let text = request.json(body).send().await.unwrap().text().await.unwrap();
    text.replace("\": ", "\":").replace(", \"", ",\"").replace(", {", ",{")
}

#[tokio::test]
async fn json_fields_have_the_order_of_the_protocol() {
    let target = Target::start().await;
    let name = fresh("order");
    let room = text(&target, "CreateRoom", &json!({"name": name})).await;
    let start =
        format!(r#"","name":"{name}","empty_timeout":300,"departure_timeout":20,"max_participants":0,"#);
    assert!(room.starts_with(r#"{"sid":"RM_"#) && room.contains(&start), "{room}");
    let end =
        r#""metadata":"","num_participants":0,"num_publishers":0,"active_recording":false,"version":null}"#;
    assert!(room.ends_with(end), "{room}");
    let error = text(&target, "Nonsense", &json!({})).await;
    assert!(error.starts_with(r#"{"code":"bad_route","msg":"no handler for path"#), "{error}");
    assert!(error.contains(r#"","meta":{"twirp_invalid_route":""#), "{error}");
}

#[tokio::test]
async fn unknown_enum_value_in_json_is_ignored() {
    let target = Target::start().await;
    let room = target.create("enums").await.name;
    let admin = json!({"roomAdmin": true, "room": room});
    for kind in [json!("NOPE"), json!(77), json!("1"), Value::Null] {
        let body = json!({"room": room, "data": "aGk=", "kind": kind});
        assert_eq!(target.json("SendData", &admin, &body).await, (StatusCode::OK, json!({})), "{kind}");
    }
}

#[tokio::test]
async fn value_of_the_wrong_type_in_json_is_malformed() {
    let target = Target::start().await;
    for (field, value) in [
        ("name", json!(1)),
        ("empty_timeout", json!(-1)),
        ("empty_timeout", json!("x")),
        ("empty_timeout", json!(4_294_967_296_u64)),
        ("agents", json!("x")),
    ] {
        let (status, error) = target.json("CreateRoom", &creator(), &json!({field: value})).await;
        assert_eq!((status, &error["code"]), (StatusCode::BAD_REQUEST, &json!("malformed")), "{field}");
    }
    let room = target.create("types").await.name;
    let admin = json!({"roomAdmin": true, "room": room});
    for (field, value) in [("data", "!!"), ("kind", "true")] {
        let value = if value == "true" { json!(true) } else { json!(value) };
        let mut body = json!({"room": room, "data": "aGk="});
        body[field] = value;
        assert_eq!(target.json("SendData", &admin, &body).await.0, StatusCode::BAD_REQUEST, "{field}");
    }
}
