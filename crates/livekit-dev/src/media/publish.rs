//! What a client publishes: from its request to a track that others can subscribe to.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use livekit_protocol::{
    AddTrackRequest, MuteTrackRequest, TimedVersion, TrackInfo, TrackPublishedResponse, TrackType,
    TrackUnpublishedResponse,
    request_response::{Reason, Request},
    signal_response::Message,
};
use str0m::{
    format::Codec,
    media::{Direction, MediaKind},
};

use super::{
    client::{Client, Pending, Published, Sid, Stage},
    description::{mime_type, set_layers, set_media, track_info},
    engine::Engine,
    layers::Dynacast,
    sdp::Section,
    speakers::Loudness,
};
use crate::{clock::ClockHandle, state::occupant::PublishError};

/// Tracks of one participant, pending ones included.
const TRACKS: usize = 32;

/// How long after its last offer the real server says that a track is gone.
const UNPUBLISH_DELAY: Duration = Duration::from_millis(200);

impl Engine {
    pub(super) fn add_track(&mut self, sid: &Sid, request: AddTrackRequest) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        if let Some(reason) = refusal(client, &request) {
            let refused = Request::AddTrack(request.clone());
            self.respond(sid, 0, reason, "", Some(refused));
            if reason == Reason::Queued
                && let Some(client) = self.clients.get_mut(sid)
            {
                let info = track_info(&request);
                client.pending.push(Pending { request, info, announced: false });
            }
            return;
        }
        let info = track_info(&request);
        let published = TrackPublishedResponse { cid: request.cid.clone(), track: Some(info.clone()) };
        client.send(Message::TrackPublished(published));
        client.pending.push(Pending { request, info, announced: true });
    }

    /// Sections of an offer that was accepted become tracks, and those that ended are unpublished.
    pub(super) fn take_sections(&mut self, sid: &Sid, sections: &[Section]) {
        // First, so that a section that has a new track is not unpublished with its old one.
        self.unpublish_replaced(sid, sections);
        let Some(client) = self.clients.get_mut(sid) else { return };
        let mut ended = Vec::new();
        for section in sections {
            let sends = is_sent(section.direction);
            let published = client.published.iter().position(|published| published.mid == section.mid);
            if !sends {
                client.carried.remove(&section.mid);
            }
            match (published, sends) {
                (Some(at), false) => ended.push(client.published[at].info.sid.clone()),
                (None, true) => take_section(client, section),
                (Some(_), true) | (None, false) => {}
            }
        }
        self.announce_tracks(sid);
        for track in ended {
            self.stop_track(sid, &track);
        }
    }

    /// Tracks that ended a moment ago, and whose sections carry others now.
    fn unpublish_replaced(&mut self, sid: &Sid, sections: &[Section]) {
        let Some(client) = self.clients.get(sid) else { return };
        let replaced = client.published.iter().filter(|published| {
            let section = sections.iter().find(|section| section.mid == published.mid);
            published.gone_at.is_some() && section.is_some_and(|section| is_sent(section.direction))
        });
        for track in replaced.map(|published| published.info.sid.clone()).collect::<Vec<_>>() {
            self.unpublish(sid, &track);
        }
    }

    /// Nothing more is forwarded; the world hears of it a little later, as with the real server.
    fn stop_track(&mut self, sid: &Sid, track: &str) {
        if let Some(published) = self.clients.get_mut(sid).and_then(|client| client.track(track)) {
            published.gone_at.get_or_insert_with(|| Instant::now() + UNPUBLISH_DELAY);
        }
    }

    /// Tracks that ended a while ago.
    pub(super) fn unpublish_due(&mut self, now: Instant) {
        let due = |client: &Client| {
            let gone =
                client.published.iter().filter(|published| published.gone_at.is_some_and(|at| at <= now));
            gone.map(|published| published.info.sid.clone()).collect::<Vec<_>>()
        };
        let all: Vec<(Sid, Vec<String>)> =
            self.clients.iter().map(|(sid, client)| (sid.clone(), due(client))).collect();
        for (sid, tracks) in all {
            for track in tracks {
                self.unpublish(&sid, &track);
            }
        }
    }

    fn unpublish(&mut self, sid: &Sid, track: &str) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        // Its client does not know yet that it may not publish.
        if client.track(track).is_some_and(|published| published.stage == Stage::Refused) {
            let track_sid = track.to_owned();
            client.send(Message::TrackUnpublished(TrackUnpublishedResponse { track_sid }));
        }
        client.published.retain(|published| published.info.sid != track);
        let (session, room) = (client.session.clone(), client.room.clone());
        self.server.change(|world, _| ((), world.unpublish_track(&session, track).unwrap_or_default()));
        self.track_gone(&room, track);
    }

    /// Announces what is there, once the participant is active.
    pub(super) fn announce_tracks(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid).filter(|client| client.active) else { return };
        let ready = |published: &&mut Published| published.stage == Stage::There;
        let tracks: Vec<String> =
            client.published.iter_mut().filter(ready).map(|published| published.info.sid.clone()).collect();
        for track in tracks {
            self.announce_track(sid, &track);
        }
    }

    fn announce_track(&mut self, sid: &Sid, track: &str) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let (session, room) = (client.session.clone(), client.room.clone());
        let Some(published) = client.track(track) else { return };
        // Set before the world is asked, so that nothing announces it twice.
        published.stage = Stage::Announced;
        let mime = published.codec.map(mime_type);
        set_media(&mut published.info, published.mid, mime.unwrap_or_default());
        let layers = published.described_layers();
        set_layers(&mut published.info, layers);
        let unix_micro = self.server.clock().now_ms(ClockHandle::Rooms).saturating_mul(1000);
        published.info.version = Some(TimedVersion { unix_micro, ..TimedVersion::default() });
        let info = published.info.clone();
        let accepted = self.server.change(|world, _| match world.publish_track(&session, info) {
            Ok(effects) => (Ok(()), effects),
            Err(error) => (Err(error), Vec::new()),
        });
        match accepted {
            Ok(()) => self.track_announced(sid, &room, track),
            // The permission was taken meanwhile. The client stops once it knows; like other ends, this one is said a
            // little later: clients do not know their track before they have the answer.
            Err(PublishError::NotAllowed) => {
                if let Some(published) = self.clients.get_mut(sid).and_then(|client| client.track(track)) {
                    published.stage = Stage::Refused;
                    published.gone_at = Some(Instant::now() + UNPUBLISH_DELAY);
                }
            }
            // The participant is leaving.
            Err(PublishError::Absent | PublishError::NotActive) => {
                if let Some(client) = self.clients.get_mut(sid) {
                    client.published.retain(|published| published.info.sid != track);
                }
            }
        }
    }

    /// All who want every track get this one.
    fn track_announced(&mut self, sid: &Sid, room: &str, track: &str) {
        let subscribers: Vec<Sid> = self
            .members(room)
            .filter(|(member, client)| *member != sid && client.auto_subscribe)
            .map(|(member, _)| member.clone())
            .collect();
        for subscriber in subscribers {
            self.subscribe(&subscriber, track);
        }
    }

    /// What the world knows of a track changed: layers arrived.
    pub(super) fn update_layers(&mut self, sid: &Sid, track: &str) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let session = client.session.clone();
        let Some(published) = client.track(track).filter(|published| published.is_announced()) else {
            return;
        };
        let layers = published.described_layers();
        let (mid, mime) = (published.mid, published.codec.map(mime_type).unwrap_or_default());
        self.server.change(|world, _| {
            let update = |info: &mut TrackInfo| {
                set_media(info, mid, mime);
                set_layers(info, layers);
            };
            ((), world.update_track(&session, track, update).unwrap_or_default())
        });
    }

    pub(super) fn mute(&mut self, sid: &Sid, track: &str, muted: bool) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        if let Some(pending) = client.pending.iter_mut().find(|pending| pending.info.sid == track) {
            pending.info.muted = muted;
            return;
        }
        let session = client.session.clone();
        let Some(published) = client.track(track) else {
            let request = MuteTrackRequest { sid: track.to_owned(), muted };
            return self.respond(sid, 0, Reason::NotFound, "", Some(Request::Mute(request)));
        };
        if !published.is_announced() {
            published.info.muted = muted;
            return;
        }
        // The client repeats what the server has muted.
        self.server.change(|world, _| {
            let known = world.session(&session).and_then(|occupant| {
                occupant.info.tracks.iter().find(|info| info.sid == track).map(|info| info.muted)
            });
            let changes = known.is_some_and(|known| known != muted);
            let update = |info: &mut TrackInfo| info.muted = muted;
            let updated = changes.then(|| world.update_track(&session, track, update)).flatten();
            ((), updated.unwrap_or_default())
        });
    }
}

/// Whether the client sends on it.
fn is_sent(direction: Direction) -> bool {
    matches!(direction, Direction::SendOnly | Direction::SendRecv)
}

/// None: the track is welcome.
fn refusal(client: &Client, request: &AddTrackRequest) -> Option<Reason> {
    let source = request.source();
    let permission = client.permission();
    let sources = &permission.can_publish_sources;
    // An empty list of sources allows all.
    if !permission.can_publish || !(sources.is_empty() || sources.contains(&(source as i32))) {
        return Some(Reason::NotAllowed);
    }
    if request.r#type() == TrackType::Data {
        return Some(Reason::UnsupportedType);
    }
    // Pending ones count, or a client could ask for any number.
    if client.pending.len() + client.published.len() >= TRACKS {
        return Some(Reason::LimitExceeded);
    }
    if !request.sid.is_empty() {
        // A second codec of a track: there is only one.
        return Some(Reason::NotFound);
    }
    let twice = client.pending.iter().any(|pending| pending.request.cid == request.cid);
    twice.then_some(Reason::Queued)
}

/// The track of the section is the one with its name, or the first of its kind that was asked for.
fn take_section(client: &mut Client, section: &Section) {
    let kind = match section.kind {
        MediaKind::Audio => TrackType::Audio,
        MediaKind::Video => TrackType::Video,
    };
    let named = client.pending.iter().position(|pending| is_named(pending, &section.track));
    // The track that it had is gone, and the client goes on sending it.
    let left_over = client.carried.get(&section.mid) == Some(&section.track);
    let first = || client.pending.iter().position(|pending| pending.request.r#type() == kind);
    let Some(at) = named.or_else(|| if left_over { None } else { first() }) else { return };
    let pending = client.pending.remove(at);
    client.carried.insert(section.mid, section.track.clone());
    // A request that waited for this one has its turn now.
    let next =
        client.pending.iter_mut().find(|next| !next.announced && next.request.cid == pending.request.cid);
    let next = next.map(|next| {
        next.announced = true;
        TrackPublishedResponse { cid: next.request.cid.clone(), track: Some(next.info.clone()) }
    });
    let codec = expected_codec(client, &pending.request, section);
    // A simulcast track is there with its first packet; a muted one sends none.
    let waits = section.simulcast && !pending.request.muted;
    let stage = if waits { Stage::Expected } else { Stage::There };
    client.published.push(Published {
        codec,
        info: pending.info,
        mid: section.mid,
        kind: section.kind,
        simulcast: section.simulcast,
        stage,
        gone_at: None,
        layers: Vec::new(),
        subscribers: BTreeSet::new(),
        subscribed_told: false,
        loudness: Loudness::default(),
        dynacast: Dynacast::default(),
    });
    if let Some(next) = next {
        client.send(Message::TrackPublished(next));
    }
}

/// The codec that the client asked for, or its first one. Packets say which one it is in the end.
fn expected_codec(client: &Client, request: &AddTrackRequest, section: &Section) -> Option<Codec> {
    if section.kind == MediaKind::Audio {
        return Some(Codec::Opus);
    }
    let possible =
        || section.codecs.iter().copied().filter(|codec| client.publisher.payload_type(*codec).is_some());
    let wanted = request.simulcast_codecs.first().map(|codec| codec.codec.as_str()).unwrap_or_default();
    possible().find(|codec| is_called(*codec, wanted)).or_else(|| possible().next()).or(Some(Codec::Vp8))
}

/// Whether a client calls it so: `h264` or `video/h264`.
fn is_called(codec: Codec, name: &str) -> bool {
    let short = |mime: &str| mime.rsplit('/').next().unwrap_or_default().to_lowercase();
    short(mime_type(codec)) == short(name)
}

fn is_named(pending: &Pending, track: &str) -> bool {
    let request = &pending.request;
    let others = request.simulcast_codecs.iter().any(|codec| !codec.cid.is_empty() && codec.cid == track);
    !track.is_empty() && (request.cid == track || others)
}
