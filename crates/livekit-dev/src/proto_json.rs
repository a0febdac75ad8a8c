//! Twirp's JSON: the names of the `.proto` file and every field, where the protocol crate's own serde writes
//! camelCase and leaves defaults out. One table for each message that we answer with says what to add.

use livekit_protocol as proto;
use serde::Serialize;
use serde_json::{Map, Value, json};

use Field::{Choice, Enum, Flag, List, Long, Message, Messages, Number, Text, Texts};

/// A message's fields in `.proto` spelling.
pub(crate) type Fields = &'static [(&'static str, Field)];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Field {
    Text,
    Number,
    /// 64 bits: a string in JSON.
    Long,
    Flag,
    /// Written by name; this is the name of 0.
    Enum(&'static str),
    /// A map of strings; its keys are data and stay as they are.
    Texts,
    List,
    Message(Fields),
    Messages(Fields),
    /// One of several messages: absent unless it is the one, and then only what it says.
    Choice,
}

/// A message that a method answers with.
pub(crate) trait Answer: Serialize {
    const FIELDS: Fields;
}

/// The message as a Twirp server writes it.
pub(crate) fn to_value<T: Answer>(message: &T) -> Result<Value, serde_json::Error> {
    Ok(complete(serde_json::to_value(message)?, T::FIELDS))
}

fn complete(message: Value, fields: Fields) -> Value {
    let Value::Object(mut given) = message else {
        return message;
    };
    let mut full = Map::new();
    for (name, field) in fields {
        let value = given.remove(&camel(name)).map(|value| field.complete(value)).or_else(|| field.default());
        full.extend(value.map(|value| ((*name).to_owned(), value)));
    }
    Value::Object(full)
}

impl Field {
    fn default(self) -> Option<Value> {
        Some(match self {
            Text => json!(""),
            Number => json!(0),
            Long => json!("0"),
            Flag => json!(false),
            Enum(zero) => json!(zero),
            Texts => json!({}),
            List | Messages(_) => json!([]),
            Message(_) => Value::Null,
            Choice => return None,
        })
    }

    fn complete(self, value: Value) -> Value {
        match (self, value) {
            (Message(fields), value) => complete(value, fields),
            (Messages(fields), Value::Array(items)) => {
                items.into_iter().map(|item| complete(item, fields)).collect()
            }
            (Choice, value) => snaked(value),
            (_, value) => value,
        }
    }
}

/// Keys as the `.proto` file has them.
fn snaked(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(key, value)| (snake(&key), snaked(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(snaked).collect(),
        value => value,
    }
}

fn snake(camel: &str) -> String {
    camel.chars().fold(String::new(), |mut name, letter| {
        if letter.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(letter.to_ascii_lowercase());
        name
    })
}

fn camel(snake: &str) -> String {
    let mut words = snake.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| {
        let mut letters = word.chars();
        let initial = letters.next().map(|letter| letter.to_ascii_uppercase());
        name + &initial.into_iter().chain(letters).collect::<String>()
    })
}

const VERSION: Fields = &[("unix_micro", Long), ("ticks", Number)];

const CODEC: Fields = &[("mime", Text), ("fmtp_line", Text)];

const ROOM: Fields = &[
    ("sid", Text),
    ("name", Text),
    ("empty_timeout", Number),
    ("departure_timeout", Number),
    ("max_participants", Number),
    ("creation_time", Long),
    ("creation_time_ms", Long),
    ("turn_password", Text),
    ("enabled_codecs", Messages(CODEC)),
    ("metadata", Text),
    ("num_participants", Number),
    ("num_publishers", Number),
    ("active_recording", Flag),
    ("version", Message(VERSION)),
];

const PERMISSION: Fields = &[
    ("can_subscribe", Flag),
    ("can_publish", Flag),
    ("can_publish_data", Flag),
    ("can_publish_sources", List),
    ("hidden", Flag),
    ("recorder", Flag),
    ("can_update_metadata", Flag),
    ("agent", Flag),
    ("can_subscribe_metrics", Flag),
    ("can_manage_agent_session", Flag),
];

const TRACK: Fields = &[
    ("sid", Text),
    ("type", Enum("AUDIO")),
    ("name", Text),
    ("muted", Flag),
    ("width", Number),
    ("height", Number),
    ("simulcast", Flag),
    ("disable_dtx", Flag),
    ("source", Enum("UNKNOWN")),
    ("layers", List),
    ("mime_type", Text),
    ("mid", Text),
    ("codecs", List),
    ("stereo", Flag),
    ("disable_red", Flag),
    ("encryption", Enum("NONE")),
    ("stream", Text),
    ("version", Message(VERSION)),
    ("audio_features", List),
    ("backup_codec_policy", Enum("PREFER_REGRESSION")),
    ("packet_trailer_features", List),
];

const PARTICIPANT: Fields = &[
    ("sid", Text),
    ("identity", Text),
    ("state", Enum("JOINING")),
    ("tracks", Messages(TRACK)),
    ("metadata", Text),
    ("joined_at", Long),
    ("joined_at_ms", Long),
    ("name", Text),
    ("version", Number),
    ("permission", Message(PERMISSION)),
    ("region", Text),
    ("is_publisher", Flag),
    ("kind", Enum("STANDARD")),
    ("attributes", Texts),
    ("disconnect_reason", Enum("UNKNOWN_REASON")),
    ("kind_details", List),
    ("data_tracks", List),
    ("client_protocol", Number),
    ("capabilities", List),
];

const FILE: Fields = &[
    ("filename", Text),
    ("started_at", Long),
    ("ended_at", Long),
    ("duration", Long),
    ("size", Long),
    ("location", Text),
];

const SEGMENTS: Fields = &[
    ("playlist_name", Text),
    ("live_playlist_name", Text),
    ("duration", Long),
    ("size", Long),
    ("playlist_location", Text),
    ("live_playlist_location", Text),
    ("segment_count", Long),
    ("started_at", Long),
    ("ended_at", Long),
];

const EGRESS: Fields = &[
    ("egress_id", Text),
    ("room_id", Text),
    ("room_name", Text),
    ("source_type", Enum("EGRESS_SOURCE_TYPE_WEB")),
    ("status", Enum("EGRESS_STARTING")),
    ("started_at", Long),
    ("ended_at", Long),
    ("updated_at", Long),
    ("stream_results", List),
    ("file_results", Messages(FILE)),
    ("segment_results", Messages(SEGMENTS)),
    ("image_results", List),
    ("error", Text),
    ("error_code", Number),
    ("details", Text),
    ("manifest_location", Text),
    ("backup_storage_used", Flag),
    ("retry_count", Number),
    ("egress", Choice),
    ("room_composite", Choice),
    ("web", Choice),
    ("participant", Choice),
    ("track_composite", Choice),
    ("track", Choice),
];

macro_rules! answers {
    ($($message:ident: $fields:expr;)*) => {
        $(impl Answer for proto::$message { const FIELDS: Fields = $fields; })*
    };
}

answers! {
    Room: ROOM;
    ParticipantInfo: PARTICIPANT;
    TrackInfo: TRACK;
    ListRoomsResponse: &[("rooms", Messages(ROOM))];
    ListParticipantsResponse: &[("participants", Messages(PARTICIPANT))];
    MuteRoomTrackResponse: &[("track", Message(TRACK))];
    DeleteRoomResponse: &[];
    RemoveParticipantResponse: &[];
    UpdateSubscriptionsResponse: &[];
    SendDataResponse: &[];
    EgressInfo: EGRESS;
    ListEgressResponse: &[("items", Messages(EGRESS)), ("next_page_token", Message(&[("token", Text)]))];
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// The names of a message in the `.proto` file, from what `Debug` prints of its default.
    fn declared<T: Default + std::fmt::Debug>() -> BTreeSet<String> {
        let text = format!("{:#?}", T::default());
        let fields = text.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     "));
        fields
            .filter_map(|line| Some(line.trim().split_once(':')?.0.trim_start_matches("r#").to_owned()))
            .collect()
    }

    fn described(fields: Fields) -> BTreeSet<String> {
        let always = fields.iter().filter(|(_, field)| !matches!(field, Choice));
        always.map(|(name, _)| (*name).to_owned()).collect()
    }

    #[test]
    fn tables_name_every_field_of_the_protocol() {
        assert_eq!(described(ROOM), declared::<proto::Room>());
        assert_eq!(described(PARTICIPANT), declared::<proto::ParticipantInfo>());
        assert_eq!(described(TRACK), declared::<proto::TrackInfo>());
        assert_eq!(described(PERMISSION), declared::<proto::ParticipantPermission>());
        assert_eq!(described(CODEC), declared::<proto::Codec>());
        assert_eq!(described(VERSION), declared::<proto::TimedVersion>());
        assert_eq!(described(FILE), declared::<proto::FileInfo>());
        assert_eq!(described(SEGMENTS), declared::<proto::SegmentsInfo>());
        let mut egress = declared::<proto::EgressInfo>();
        assert!(egress.remove("request") && egress.remove("result"), "the choices");
        assert_eq!(described(EGRESS), egress);
    }

    #[test]
    fn defaults_read_back_as_the_default_message() {
        let track = to_value(&proto::TrackInfo::default()).unwrap();
        assert_eq!(serde_json::from_value::<proto::TrackInfo>(track).unwrap(), proto::TrackInfo::default());
        let room = to_value(&proto::Room::default()).unwrap();
        assert_eq!(room["creation_time"], "0");
        assert_eq!(serde_json::from_value::<proto::Room>(room).unwrap(), proto::Room::default());
        let participant = to_value(&proto::ParticipantInfo::default()).unwrap();
        let back: proto::ParticipantInfo = serde_json::from_value(participant).unwrap();
        assert_eq!(back, proto::ParticipantInfo::default());
    }

    #[test]
    fn keys_of_attributes_are_left_alone() {
        let attributes = [("myKey".to_owned(), "1".to_owned())].into();
        let value = to_value(&proto::ParticipantInfo { attributes, ..Default::default() }).unwrap();
        assert_eq!(value["attributes"], json!({"myKey": "1"}));
    }
}
