//! How a client comes, becomes active, loses its socket, and comes back.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Instant,
};

use livekit_protocol::{
    DisconnectReason, RoomUpdate, SubscriptionPermission, SyncState, leave_request::Action,
    signal_response::Message,
};

use super::{
    Entry, Frame, Resume,
    announce::RoomClock,
    client::{Client, ClientFaults, Negotiation, Sid, Side},
    engine::Engine,
    peer::Peer,
    silence::REFRESH,
};
use crate::{
    clock::ClockHandle,
    signal::{message, token},
};

impl Engine {
    /// `join`, a fresh token, and then the first answer or offer.
    pub(super) fn enter(&mut self, entry: Entry) {
        let now = Instant::now();
        let sid: Sid = Arc::from(entry.session.sid.as_str());
        let rtc = &self.server.config().rtc;
        self.rooms.entry(entry.room_sid.clone()).or_insert_with(|| RoomClock::new(rtc, now));
        let join = entry.join.clone();
        let mut client = self.new_client(entry, now);
        // Random, so that a client that expects a fixed number is found out.
        client.negotiation.next_offer = u32::from(rand::random::<u8>()) + 1;
        // Inserted before its tracks, which are looked up there.
        self.clients.insert(sid.clone(), client);
        self.refresh_token(&sid);
        for request in join.tracks {
            self.add_track(&sid, request);
        }
        // Before the answer, so that the first offer has sections for what is there.
        self.subscribe_to_all(&sid);
        match join.offer {
            Some(offer) => self.offer(&sid, &offer),
            None if !join.single => self.negotiate(&sid),
            None => {}
        }
    }

    fn new_client(&self, entry: Entry, now: Instant) -> Client {
        let h264 = self.server.config().rtc.h264;
        let peer = || Peer::new(&self.crypto, &self.network, h264, now);
        let may_subscribe = entry.info.permission.as_ref().is_some_and(|permission| permission.can_subscribe);
        // With two connections, a participant that may not subscribe becomes active by publishing.
        let primary = if !entry.join.single && may_subscribe { Side::Subscriber } else { Side::Publisher };
        let mut client = Client {
            session: entry.session,
            room: entry.room_sid,
            info: entry.info,
            claims: entry.claims,
            outgoing: Some(entry.outgoing),
            connection: entry.connection,
            auto_subscribe: entry.join.auto_subscribe,
            publisher: peer(),
            subscriber: (!entry.join.single).then(peer),
            primary,
            active: false,
            pending: Vec::new(),
            published: Vec::new(),
            carried: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            allowed_told: BTreeSet::new(),
            choices: BTreeMap::new(),
            allows: SubscriptionPermission { all_participants: true, track_permissions: Vec::new() },
            negotiation: Negotiation::default(),
            last_data: 0,
            quality_told: BTreeMap::new(),
            speakers_told: BTreeMap::new(),
            missed_ends: Vec::new(),
            refresh_at: now + REFRESH,
            silent_since: None,
            faults: ClientFaults::default(),
        };
        client.send(Message::Join(entry.response));
        client
    }

    /// Media flows on one of its connections; the primary one makes the participant active.
    pub(super) fn connected(&mut self, sid: &Sid, side: Side) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        // Packets flow again, so the silence is over.
        client.silent_since = None;
        if client.active || client.primary != side {
            return;
        }
        client.active = true;
        let session = client.session.clone();
        self.server.change(|world, _| {
            // The session may have been replaced since. Then the new one must not be activated.
            let there = world.session(&session).is_some();
            let activated = there.then(|| world.activate(&session.room, &session.identity)).flatten();
            ((), activated.map(|(_, effects)| effects).unwrap_or_default())
        });
        // What it offered before it was active waits until now.
        self.announce_tracks(sid);
    }

    /// A participant that was active stays for a while. One that was not is gone at once.
    pub(super) fn socket_closed(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        client.outgoing = None;
        // Before it was active nothing can be resumed.
        if !client.active {
            self.leave(sid, DisconnectReason::SignalClose);
        }
    }

    /// The world decides, and its notice ends the client.
    pub(super) fn leave(&self, sid: &Sid, reason: DisconnectReason) {
        let Some(client) = self.clients.get(sid) else { return };
        let session = &client.session;
        let now_s = self.server.clock().now_s(ClockHandle::Rooms);
        self.server.change(|world, _| {
            // Another session with the same identity may be there; that one must not leave.
            let there = world.session(session).is_some();
            let left = there.then(|| world.leave(&session.room, &session.identity, reason, now_s));
            ((), left.unwrap_or_default())
        });
    }

    pub(super) fn resume(&mut self, resume: Resume) {
        let Resume { session, connection, others, room, claims, join, outgoing } = resume;
        let sid: Sid = Arc::from(session.sid.as_str());
        let found = self.clients.get_mut(&sid).filter(|client| !client.faults.resume_refused);
        // A connection that failed does not come up again, so the client must join again.
        let failed = found.as_ref().is_some_and(|client| client.has_failed());
        let Some(client) = found.filter(|_| !failed) else {
            let leave = message::leave(DisconnectReason::StateMismatch, Action::Reconnect);
            // A new queue has room for one message.
            let _ = outgoing.send(Frame::Message(Box::new(leave)));
            if failed {
                self.leave(&sid, DisconnectReason::StateMismatch);
            }
            return;
        };
        client.outgoing = Some(outgoing);
        client.connection = connection;
        client.claims = claims;
        // A resume ends the silence, on either side.
        client.faults.silenced = false;
        client.silent_since = None;
        let last_data = client.last_data;
        let info = client.info.clone();
        let missed = std::mem::take(&mut client.missed_ends);
        // First what the client must know to go on; then what it missed.
        self.send(&sid, message::reconnect(self.server.config(), last_data));
        if !missed.is_empty() {
            // Ends come before the list of participants, so that a new session with an old identity stays.
            self.send(&sid, message::update(missed));
        }
        let all = others.into_iter().chain([info]).collect();
        self.send(&sid, message::update(all));
        if room.is_some() {
            self.send(&sid, Message::RoomUpdate(RoomUpdate { room }));
        }
        self.refresh_token(&sid);
        self.restart_ice(&sid);
        if let Some(offer) = join.offer {
            self.offer(&sid, &offer);
        }
        if let Some(state) = join.sync_state {
            self.sync_state(&sid, &state);
        }
    }

    fn restart_ice(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let now = Instant::now();
        for side in client.sides() {
            // Silence is counted from here, or the client would be timed out during the resume.
            client.peer(side).last_packet = now;
        }
        self.negotiate_again(sid);
    }

    /// What the client believes. A track that is not known is a reason to join again.
    pub(super) fn sync_state(&mut self, sid: &Sid, state: &SyncState) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let believed = state.publish_tracks.iter().filter_map(|published| published.track.as_ref());
        let unknown = believed.map(|track| track.sid.as_str()).find(|sid| {
            // A track that is still waiting for its section is known too.
            let pending = client.pending.iter().any(|pending| pending.info.sid == *sid);
            !pending && !client.published.iter().any(|published| published.info.sid == *sid)
        });
        if unknown.is_some() {
            client.send(message::leave(DisconnectReason::StateMismatch, Action::Reconnect));
            client.outgoing = None;
            self.leave(sid, DisconnectReason::StateMismatch);
            return;
        }
        for track in &state.track_sids_disabled {
            if let Some(subscription) = client.subscriptions.get_mut(track) {
                subscription.wanted.disabled = true;
            }
        }
        if let Some(subscription) = &state.subscription {
            self.update_subscription(sid, subscription);
        }
    }

    pub(super) fn refresh_token(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        // Set also when signing fails: another attempt at once would fail too.
        client.refresh_at = Instant::now() + REFRESH;
        match token::refresh(self.server.config(), &client.claims, &client.info) {
            Ok(token) => client.send(Message::RefreshToken(token)),
            Err(error) => tracing::error!(%error, "token could not be signed"),
        }
    }
}
