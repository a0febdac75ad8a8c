//! Addresses that a recording is streamed to.

use livekit_protocol::{StreamOutput, StreamProtocol, egress_info::Request, output};

use super::check::{Wrong, streams_of};

/// Streams need an address of their protocol. Without a protocol, the first address says which one it is.
pub(super) fn check(stream: &StreamOutput) -> Result<(), Wrong> {
    let first = stream.urls.first();
    let protocol = match stream.protocol() {
        StreamProtocol::DefaultProtocol => {
            // The protocol is taken from the address, so without an address there is none.
            let first = first.ok_or(Wrong::Field("stream protocol"))?;
            protocol_of(first).ok_or_else(|| Wrong::url(first, "invalid protocol"))?
        }
        named => named,
    };
    stream.urls.iter().try_for_each(|url| check_url(url, protocol))
}

pub(super) fn check_url(url: &str, protocol: StreamProtocol) -> Result<(), Wrong> {
    if protocol_of(url) != Some(protocol) {
        return Err(Wrong::url(url, "invalid scheme"));
    }
    let path = url.split_once("://").map(|(_, path)| path).unwrap_or_default();
    // Host, application and stream key: fewer parts cannot be a stream.
    if url.starts_with("rtmp") && path.matches('/').count() < 2 {
        let format = "rtmp urls must be of format rtmp(s)://{host}(/{path})/{app}/{stream_key}( live=1)";
        return Err(Wrong::url(url, format));
    }
    Ok(())
}

fn protocol_of(url: &str) -> Option<StreamProtocol> {
    let (scheme, _) = url.split_once(':')?;
    Some(match scheme {
        "rtmp" | "rtmps" | "mux" | "twitch" => StreamProtocol::Rtmp,
        "srt" => StreamProtocol::Srt,
        "ws" | "wss" => StreamProtocol::Websocket,
        _ => return None,
    })
}

/// The protocol that a recording streams with. None: it does not stream, or to a socket, and has no streams to change.
pub(super) fn protocol(request: &Request) -> Option<StreamProtocol> {
    let stream = match request {
        Request::Egress(request) => request.outputs.iter().find_map(|output| match &output.config {
            Some(output::Config::Stream(stream)) => Some(stream),
            _ => None,
        }),
        Request::RoomComposite(request) => streams_of(request).first().copied(),
        Request::Web(request) => streams_of(request).first().copied(),
        Request::TrackComposite(request) => streams_of(request).first().copied(),
        Request::Participant(request) => request.stream_outputs.first(),
        Request::Track(_) | Request::Replay(_) => None,
    }?;
    let protocol = match stream.protocol() {
        StreamProtocol::DefaultProtocol => stream.urls.first().and_then(|url| protocol_of(url)),
        named => Some(named),
    };
    protocol.filter(|protocol| *protocol != StreamProtocol::Websocket)
}
