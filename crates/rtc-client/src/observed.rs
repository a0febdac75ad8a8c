//! What a client has observed so far, and waiting for changes of it.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use livekit_protocol::{DataPacket, LeaveRequest, ParticipantInfo, Room, data_packet, signal_response};
use parking_lot::Mutex;
use tokio::sync::watch;

/// Everything that a client has observed. Read it in the closures of `Client::until` and `Client::seen`.
#[derive(Debug, Default)]
pub struct Seen {
    /// Every message of the server, with the number of its socket (1 for the first, 2 after a resume).
    pub messages: Vec<(u32, signal_response::Message)>,
    pub room: Room,
    pub participant: ParticipantInfo,
    /// The other participants by identity; removed when they leave.
    pub others: BTreeMap<String, ParticipantInfo>,
    /// Received media, by the sid of its track.
    pub received: BTreeMap<String, Received>,
    pub data: Vec<Data>,
    /// Whether all of the client's connections are established.
    pub connected: bool,
    /// How often they were established: 1 after the join, 2 after a resume with an ICE restart.
    pub connections: u32,
    /// How the current socket ended: a `leave`, a close, or both.
    pub end: Option<End>,
    /// Whether the current socket is closed.
    pub closed: bool,
    /// The newest token of the server.
    pub refreshed_token: Option<String>,
    /// The number of key frames that the server requested, by the sid of the track.
    pub keyframe_requests: BTreeMap<String, u32>,
    pub(crate) sections: BTreeMap<String, String>,
}

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Received {
    pub packets: u64,
    pub bytes: u64,
    pub frames: u64,
    pub keyframes: u64,
    /// Whether the last packet was H264.
    pub h264: bool,
    /// Width and height in the last key frame of VP8: they show which layer arrives.
    pub size: Option<(u16, u16)>,
    /// Packets that are missing below the highest sequence number so far.
    pub lost: u64,
    highest: Option<u64>,
}

impl Received {
    /// Records the sequence number of a packet. A late packet was counted as lost.
    pub(crate) fn number(&mut self, sequence: u64) {
        match self.highest {
            // It was counted as lost when a later packet arrived. A repeated packet may come here too, so not
            // below 0.
            Some(highest) if sequence <= highest => self.lost = self.lost.saturating_sub(1),
            Some(highest) => {
                self.lost += sequence - highest - 1;
                self.highest = Some(sequence);
            }
            None => self.highest = Some(sequence),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Data {
    /// The label of the channel: `_reliable` or `_lossy`.
    pub channel: String,
    pub packet: DataPacket,
}

impl Data {
    /// The payload, if this is a user packet.
    pub fn payload(&self) -> Option<&[u8]> {
        match &self.packet.value {
            Some(data_packet::Value::User(user)) => Some(&user.payload),
            _ => None,
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct End {
    pub leave: Option<LeaveRequest>,
    /// The close code; `None` without a close frame.
    pub code: Option<u16>,
}

impl Seen {
    pub fn received(&self, track_sid: &str) -> Option<&Received> {
        self.received.get(track_sid)
    }

    pub fn frames(&self, track_sid: &str) -> u64 {
        self.received(track_sid).map_or(0, |track| track.frames)
    }

    pub fn packets(&self, track_sid: &str) -> u64 {
        self.received(track_sid).map_or(0, |track| track.packets)
    }

    /// The payloads of all user packets, in the order of their arrival.
    pub fn payloads(&self) -> Vec<&[u8]> {
        self.data.iter().filter_map(Data::payload).collect()
    }

    /// The first value that `pick` returns for a message.
    pub fn find<T>(&self, pick: impl Fn(&signal_response::Message) -> Option<T>) -> Option<T> {
        self.messages.iter().find_map(|(_, message)| pick(message))
    }

    /// One line for error messages: the kinds of the last messages, and what has arrived.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "connected {}, end {:?}, received {:?}, messages",
            self.connected, self.end, self.received
        );
        for (socket, message) in self.messages.iter().rev().take(12).rev() {
            let kind = format!("{message:?}");
            let kind: String = kind.chars().take_while(|c| c.is_alphanumeric()).collect();
            let _ = write!(text, " {socket}:{kind}");
        }
        text
    }
}

/// Shared between the client's task and its handle.
#[derive(Clone)]
pub struct Shared {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Sender<u64>,
}

impl Shared {
    pub fn new() -> Self {
        Self { seen: Arc::default(), changed: watch::Sender::new(0) }
    }

    pub fn read<T>(&self, read: impl FnOnce(&Seen) -> T) -> T {
        read(&self.seen.lock())
    }

    pub fn change<T>(&self, change: impl FnOnce(&mut Seen) -> T) -> T {
        // The lock is released before the change is announced, so that readers do not wait for it.
        let result = change(&mut self.seen.lock());
        self.changed.send_modify(|version| *version += 1);
        result
    }

    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_packet_is_not_lost() {
        let mut received = Received::default();
        let mut lost = |sequence| {
            received.number(sequence);
            received.lost
        };
        assert_eq!([5, 6, 10, 8, 11].map(&mut lost), [0, 0, 3, 2, 2]);
    }
}
