//! Lists all rooms on LiveKit in one answer that is read while it arrives, and checks whether LiveKit accepts our key.
//!
//! It does not use livekit-api, which keeps the whole answer with every field of each room. Most of that is the list of
//! codecs, which is not needed here.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use chassis::config;
use livekit_api::access_token::VideoGrants;
use livekit_protocol::ListRoomsRequest;
use prost::Message;
use reqwest::Response;

use super::{
    LiveKitError,
    twirp::{Twirp, unknown},
};

/// The most bytes of a room that are accepted.
const MAX_ROOM_BYTES: usize = 1024 * 1024;
/// The name of a room that is never created.
const NO_ROOM: &str = "greenroom-readiness";
/// The key of the field `rooms` of `ListRoomsResponse`: its number and wire type.
const ROOMS: usize = 1 << 3 | LENGTH_DELIMITED;
const LENGTH_DELIMITED: usize = 2;
/// The most bytes of a key and a length: 10 for each varint.
const MAX_HEAD_BYTES: usize = 20;

/// The fields of `livekit.Room` that are read. The others are skipped.
#[derive(Clone, PartialEq, Message)]
pub struct Summary {
    #[prost(string, tag = "1")]
    pub sid: String,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(string, tag = "8")]
    pub metadata: String,
    #[prost(uint32, tag = "9")]
    pub num_participants: u32,
}

#[derive(Clone, Debug)]
pub struct Lister(Twirp);

impl Lister {
    pub fn new(config: &config::LiveKit, timeout: Duration) -> reqwest::Result<Self> {
        Ok(Self(Twirp::new(config, timeout)?))
    }

    /// Passes every room to `each`. After an error some rooms are missing.
    pub async fn list(&self, mut each: impl FnMut(Summary)) -> Result<(), LiveKitError> {
        let mut answer = self.ask(&ListRoomsRequest::default()).await?; // without names: all rooms
        let mut buffer = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            buffer.extend_from_slice(&chunk);
            while let Some(room) = next_room(&mut buffer)? {
                each(room);
            }
        }
        if buffer.is_empty() { Ok(()) } else { Err(unknown("the list of rooms is cut off")) }
    }

    /// Whether LiveKit answers and accepts our key.
    pub async fn check(&self) -> Result<(), LiveKitError> {
        self.ask(&ListRoomsRequest { names: vec![NO_ROOM.to_owned()] }).await.map(drop)
    }

    async fn ask(&self, request: &ListRoomsRequest) -> Result<Response, LiveKitError> {
        let grants = VideoGrants { room_list: true, ..VideoGrants::default() };
        self.0.call("ListRooms", grants, request).await
    }
}

/// Takes the next complete room from the buffer. None: more bytes have to arrive.
fn next_room(buffer: &mut BytesMut) -> Result<Option<Summary>, LiveKitError> {
    while let Some((head, key, length)) = field(buffer)? {
        let Some(content) = buffer.get(head..head + length) else { break };
        let room = (key == ROOMS).then(|| Summary::decode(content)).transpose().map_err(unknown)?;
        buffer.advance(head + length);
        if room.is_some() {
            return Ok(room);
        }
    }
    Ok(None)
}

/// Reads the head of the next field: its own length, the key, and the length of the content. None: more bytes have to
/// arrive.
fn field(buffer: &[u8]) -> Result<Option<(usize, usize, usize)>, LiveKitError> {
    let mut rest = buffer;
    let head = prost::decode_length_delimiter(&mut rest)
        .and_then(|key| Ok((key, prost::decode_length_delimiter(&mut rest)?)));
    match head {
        Ok((key, length)) if key & 7 == LENGTH_DELIMITED && length <= MAX_ROOM_BYTES => {
            Ok(Some((buffer.len() - rest.len(), key, length)))
        }
        Err(_) if buffer.len() < MAX_HEAD_BYTES => Ok(None),
        _ => Err(unknown("the list of rooms is not a ListRoomsResponse")),
    }
}

#[cfg(test)]
mod tests {
    use livekit_protocol::{Codec, ListRoomsResponse, Room};

    use super::*;

    fn answer(rooms: u32) -> Vec<u8> {
        let codec =
            || Codec { mime: "video/H264".to_owned(), fmtp_line: "profile-level-id=42e01f".to_owned() };
        let room = |number: u32| Room {
            sid: format!("RM_{number}"),
            name: format!("session-{number}"),
            metadata: "{}".to_owned(),
            num_participants: number,
            enabled_codecs: std::iter::repeat_with(codec).take(15).collect(),
            ..Room::default()
        };
        ListRoomsResponse { rooms: (0..rooms).map(room).collect() }.encode_to_vec()
    }

    /// Reads an answer in pieces. Returns its rooms and the largest size of the buffer.
    fn read(answer: &[u8], piece: usize) -> Result<(Vec<Summary>, usize), LiveKitError> {
        let (mut buffer, mut rooms, mut most) = (BytesMut::new(), Vec::new(), 0);
        for chunk in answer.chunks(piece) {
            buffer.extend_from_slice(chunk);
            while let Some(room) = next_room(&mut buffer)? {
                rooms.push(room);
            }
            most = most.max(buffer.capacity());
        }
        if buffer.is_empty() { Ok((rooms, most)) } else { Err(unknown("cut off")) }
    }

    #[test]
    fn rooms_are_read_however_the_answer_is_cut() {
        let whole = answer(40);
        for piece in 1..300 {
            let (rooms, _) = read(&whole, piece).unwrap();
            assert_eq!(rooms.len(), 40, "pieces of {piece}");
            let last = &rooms[39];
            assert_eq!((last.sid.as_str(), last.name.as_str()), ("RM_39", "session-39"));
            assert_eq!((last.metadata.as_str(), last.num_participants), ("{}", 39));
        }
        assert_eq!(read(&[], 1).unwrap().0.len(), 0);
    }

    #[test]
    fn answer_is_not_kept_while_it_is_read() {
        let whole = answer(20_000);
        let (rooms, most) = read(&whole, 8 * 1024).unwrap();
        assert_eq!(rooms.len(), 20_000);
        assert!(most < 64 * 1024, "{most} of {} bytes were kept", whole.len());
    }

    #[test]
    fn answer_that_is_cut_off_or_wrong_is_unknown() {
        let whole = answer(3);
        for end in [whole.len() - 1, whole.len() / 2, 1] {
            let cut = read(&whole[..end], 16);
            assert!(matches!(cut, Err(LiveKitError::Unknown(_))), "{end}: {cut:?}");
        }
        let too_long = [10, 0xff, 0xff, 0xff, 0xff, 0x0f];
        for wrong in [&too_long[..], &[8, 1], b"<html>nothing here</html>", &[0xff; 32]] {
            assert!(matches!(read(wrong, 4), Err(LiveKitError::Unknown(_))), "{wrong:?}");
        }
    }
}
