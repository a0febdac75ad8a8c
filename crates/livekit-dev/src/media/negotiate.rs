//! Offers and answers. A client with two connections answers the server's offers on the second; a client with one makes
//! all offers, and the server asks for the sections that it needs.

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use livekit_protocol::{
    MediaSectionsRequirement, SessionDescription, TrackSubscribed, signal_response::Message,
};
use str0m::{
    change::SdpAnswer,
    channel::{ChannelConfig, Reliability},
    media::{Direction, MediaKind, Mid},
};

use super::{
    client::{Client, Offered, Sid, Side, mid_to_track},
    data::{DATA_TRACK, LOSSY, RELIABLE},
    engine::Engine,
    sdp::{self, Section, Stream},
};

impl Engine {
    pub(super) fn negotiate_due(&mut self, now: Instant) {
        let is_due = |client: &Client| client.negotiation.next().is_some_and(|due| due <= now);
        let due = self.clients.iter().filter(|(_, client)| is_due(client));
        let due: Vec<Sid> = due.map(|(sid, _)| sid.clone()).collect();
        for sid in due {
            self.negotiate(&sid);
        }
    }

    /// One offer of the server at a time; what changes meanwhile is in the next one.
    pub(super) fn negotiate(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        if client.outgoing.is_none() {
            // The resume negotiates.
            client.negotiation.due = None;
            return;
        }
        if client.single() {
            // A client with one connection makes all offers: the server only says what it lacks.
            client.negotiation.due = None;
            let requirement = requirement(client);
            client.send(Message::MediaSectionsRequirement(requirement));
            return;
        }
        if client.negotiation.offered.is_some() {
            return;
        }
        client.negotiation.due = None;
        let Some(offered) = guarded_offer(client) else { return };
        client.negotiation.offered = Some(offered);
        send_offer(client);
        // The offer changed str0m's state, so the peer must be polled.
        self.touch(sid, Side::Subscriber);
    }

    /// The server's part after a resume: ICE starts again. An offer whose answer is missing may have been lost with the
    /// socket, or its answer was: it comes once more, and the restart follows the answer.
    pub(super) fn negotiate_again(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid).filter(|client| !client.single()) else { return };
        client.negotiation.ice_restart = true;
        if client.negotiation.offered.is_some() {
            client.negotiation.due = Some(Instant::now());
            send_offer(client);
        } else {
            self.negotiate(sid);
        }
    }

    /// The answer to the offer that is open, whatever its number: some clients number none.
    pub(super) fn answer(&mut self, sid: &Sid, answer: &SessionDescription) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        if client.negotiation.offered.is_none() {
            return;
        }
        // Parsed before the open offer is taken: an answer that cannot be read must not lose it.
        if answer.sdp.len() > sdp::LIMIT || SdpAnswer::from_sdp_string(&answer.sdp).is_err() {
            // The offer stays open for the resume.
            client.outgoing = None;
            return;
        }
        let Some(Offered { pending, .. }) = client.negotiation.offered.take() else { return };
        let accepted = client.peer(Side::Subscriber).accept_answer(pending, &answer.sdp);
        self.touch(sid, Side::Subscriber);
        // A description that str0m refuses: the socket ends, and the client finds out.
        if !accepted {
            if let Some(client) = self.clients.get_mut(sid) {
                client.outgoing = None;
            }
            return;
        }
        self.sections_ready(sid);
    }

    /// Answered in order, one answer for each offer. One that cannot be read ends the connection.
    pub(super) fn offer(&mut self, sid: &Sid, offer: &SessionDescription) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let fits = offer.sdp.len() <= sdp::LIMIT;
        let answer = fits.then(|| client.publisher.accept_offer(&offer.sdp)).flatten();
        self.touch(sid, Side::Publisher);
        let Some(answer) = answer else {
            if let Some(client) = self.clients.get_mut(sid) {
                client.outgoing = None;
            }
            return;
        };
        let sections = sdp::sections(&offer.sdp);
        self.take_sections(sid, &sections);
        let Some(client) = self.clients.get_mut(sid) else { return };
        let mut answered = SessionDescription {
            r#type: "answer".to_owned(),
            sdp: answer,
            id: offer.id,
            ..SessionDescription::default()
        };
        if client.single() {
            assign_sections(client, &sections);
            answered.sdp = sdp::name_streams(&answered.sdp, &streams(client));
            answered.mid_to_track_id = mid_to_track(client);
        }
        // After the messages that are posted already: tracks are announced before their answer.
        self.send_later(sid, Message::Answer(answered));
        self.sections_ready(sid);
        self.ask_for_missing(sid);
    }

    /// Tracks that have a section now.
    fn sections_ready(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let mut ready: Vec<(Sid, String)> = Vec::new();
        for (track, subscription) in &mut client.subscriptions {
            if subscription.mid.is_some() && !subscription.ready {
                // Only the first time: later answers repeat sections that are ready.
                subscription.ready = true;
                ready.push((subscription.publisher.clone(), track.clone()));
            }
        }
        for (publisher, track) in ready {
            let Some(client) = self.clients.get_mut(&publisher) else { continue };
            let first = client.track(&track).filter(|published| !published.subscribed_told);
            if let Some(published) = first {
                published.subscribed_told = true;
                client.send(Message::TrackSubscribed(TrackSubscribed { track_sid: track.clone() }));
            }
            // A new subscriber cannot begin without a keyframe.
            self.request_keyframes(&publisher, &track);
        }
    }

    /// The offer may have brought fewer sections than there are tracks by now.
    fn ask_for_missing(&mut self, sid: &Sid) {
        let Some(client) = self.clients.get_mut(sid).filter(|client| client.single()) else { return };
        if client.subscriptions.values().any(|subscription| subscription.mid.is_none()) {
            client.negotiation.due.get_or_insert_with(Instant::now);
        }
    }
}

/// What is missing beyond free sections and those that were asked for. Nothing missing makes the client offer, too.
fn requirement(client: &mut Client) -> MediaSectionsRequirement {
    let taken: Vec<Mid> = client.subscriptions.values().filter_map(|subscription| subscription.mid).collect();
    let missing = |kind: MediaKind, asked: usize| {
        let free =
            client.negotiation.free.iter().filter(|(mid, free)| **free == kind && !taken.contains(mid));
        let open = client.subscriptions.values();
        let open = open.filter(|subscription| subscription.mid.is_none() && subscription.kind == kind);
        open.count().saturating_sub(free.count() + asked)
    };
    let audios = missing(MediaKind::Audio, client.negotiation.asked_audios);
    let videos = missing(MediaKind::Video, client.negotiation.asked_videos);
    client.negotiation.asked_audios += audios;
    client.negotiation.asked_videos += videos;
    MediaSectionsRequirement {
        num_audios: u32::try_from(audios).unwrap_or(u32::MAX),
        num_videos: u32::try_from(videos).unwrap_or(u32::MAX),
    }
}

/// One connection: the sections that the client receives on get the tracks that wait for one.
fn assign_sections(client: &mut Client, sections: &[Section]) {
    let published = |mid: Mid| client.published.iter().any(|published| published.mid == mid);
    let free =
        sections.iter().filter(|section| section.direction == Direction::RecvOnly && !published(section.mid));
    client.negotiation.free = free.map(|section| (section.mid, section.kind)).collect();
    // Whatever was asked for has come with this offer, or will not come.
    client.negotiation.asked_audios = 0;
    client.negotiation.asked_videos = 0;
    let mut taken: Vec<Mid> =
        client.subscriptions.values().filter_map(|subscription| subscription.mid).collect();
    let waiting = client.subscriptions.values_mut().filter(|subscription| subscription.mid.is_none());
    for subscription in waiting {
        let mut free = client.negotiation.free.iter();
        // A free section of the same kind: a section cannot change its kind.
        let found = free.find(|(mid, kind)| **kind == subscription.kind && !taken.contains(mid));
        if let Some((mid, _)) = found {
            subscription.mid = Some(*mid);
            taken.push(*mid);
            client.negotiation.used.insert(*mid);
        }
    }
}

fn streams(client: &Client) -> BTreeMap<String, Stream> {
    let mut streams: BTreeMap<String, Stream> = BTreeMap::new();
    for mid in client.negotiation.free.keys() {
        let used = client.negotiation.used.contains(mid);
        streams.insert(mid.to_string(), if used { Stream::Gone } else { Stream::Unused });
    }
    for (track, subscription) in &client.subscriptions {
        if let Some(mid) = subscription.mid {
            let (participant, track) = (subscription.publisher.to_string(), track.clone());
            streams.insert(mid.to_string(), Stream::Track { participant, track });
        }
    }
    streams
}

/// A panic of str0m ends this connection only.
fn guarded_offer(client: &mut Client) -> Option<Offered> {
    let made = catch_unwind(AssertUnwindSafe(|| make_offer(client)));
    made.unwrap_or_else(|_| {
        client.peer(Side::Subscriber).panicked();
        None
    })
}

/// Two connections: None if nothing has changed.
fn make_offer(client: &mut Client) -> Option<Offered> {
    let negotiation = &mut client.negotiation;
    let peer = client.subscriber.as_mut()?;
    let mut api = peer.rtc.sdp_api();
    // Channels are part of the first offer only.
    if !negotiation.started {
        negotiation.started = true;
        api.add_channel_with_config(channel(RELIABLE, true));
        api.add_channel_with_config(channel(LOSSY, false));
        api.add_channel_with_config(channel(DATA_TRACK, false));
    }
    for mid in negotiation.stopped.drain(..) {
        api.stop_media(mid);
    }
    if std::mem::take(&mut negotiation.ice_restart) {
        api.ice_restart(true);
    }
    for (track, subscription) in &mut client.subscriptions {
        if subscription.mid.is_none() {
            let stream = format!("{}|{track}", subscription.publisher);
            let mid = api.add_media(
                subscription.kind,
                Direction::SendOnly,
                Some(stream),
                Some(track.clone()),
                None,
            );
            subscription.mid = Some(mid);
        }
    }
    let (offer, pending) = api.apply()?;
    Some(Offered { sdp: offer.to_sdp_string(), pending })
}

/// The offer that is open, under a number of its own.
fn send_offer(client: &mut Client) {
    let Some(sdp) = client.negotiation.offered.as_ref().map(|offered| offered.sdp.clone()) else { return };
    let id = client.negotiation.next_offer;
    client.negotiation.next_offer = id.wrapping_add(1);
    let mid_to_track_id = mid_to_track(client);
    client.send(Message::Offer(SessionDescription { r#type: "offer".to_owned(), sdp, id, mid_to_track_id }));
}

fn channel(label: &str, reliable: bool) -> ChannelConfig {
    let reliability =
        if reliable { Reliability::default() } else { Reliability::MaxRetransmits { retransmits: 0 } };
    ChannelConfig { label: label.to_owned(), ordered: reliable, reliability, ..ChannelConfig::default() }
}
