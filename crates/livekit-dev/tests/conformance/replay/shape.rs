//! The compared parts of a message: its kind, the values that are not random, and which fields are set.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::differences::{IGNORED_FIELDS, is_quiet_end, lane_of, loses_tracks};

/// One compared line of a lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub lane: String,
    pub text: String,
}

/// Converts the messages of one socket into lines. It remembers each participant, because repeated updates are not
/// compared.
#[derive(Default)]
pub struct Shaper {
    /// The session and the latest line of each, by identity.
    known: BTreeMap<String, (Value, String)>,
}

impl Shaper {
    /// Whether it knows all participants that `other` knows. Presence is announced late and adds no line.
    pub fn knows_all_of(&self, other: &Self) -> bool {
        other.known.keys().all(|identity| self.known.contains_key(identity))
    }
}

impl Shaper {
    pub fn lines(&mut self, message: &Value) -> Vec<Line> {
        let Some((kind, body)) = message.as_object().and_then(|message| message.iter().next()) else {
            return Vec::new();
        };
        let Some(lane) = lane_of(kind).filter(|_| !(kind == "leave" && body["reason"] == "CLIENT_INITIATED"))
        else {
            return Vec::new();
        };
        let texts = match kind.as_str() {
            "update" => self.updates(body),
            "join" => {
                self.remember(&body["participant"]);
                for other in items(&body["other_participants"]) {
                    self.remember(other);
                }
                vec![join(body)]
            }
            _ => vec![text(kind, body)],
        };
        texts.into_iter().map(|text| Line { lane: lane.to_owned(), text }).collect()
    }

    fn remember(&mut self, info: &Value) {
        self.known.insert(identity(info), (info["sid"].clone(), without_state(info)));
    }

    fn updates(&mut self, body: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        for info in items(&body["participants"]) {
            let gone = info["state"] == "DISCONNECTED";
            let line = without_state(info);
            // That a session joined or became ACTIVE is announced on a timer, or with its first track.
            let news = match self.known.insert(identity(info), (info["sid"].clone(), line.clone())) {
                Some((sid, known)) if sid == info["sid"] => known != line,
                _ => !items(&info["tracks"]).is_empty(),
            };
            if gone {
                self.known.remove(&identity(info));
            }
            if gone && is_quiet_end(info) {
                continue;
            }
            if gone {
                lines.push(format!("update {} DISCONNECTED {}", identity(info), info["disconnect_reason"]));
            } else if news {
                lines.push(format!("update {line}"));
            }
        }
        lines
    }
}

fn identity(info: &Value) -> String {
    info["identity"].as_str().unwrap_or_default().to_owned()
}

/// A participant without its state and version: the names of its fields, and its tracks.
fn without_state(info: &Value) -> String {
    // The real server lists both in the order of a map.
    let mut tracks: Vec<String> = items(&info["tracks"]).iter().map(track).collect();
    tracks.sort_unstable();
    if loses_tracks(info) {
        tracks = vec![tracks.len().to_string()];
    }
    let values = ["name", "metadata", "attributes", "permission"].map(|key| info[key].to_string());
    format!(
        "{} {} tracks {tracks:?} {}",
        identity(info),
        values.join(" "),
        fields(info, &["state", "version"])
    )
}

fn track(track: &Value) -> String {
    let source = track["source"].as_str().unwrap_or("UNKNOWN");
    let muted = if track["muted"] == true { " muted" } else { "" };
    format!("{source}{muted}")
}

fn join(body: &Value) -> String {
    let mut others: Vec<String> = items(&body["other_participants"]).iter().map(identity).collect();
    others.sort_unstable();
    format!(
        "join {} room {} participant {} others {others:?}",
        fields(body, &[]),
        fields(&body["room"], &[]),
        fields(&body["participant"], &[])
    )
}

fn text(kind: &str, body: &Value) -> String {
    match kind {
        "leave" => format!("leave {} {}", body["reason"], body["action"]),
        "track_published" => format!("track_published {}", fields(&body["track"], &[])),
        "mute" => format!("mute {}", body["muted"]),
        "request_response" => {
            format!("request_response {} {} {}", body["reason"], body["message"], fields(body, &[]))
        }
        "subscription_permission_update" => format!("{kind} {}", body["allowed"]),
        "room_update" => format!("room_update {}", body["room"]["metadata"]),
        "subscribed_quality_update" | "reconnect" => format!("{kind} {}", fields(body, &[])),
        _ => kind.to_owned(),
    }
}

/// A webhook: its event, its participant, and which fields are set.
pub fn hook(body: &Value) -> Line {
    let participant = body["participant"]["identity"].as_str();
    let parts = ["room", "participant", "track"].map(|part| fields(&body[part], &[]));
    let text = format!(
        "{} {} {} {} {}",
        body["event"],
        body["participant"]["disconnectReason"],
        body["track"]["source"],
        fields(body, &[]),
        parts.join(" ")
    );
    Line { lane: format!("hooks of {}", participant.unwrap_or("the room")), text }
}

/// A data packet as one client received it.
pub fn packet(label: &str, packet: &Value) -> Line {
    let packet = snake(packet);
    let kinds =
        ["user", "stream_header", "stream_chunk", "stream_trailer", "rpc_request", "rpc_ack", "rpc_response"];
    let kind = kinds.into_iter().find(|kind| packet.get(kind).is_some()).unwrap_or("other");
    let text = format!("{kind} {} {}", fields(&packet[kind], &[]), fields(&packet, &["kind"]));
    Line { lane: format!("data {label}"), text }
}

/// The names of the fields that are set.
fn fields(value: &Value, without: &[&str]) -> String {
    let names = value.as_object().into_iter().flat_map(Map::keys).map(String::as_str);
    let mut names: Vec<&str> = names
        .filter(|name| !without.contains(name) && IGNORED_FIELDS.iter().all(|(ignored, _)| ignored != name))
        .collect();
    names.sort_unstable();
    format!("{{{}}}", names.join(","))
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the value with the field names of the proto files.
pub fn snake(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            Value::Object(object.iter().map(|(key, value)| (snake_name(key), snake(value))).collect())
        }
        Value::Array(array) => Value::Array(array.iter().map(snake).collect()),
        other => other.clone(),
    }
}

fn snake_name(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
