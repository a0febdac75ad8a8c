//! JSON requests as Go's protojson reads them for Twirp: `null` is a missing field, and an enum's value that the server
//! does not know is as if the field were missing. What else is wrong stays wrong.

use livekit_protocol as proto;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// The first JSON value of the body; what follows it is not read.
pub(super) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, serde_json::Error> {
    let mut value = Value::deserialize(&mut serde_json::Deserializer::from_slice(body))?;
    tidy(&mut value);
    T::deserialize(value)
}

/// Maps of strings: their keys are data, whatever they are called.
const MAPS: [&str; 4] = ["attributes", "metadata", "tags", "headers"];

fn tidy(value: &mut Value) {
    match value {
        Value::Object(fields) => tidy_fields(fields),
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn tidy_fields(fields: &mut Map<String, Value>) {
    fields.retain(|name, value| {
        // Requests may have names in camelCase or in snake_case.
        let name = name.to_ascii_lowercase().replace('_', "");
        match (values(&name), &mut *value) {
            (_, Value::Null) => return false,
            // Keys of these maps are data and may be called like a field.
            (None, _) if MAPS.contains(&name.as_str()) => {}
            (None, value) => tidy(value),
            (Some(known), Value::Array(items)) => items.retain_mut(|item| keep(item, known)),
            (Some(known), value) => return keep(value, known),
        }
        true
    });
}

/// Whether an enum has this value: by name or by number.
type Known = fn(&Value) -> bool;

fn keep(value: &mut Value, known: Known) -> bool {
    // protojson accepts numbers as texts.
    if let Some(number) = value.as_str().and_then(|text| text.parse::<i32>().ok()) {
        *value = number.into();
    }
    known(value)
}

/// The fields of requests that are enums, without `_` and in lower case.
fn values(field: &str) -> Option<Known> {
    Some(match field {
        "kind" => |value| is(value, proto::data_packet::Kind::from_str_name),
        "canpublishsources" => |value| is(value, proto::TrackSource::from_str_name),
        "restartpolicy" => |value| is(value, proto::JobRestartPolicy::from_str_name),
        "preset" => |value| is(value, proto::EncodingOptionsPreset::from_str_name),
        "filetype" => |value| is(value, proto::EncodedFileType::from_str_name),
        "audiomixing" => |value| is(value, proto::AudioMixing::from_str_name),
        "audiocodec" => |value| is(value, proto::AudioCodec::from_str_name),
        "videocodec" => |value| is(value, proto::VideoCodec::from_str_name),
        "protocol" => |value| {
            is(value, proto::StreamProtocol::from_str_name)
                || is(value, proto::SegmentedFileProtocol::from_str_name)
        },
        "filenamesuffix" => |value| {
            is(value, proto::SegmentedFileSuffix::from_str_name)
                || is(value, proto::ImageFileSuffix::from_str_name)
        },
        _ => return None,
    })
}

/// A value of another type is left to the decoder, which refuses it.
fn is<E: TryFrom<i32>>(value: &Value, by_name: fn(&str) -> Option<E>) -> bool {
    match value {
        Value::String(name) => by_name(name).is_some(),
        Value::Number(number) => {
            let number = number.as_i64().and_then(|number| i32::try_from(number).ok());
            number.is_some_and(|number| E::try_from(number).is_ok())
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(kind: &str) -> Option<i32> {
        let body = format!(r#"{{"room": "r", "kind": {kind}}}"#);
        parse::<proto::SendDataRequest>(body.as_bytes()).ok().map(|request| request.kind)
    }

    #[test]
    fn unknown_enum_values_are_left_out() {
        let lossy = proto::data_packet::Kind::Lossy as i32;
        for known in ["\"LOSSY\"", "1", "\"1\""] {
            assert_eq!(kind(known), Some(lossy), "{known}");
        }
        for unknown in ["\"NOPE\"", "77", "null"] {
            assert_eq!(kind(unknown), Some(0), "{unknown}");
        }
        assert_eq!(kind("true"), None);
    }

    #[test]
    fn unknown_enum_values_of_lists_are_left_out() {
        let body = br#"{"permission": {"canPublishSources": ["CAMERA", "NOPE"], "can_publish": null}}"#;
        let request: proto::UpdateParticipantRequest = parse(body).unwrap();
        let permission = request.permission.unwrap();
        assert_eq!(permission.can_publish_sources, [proto::TrackSource::Camera as i32]);
    }

    #[test]
    fn attributes_named_like_enums_are_data() {
        let body = br#"{"attributes": {"kind": "NOPE", "protocol": "x"}}"#;
        let request: proto::UpdateParticipantRequest = parse(body).unwrap();
        assert_eq!(request.attributes.len(), 2);
    }
}
