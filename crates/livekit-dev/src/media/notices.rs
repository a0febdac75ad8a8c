//! What the world changed, as the engine carries it out.

use std::time::Instant;

use livekit_protocol::{MuteTrackRequest, TrackUnpublishedResponse, signal_response::Message};

use super::{
    client::{Client, Sid},
    engine::Engine,
};
use crate::{
    faults::ClientFault,
    state::notice::{Changed, Notice},
};

impl Engine {
    pub(super) fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Updated { room, info, changed } => {
                let sid = info.sid.clone();
                // Read before the update, so that a change of the permission can be seen.
                let could = self.may_subscribe(&sid);
                self.participant_updated(&room, &info, changed);
                if changed == Changed::Claims {
                    self.claims_changed(&sid, could);
                }
                self.tracks_changed(&sid);
            }
            Notice::Left { room, info, published } => self.participant_left(&room, &info, published),
            Notice::Muted { participant, track, muted } => {
                self.send(&participant, Message::Mute(MuteTrackRequest { sid: track, muted }));
            }
            Notice::Revoked { participant, track } => self.revoked(&participant, &track),
            Notice::RoomChanged { info, at_once } => self.room_changed(*info, at_once),
            Notice::Data { room, request } => self.api_data(&room, *request),
            Notice::Subscriptions { participant, tracks, subscribe } => {
                self.api_subscriptions(&participant, &tracks, subscribe);
            }
        }
    }

    fn key(&self, sid: &str) -> Option<Sid> {
        self.clients.get_key_value(sid).map(|(sid, _)| sid.clone())
    }

    fn may_subscribe(&self, sid: &str) -> bool {
        self.clients.get(sid).is_some_and(Client::may_subscribe)
    }

    fn claims_changed(&mut self, sid: &str, could_subscribe: bool) {
        let Some(sid) = self.key(sid) else { return };
        self.refresh_token(&sid);
        if self.may_subscribe(&sid) != could_subscribe {
            self.apply_permission(&sid);
        }
    }

    /// The publisher must stop, and subscribers have nothing more to receive.
    fn revoked(&mut self, participant: &str, track: &str) {
        let Some(client) = self.clients.get_mut(participant) else { return };
        let track_sid = track.to_owned();
        client.send(Message::TrackUnpublished(TrackUnpublishedResponse { track_sid }));
        client.pending.retain(|pending| pending.info.sid != track);
        let room = client.room.clone();
        client.published.retain(|published| published.info.sid != track);
        self.track_gone(&room, track);
    }

    /// The world's view of the tracks, as far as forwarding depends on it.
    fn tracks_changed(&mut self, sid: &str) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let mut unmuted = Vec::new();
        for track in client.info.tracks.clone() {
            let Some(published) = client.track(&track.sid) else { continue };
            // Before the new info is stored: afterwards the change could not be seen.
            if published.info.muted && !track.muted {
                unmuted.push(track.sid.clone());
            }
            published.info = track;
        }
        for track in unmuted {
            self.resync(sid, &track);
        }
    }

    fn api_subscriptions(&mut self, participant: &str, tracks: &[String], subscribe: bool) {
        let Some(sid) = self.key(participant) else { return };
        for track in tracks {
            self.choose(&sid, track, subscribe);
        }
    }

    pub(super) fn client_fault(&mut self, room: &str, identity: &str, fault: ClientFault) {
        let found = self
            .clients
            .iter_mut()
            .find(|(_, client)| client.session.room == room && client.session.identity == identity);
        let Some((_, client)) = found else { return };
        match fault {
            ClientFault::CutSocket => client.cut(),
            ClientFault::SilenceSocket => client.faults.silenced = true,
            ClientFault::DropMedia => {
                for side in client.sides() {
                    client.peer(side).dead = true;
                }
            }
            ClientFault::RefuseResume => client.faults.resume_refused = true,
            ClientFault::Quality(quality) => {
                client.faults.quality = Some(quality as i32);
                let now = Instant::now();
                if let Some(clock) = self.rooms.get_mut(&client.room) {
                    // Otherwise the test would wait for the next period.
                    clock.next_quality = now;
                }
            }
            ClientFault::Leave { reason, action } => {
                client.send(crate::signal::message::leave(reason, action));
                client.outgoing = None;
            }
        }
    }
}
