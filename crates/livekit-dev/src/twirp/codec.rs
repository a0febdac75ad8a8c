//! The two encodings of a Twirp call. A call is answered in the encoding that it was made in.

use axum::{
    body::Bytes,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use prost::Message;
use serde::de::DeserializeOwned;

use super::{
    error::{Code, TwirpError},
    lenient,
};
use crate::{
    auth::Caller,
    faults::{About, View},
    grants::{SipGrant, VideoGrant},
    proto_json::{self, Answer},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    Protobuf,
    Json,
}

impl Codec {
    /// By content type, without its parameters.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Self, String> {
        let given = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        match given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/protobuf" => Ok(Self::Protobuf),
            "application/json" => Ok(Self::Json),
            _ => Err(given.to_owned()),
        }
    }

    /// The room and the participant that a request names: its first two fields, in all methods about one room.
    pub(crate) fn about(self, method: &str, body: &[u8]) -> About {
        // Its first field is a list of names, not a room.
        if method.starts_with("ListRooms") {
            return About::default();
        }
        match self {
            Self::Protobuf => About {
                // By the number of the field, because the message is not known here.
                room: FirstField::decode(body).map(|named| named.text).unwrap_or_default(),
                identity: SecondField::decode(body).ok().map(|named| named.text),
            },
            Self::Json => {
                let request: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
                let text = |key: &str| request[key].as_str().map(str::to_owned);
                About {
                    // CreateRoom calls its room `name`.
                    room: text("room").or_else(|| text("name")).unwrap_or_default(),
                    identity: text("identity"),
                }
            }
        }
    }

    /// A body that cannot be decoded, or that was cut because it is too large.
    pub(crate) fn malformed(self) -> TwirpError {
        let encoding = match self {
            Self::Protobuf => "protobuf",
            Self::Json => "json",
        };
        TwirpError::new(Code::Malformed, format!("the {encoding} request could not be decoded"))
    }

    /// The answer of a method that lists `items`, when there are none.
    pub(crate) fn empty_list(self) -> impl IntoResponse {
        let body = match self {
            Self::Protobuf => "",
            Self::Json => "{\"items\":[]}",
        };
        ([(CONTENT_TYPE, self.content_type())], body)
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/protobuf",
            Self::Json => "application/json",
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct FirstField {
    #[prost(string, tag = "1")]
    text: String,
}

#[derive(Clone, PartialEq, Message)]
struct SecondField {
    #[prost(string, tag = "2")]
    text: String,
}

/// One call to one method: who makes it, what it says, and what is to be left out of the answer.
pub(crate) struct Call {
    pub codec: Codec,
    pub body: Bytes,
    pub caller: Caller,
    pub view: View,
}

pub(crate) type Answered = Result<Response, TwirpError>;

impl Call {
    pub(crate) fn answer<Req, Res>(&self, method: impl FnOnce(Req) -> Result<Res, TwirpError>) -> Answered
    where
        Req: Message + Default + DeserializeOwned,
        Res: Message + Answer,
    {
        self.encode(&method(self.decode()?)?)
    }

    pub(crate) fn decode<Req: Message + Default + DeserializeOwned>(&self) -> Result<Req, TwirpError> {
        match self.codec {
            Codec::Protobuf => Req::decode(self.body.clone()).map_err(|_| self.codec.malformed()),
            Codec::Json => lenient::parse(&self.body).map_err(|_| self.codec.malformed()),
        }
    }

    fn encode<Res: Message + Answer>(&self, answer: &Res) -> Answered {
        let body = match self.codec {
            Codec::Protobuf => answer.encode_to_vec(),
            Codec::Json => proto_json::to_json(answer)
                .and_then(|json| serde_json::to_vec(&json))
                .map_err(|error| TwirpError::new(Code::Internal, error.to_string()))?,
        };
        Ok(([(CONTENT_TYPE, self.codec.content_type())], body).into_response())
    }

    /// A grant that is not bound to a room.
    pub(crate) fn require(&self, holds: impl FnOnce(&VideoGrant) -> bool) -> Result<(), TwirpError> {
        let grant = self.caller.0.as_ref().and_then(|claims| claims.video.as_ref());
        if grant.is_some_and(holds) { Ok(()) } else { Err(TwirpError::denied()) }
    }

    /// A grant for telephony.
    pub(crate) fn require_sip(&self, holds: impl FnOnce(&SipGrant) -> bool) -> Result<(), TwirpError> {
        let grant = self.caller.0.as_ref().and_then(|claims| claims.sip.as_ref());
        if grant.is_some_and(holds) { Ok(()) } else { Err(TwirpError::denied()) }
    }

    /// `roomAdmin` is for exactly the room that the token names.
    pub(crate) fn require_admin(&self, room: &str) -> Result<(), TwirpError> {
        self.require(|grant| grant.room_admin && grant.room == room)
    }
}
