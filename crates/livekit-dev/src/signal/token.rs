//! The token that the server gives to its clients, so that they can come back after their first one has expired.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use livekit_protocol::{ParticipantInfo, ParticipantPermission, TrackSource};
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::{
    clock,
    config::Config,
    grants::{Claims, VideoGrant},
};

/// The shortest validity of a refreshed token, in seconds.
const AT_LEAST_S: i64 = 10 * 60;

#[derive(Serialize)]
struct Refreshed<'a> {
    iss: &'a str,
    sub: &'a str,
    exp: i64,
    nbf: i64,
    iat: i64,
    identity: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    kind: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    metadata: &'a str,
    #[serde(skip_serializing_if = "std::collections::HashMap::is_empty")]
    attributes: &'a std::collections::HashMap<String, String>,
    video: Value,
}

/// As long as the first one was valid, and with what the participant may do now.
pub(crate) fn refresh(
    config: &Config,
    claims: &Claims,
    info: &ParticipantInfo,
) -> Result<String, jsonwebtoken::errors::Error> {
    // Clients and the product compare these times with their own clocks.
    let now_s = clock::wall_s();
    // Without `nbf` the first token's length is not known, and the shortest validity counts.
    let lifetime = claims.exp.zip(claims.nbf).map_or(0, |(exp, nbf)| exp.saturating_sub(nbf));
    let refreshed = Refreshed {
        iss: &config.api_key,
        sub: &info.identity,
        exp: now_s.saturating_add(lifetime.max(AT_LEAST_S)),
        nbf: now_s,
        iat: now_s,
        identity: &info.identity,
        name: &info.name,
        kind: info.kind().as_str_name().to_lowercase(),
        metadata: &info.metadata,
        attributes: &info.attributes,
        video: grant(claims.video.as_ref(), info.permission.as_ref()),
    };
    let key = EncodingKey::from_secret(config.api_secret.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &refreshed, &key)
}

/// What is not the default is named.
fn grant(first: Option<&VideoGrant>, permission: Option<&ParticipantPermission>) -> Value {
    let mut video = Map::new();
    if let Some(first) = first {
        video.insert("room".to_owned(), json!(first.room));
        // Rights that cannot change while a participant is connected.
        for (name, set) in [
            ("roomJoin", first.room_join),
            ("roomCreate", first.room_create),
            ("roomAdmin", first.room_admin),
            ("recorder", first.recorder),
            ("agent", first.agent),
        ] {
            if set {
                video.insert(name.to_owned(), Value::Bool(true));
            }
        }
    }
    if let Some(now) = permission {
        for (name, value, default) in [
            ("canPublish", now.can_publish, true),
            ("canSubscribe", now.can_subscribe, true),
            ("canPublishData", now.can_publish_data, now.can_publish),
            ("canUpdateOwnMetadata", now.can_update_metadata, false),
            ("hidden", now.hidden, false),
        ] {
            if value != default {
                video.insert(name.to_owned(), Value::Bool(value));
            }
        }
        let sources: Vec<String> = now.can_publish_sources().map(source_name).collect();
        if !sources.is_empty() {
            video.insert("canPublishSources".to_owned(), json!(sources));
        }
    }
    Value::Object(video)
}

fn source_name(source: TrackSource) -> String {
    source.as_str_name().to_lowercase()
}
