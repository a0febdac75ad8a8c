//! What a client asks for when it connects: the query of `/rtc`, or the `join_request` of `/rtc/v1`.

use std::{
    collections::HashMap,
    io::{self, Read},
};

use base64::{Engine, engine::general_purpose::URL_SAFE};
use flate2::read::GzDecoder;
use livekit_protocol::{
    AddTrackRequest, ClientInfo, JoinRequest, SessionDescription, SyncState, WrappedJoinRequest, client_info,
    wrapped_join_request::Compression,
};
use prost::Message;

/// The size of an inflated join request, in bytes.
const INFLATED: usize = 1024 * 1024;

/// What does not depend on the path.
#[derive(Clone, Debug, Default)]
pub(crate) struct Join {
    /// One peer connection for both directions (`/rtc/v1`).
    pub single: bool,
    pub client: ClientInfo,
    pub auto_subscribe: bool,
    pub offer: Option<SessionDescription>,
    pub tracks: Vec<AddTrackRequest>,
    pub metadata: String,
    pub attributes: HashMap<String, String>,
    pub reconnect: bool,
    pub sync_state: Option<SyncState>,
}

/// Why a request to join cannot be read; each is answered with 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnreadableJoin {
    #[error("join_request is required")]
    Missing,
    #[error("cannot base64 decode wrapped join request")]
    NotBase64,
    #[error("cannot unmarshal wrapped join request")]
    NotWrapped,
    #[error("cannot read decompressed join request")]
    NotCompressed,
    #[error("join request too large")]
    TooLarge,
    #[error("cannot unmarshal join request")]
    NotJoinRequest,
    #[error("cannot decode attributes")]
    Attributes,
}

type Query = HashMap<String, String>;

/// What is done about attributes that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attributes {
    /// They are left out: a connection is made anyway.
    Optional,
    /// They are an error: `validate` says so.
    Strict,
}

/// The parameters of `/rtc`. A join request, if there is one, says everything.
pub(crate) fn from_query(query: &Query, reading: Attributes) -> Result<Join, UnreadableJoin> {
    if query.get("join_request").is_some_and(|request| !request.is_empty()) {
        return from_request(query);
    }
    let text = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let flag = |name: &str| matches!(text(name), "1" | "true");
    Ok(Join {
        single: false,
        client: ClientInfo {
            version: text("version").to_owned(),
            protocol: text("protocol").parse().unwrap_or_default(),
            client_protocol: text("client_protocol").parse().unwrap_or_default(),
            capabilities: text("capabilities").split(',').filter_map(capability).collect(),
            ..ClientInfo::default()
        },
        // Absent means yes, as the real server reads it.
        auto_subscribe: text("auto_subscribe").is_empty() || flag("auto_subscribe"),
        attributes: match (attributes(text("attributes")), reading) {
            (Some(attributes), _) => attributes,
            (None, Attributes::Optional) => HashMap::new(),
            (None, Attributes::Strict) => return Err(UnreadableJoin::Attributes),
        },
        reconnect: flag("reconnect"),
        ..Join::default()
    })
}

/// The `join_request` of `/rtc/v1`.
pub(crate) fn from_request(query: &Query) -> Result<Join, UnreadableJoin> {
    let text = query.get("join_request").filter(|text| !text.is_empty()).ok_or(UnreadableJoin::Missing)?;
    let bytes = URL_SAFE.decode(text).map_err(|_| UnreadableJoin::NotBase64)?;
    let wrapped = WrappedJoinRequest::decode(bytes.as_slice()).map_err(|_| UnreadableJoin::NotWrapped)?;
    let request = match Compression::try_from(wrapped.compression) {
        Ok(Compression::None) => wrapped.join_request,
        Ok(Compression::Gzip) => inflate(&wrapped.join_request).map_err(|_| UnreadableJoin::NotCompressed)?,
        // As the real server does with a compression that it does not know.
        Err(_) => Vec::new(),
    };
    // After inflating: a small request may become a large one.
    if request.len() > INFLATED {
        return Err(UnreadableJoin::TooLarge);
    }
    let request = JoinRequest::decode(request.as_slice()).map_err(|_| UnreadableJoin::NotJoinRequest)?;
    let settings = request.connection_settings.unwrap_or_default();
    Ok(Join {
        single: true,
        client: request.client_info.unwrap_or_default(),
        auto_subscribe: settings.auto_subscribe,
        offer: request.publisher_offer,
        tracks: request.add_track_requests,
        metadata: request.metadata,
        attributes: request.participant_attributes,
        reconnect: request.reconnect,
        sync_state: request.sync_state,
    })
}

/// At most one byte more than is allowed.
fn inflate(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut inflated = Vec::new();
    GzDecoder::new(bytes).take(INFLATED as u64 + 1).read_to_end(&mut inflated)?;
    Ok(inflated)
}

/// A name (`CAP_COMPRESSION_DEFLATE_RAW`) or a number.
fn capability(text: &str) -> Option<i32> {
    let named = client_info::Capability::from_str_name(text).map(|capability| capability as i32);
    named.or_else(|| text.parse().ok())
}

/// None: they cannot be read.
fn attributes(text: &str) -> Option<HashMap<String, String>> {
    if text.is_empty() {
        return Some(HashMap::new());
    }
    // `null` is JSON and means no attributes.
    let attributes: Option<HashMap<String, String>> =
        serde_json::from_slice(&URL_SAFE.decode(text).ok()?).ok()?;
    Some(attributes.unwrap_or_default())
}
