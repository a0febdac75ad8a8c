//! The WebSocket upgrade request, for both signalling paths.

use std::io::Write;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderValue, Request, header};
use livekit_protocol::{
    ConnectionSettings, JoinRequest, ReconnectReason, SessionDescription, WrappedJoinRequest,
    wrapped_join_request,
};
use prost::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use url::Url;

use crate::{Error, Options, SignalPath};

/// The difference between a first join and a resume.
pub enum Kind {
    Join { offer: Option<SessionDescription> },
    Resume { participant_sid: String },
}

pub fn request(options: &Options, kind: Kind) -> Result<Request<()>, Error> {
    let mut url = socket_url(options)?;
    if !options.token_in_header {
        url.query_pairs_mut().append_pair("access_token", &options.token);
    }
    match options.path {
        SignalPath::V1 => {
            url.query_pairs_mut().append_pair("join_request", &join_request(options, kind));
        }
        SignalPath::V0 => add_parameters(&mut url, options, &kind),
    }
    let mut request = url.as_str().into_client_request()?;
    if options.token_in_header {
        let value = HeaderValue::from_str(&format!("Bearer {}", options.token));
        request
            .headers_mut()
            .insert(header::AUTHORIZATION, value.map_err(|error| Error::Url(error.to_string()))?);
    }
    Ok(request)
}

fn socket_url(options: &Options) -> Result<Url, Error> {
    // At most once and only at the beginning: `https` becomes `wss`.
    let text = options.url.replacen("http", "ws", usize::from(options.url.starts_with("http")));
    let mut url = Url::parse(&text).map_err(|error| Error::Url(error.to_string()))?;
    url.set_path(match options.path {
        SignalPath::V1 => "/rtc/v1",
        SignalPath::V0 => "/rtc",
    });
    Ok(url)
}

fn add_parameters(url: &mut Url, options: &Options, kind: &Kind) {
    let flag = |on: bool| if on { "1" } else { "0" };
    let mut query = url.query_pairs_mut();
    query.append_pair("auto_subscribe", flag(options.auto_subscribe));
    let info = &options.client_info;
    query.append_pair("sdk", &info.sdk().as_str_name().to_lowercase()).append_pair("version", &info.version);
    query.append_pair("protocol", &info.protocol.to_string());
    query.append_pair("client_protocol", &info.client_protocol.to_string());
    if options.adaptive_stream {
        query.append_pair("adaptive_stream", "1");
    }
    if let Kind::Resume { participant_sid } = kind {
        query.append_pair("reconnect", "1").append_pair("sid", participant_sid);
    }
}

fn join_request(options: &Options, kind: Kind) -> String {
    let mut join = JoinRequest {
        client_info: Some(options.client_info.clone()),
        connection_settings: Some(ConnectionSettings {
            auto_subscribe: options.auto_subscribe,
            adaptive_stream: options.adaptive_stream,
            ..ConnectionSettings::default()
        }),
        ..JoinRequest::default()
    };
    match kind {
        Kind::Join { offer } => join.publisher_offer = offer,
        Kind::Resume { participant_sid } => {
            join.reconnect = true;
            join.reconnect_reason = ReconnectReason::RrSignalDisconnected.into();
            join.participant_sid = participant_sid;
        }
    }
    wrapped(&join.encode_to_vec())
}

/// Encodes a join request as the SDKs do: gzip, then base64url with padding.
fn wrapped(join: &[u8]) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let (compression, join_request) = match encoder.write_all(join).and_then(|()| encoder.finish()) {
        Ok(zipped) => (wrapped_join_request::Compression::Gzip, zipped),
        // Writing into memory cannot fail; the fallback avoids an `unwrap`.
        Err(_) => (wrapped_join_request::Compression::None, join.to_vec()),
    };
    let wrapped = WrappedJoinRequest { compression: compression.into(), join_request };
    BASE64_URL_SAFE.encode(wrapped.encode_to_vec())
}
