//! Data channels: packets from one client to the others of its room, and from the API to clients.

#![expect(deprecated, reason = "old clients read the older fields, and the real server fills them")]

use std::sync::Arc;

use livekit_protocol::{
    DataPacket, SendDataRequest, UserPacket,
    data_packet::{Kind, Value},
    participant_info,
};
use prost::Message;

use super::{
    client::{Client, Sid},
    engine::Engine,
};

pub(super) const RELIABLE: &str = "_reliable";
pub(super) const LOSSY: &str = "_lossy";
pub(super) const DATA_TRACK: &str = "_data_track";

impl Engine {
    /// Who sent it is the server's word, not the client's. What cannot be read is dropped.
    pub(super) fn data(&mut self, sid: &Sid, label: &str, bytes: &[u8]) {
        let kind = match label {
            RELIABLE => Kind::Reliable,
            LOSSY => Kind::Lossy,
            _ => return,
        };
        let Ok(mut packet) = DataPacket::decode(bytes) else { return };
        let Some(client) = self.clients.get_mut(sid) else { return };
        if kind == Kind::Reliable && is_repeated(&mut client.last_data, packet.sequence) {
            return;
        }
        // Answers of RPC belong to their caller, and are not passed on.
        if self.calls.answered(sid, &packet) {
            return;
        }
        if !client.permission().can_publish_data || !is_passed_on(&packet, client) {
            return;
        }
        stamp(&mut packet, client, kind);
        let room = client.room.clone();
        self.deliver(&room, &packet, label, Some(sid));
    }

    /// Without a sender and without a sequence.
    pub(super) fn api_data(&mut self, room: &str, request: SendDataRequest) {
        let kind = request.kind();
        let (sids, identities) = (request.destination_sids, request.destination_identities);
        let user = UserPacket {
            payload: request.data,
            topic: request.topic,
            destination_identities: identities.clone(),
            nonce: request.nonce,
            ..UserPacket::default()
        };
        let by_sid = self.members(room).filter(|(sid, _)| sids.iter().any(|named| **named == ***sid));
        let by_sid = by_sid.map(|(_, client)| client.session.identity.clone());
        let destination_identities: Vec<String> = identities.into_iter().chain(by_sid).collect();
        // All named SIDs are unknown. Without this, an empty list would mean everyone.
        if destination_identities.is_empty() && !sids.is_empty() {
            return;
        }
        let packet = DataPacket {
            kind: kind as i32,
            destination_identities,
            value: Some(Value::User(user)),
            ..DataPacket::default()
        };
        let label = if kind == Kind::Reliable { RELIABLE } else { LOSSY };
        self.deliver(room, &packet, label, None);
    }

    /// To those who are named, or to all but the sender.
    fn deliver(&mut self, room: &str, packet: &DataPacket, label: &str, from: Option<&Sid>) {
        // Encoded once for all receivers.
        let bytes: Arc<[u8]> = packet.encode_to_vec().into();
        let named = &packet.destination_identities;
        let receivers: Vec<Sid> = self
            .members(room)
            .filter(|(sid, _)| from != Some(*sid))
            .filter(|(_, client)| named.is_empty() || named.contains(&client.session.identity))
            .map(|(sid, _)| sid.clone())
            .collect();
        for receiver in receivers {
            self.send_data(&receiver, label, Arc::clone(&bytes));
        }
    }

    pub(super) fn send_data(&mut self, sid: &Sid, label: &str, bytes: Arc<[u8]>) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let side = client.receiving();
        if !client.peer(side).send_data(label, bytes, label == RELIABLE) {
            tracing::debug!(identity = %client.session.identity, "dropped a client that does not read its data");
            // As for messages: the socket ends, and the client may resume.
            client.outgoing = None;
        }
        self.touch(sid, side);
    }
}

/// Whether the message was sent before: clients send again after a resume. 0 is no sequence.
fn is_repeated(last: &mut u32, sequence: u32) -> bool {
    let repeated = sequence != 0 && sequence <= *last;
    *last = sequence.max(*last);
    repeated
}

/// Transcriptions come from agents only, and metrics are not for participants.
fn is_passed_on(packet: &DataPacket, from: &Client) -> bool {
    match packet.value {
        None | Some(Value::Metrics(_) | Value::Speaker(_)) => false,
        Some(Value::Transcription(_)) => from.info.kind() == participant_info::Kind::Agent,
        Some(_) => true,
    }
}

fn stamp(packet: &mut DataPacket, client: &Client, kind: Kind) {
    let hidden = client.is_hidden();
    // A hidden participant must not be found by its data.
    let identity = if hidden { String::new() } else { client.session.identity.clone() };
    packet.kind = kind as i32;
    packet.participant_sid.clone_from(&client.session.sid);
    packet.participant_identity.clone_from(&identity);
    if let Some(Value::User(user)) = &mut packet.value {
        user.participant_sid.clone_from(&client.session.sid);
        user.participant_identity = identity;
        // Older clients name receivers inside the user packet, newer ones outside; both are filled.
        if packet.destination_identities.is_empty() {
            packet.destination_identities.clone_from(&user.destination_identities);
        } else {
            user.destination_identities.clone_from(&packet.destination_identities);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_before_a_resume_is_not_accepted_twice() {
        let mut last = 0;
        let repeated = [1, 2, 2, 1, 0, 3].map(|sequence| is_repeated(&mut last, sequence));
        assert_eq!(repeated, [false, false, true, true, false, false]);
        assert_eq!(last, 3);
    }
}
