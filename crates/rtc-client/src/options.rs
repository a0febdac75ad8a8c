//! The options of a client.

use livekit_protocol::{ClientInfo, client_info};

/// The newest protocol of livekit-client 2.23.
const PROTOCOL: i32 = 17;
const CLIENT_PROTOCOL: i32 = 2;

/// The two signalling paths of a LiveKit server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SignalPath {
    /// `/rtc/v1`: one peer connection, all options in `join_request`.
    #[default]
    V1,
    /// `/rtc`: one peer connection for each direction, options as query parameters.
    V0,
}

#[expect(clippy::struct_excessive_bools, reason = "independent settings")]
#[derive(Debug, Clone)]
pub struct Options {
    pub url: String,
    pub token: String,
    pub path: SignalPath,
    pub auto_subscribe: bool,
    pub adaptive_stream: bool,
    /// Sends the token in the `Authorization` header only, as the native SDKs do.
    pub token_in_header: bool,
    /// Uses JSON in text frames instead of protobuf in binary frames.
    pub json: bool,
    /// False: the client never sends or answers an offer, and so remains JOINED.
    pub media: bool,
    /// False: UDP packets are lost in both directions, until `Client::set_udp`.
    pub udp: bool,
    /// The client's description of itself.
    pub client_info: ClientInfo,
    /// The numbers of audio and video sections for receiving in the first offer of `/rtc/v1`.
    pub first_sections: (u32, u32),
    /// Offers H264 in addition to VP8, and publishes it where a track asks for it and the server accepts it.
    pub h264: bool,
    /// Continues to send tracks that the server has unpublished, as a client that violates the protocol would.
    pub keeps_unpublished: bool,
}

impl Options {
    pub fn new(url: &str, token: &str) -> Self {
        Self {
            url: url.to_owned(),
            token: token.to_owned(),
            path: SignalPath::V1,
            auto_subscribe: true,
            adaptive_stream: false,
            token_in_header: false,
            json: false,
            media: true,
            udp: true,
            client_info: ClientInfo {
                sdk: client_info::Sdk::Rust.into(),
                version: "0.1.0".to_owned(),
                protocol: PROTOCOL,
                client_protocol: CLIENT_PROTOCOL,
                ..ClientInfo::default()
            },
            // Sections for the first tracks of others, so that these need no further offer.
            first_sections: (3, 3),
            h264: false,
            keeps_unpublished: false,
        }
    }

    #[must_use]
    pub fn over(mut self, path: SignalPath) -> Self {
        self.path = path;
        self
    }

    #[must_use]
    pub fn without_media(mut self) -> Self {
        self.media = false;
        self
    }

    #[must_use]
    pub fn without_auto_subscribe(mut self) -> Self {
        self.auto_subscribe = false;
        self
    }
}
