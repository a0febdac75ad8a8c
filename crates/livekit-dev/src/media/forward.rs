//! Every packet of a publisher, to those who subscribe to its track.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use str0m::{
    format::Codec,
    media::{MediaKind, Mid, Rid},
    rtp::{ExtensionValues, RtpPacket, RtpWrite, Vp8Descriptor},
};

use super::{
    client::{Client, Encoding, Published, Sid, Stage},
    engine::Engine,
    layers::choose,
};

/// How often a layer is asked for a keyframe.
const KEYFRAME_PERIOD: Duration = Duration::from_millis(250);

/// A packet on its way.
struct Forwarded<'a> {
    packet: &'a RtpPacket,
    payload: Arc<[u8]>,
    rid: Option<Rid>,
    codec: Codec,
    vp8: Option<Vp8Descriptor>,
    /// A subscriber can begin with it.
    starts: bool,
    now: Instant,
}

/// What a subscriber does with a packet.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choice {
    Drop,
    Forward,
    /// As the first of a layer.
    Switch,
}

impl Engine {
    pub(super) fn forward(&mut self, sid: &Sid, packet: &RtpPacket) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(sid) else { return };
        let Some((mid, rid)) = client.publisher.origin(packet) else { return };
        let Some(codec) = client.publisher.codec(packet.header.payload_type) else { return };
        let Some(at) = client.published.iter().position(|published| published.mid == mid) else { return };
        let published = &mut client.published[at];
        if published.gone_at.is_some() {
            return;
        }
        // Before the packet is passed on: the track must be known when its first packet is.
        let first = published.layer_arrived(rid, *packet.header.ssrc, now);
        published.codec = Some(codec);
        if published.kind == MediaKind::Audio {
            published.loudness.observe(packet);
        }
        if first {
            self.layer_came(sid, mid);
        }
        self.distribute(sid, mid, packet, (rid, codec), now);
    }

    /// A simulcast track is there with its first packet.
    fn layer_came(&mut self, sid: &Sid, mid: Mid) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let Some(published) = client.published.iter_mut().find(|published| published.mid == mid) else {
            return;
        };
        let track = published.info.sid.clone();
        let video = published.kind == MediaKind::Video;
        if published.is_announced() && video {
            self.update_layers(sid, &track);
        } else {
            if !published.is_announced() {
                published.stage = Stage::There;
            }
            self.announce_tracks(sid);
        }
    }

    fn distribute(
        &mut self,
        sid: &Sid,
        mid: Mid,
        packet: &RtpPacket,
        (rid, codec): (Option<Rid>, Codec),
        now: Instant,
    ) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        // Tracks may have gone with the first packet of this one.
        let Some(at) = client.published.iter().position(|published| published.mid == mid) else { return };
        let published = &client.published[at];
        if published.subscribers.is_empty() || published.info.muted {
            return;
        }
        // Out of the map, so that the subscribers can be changed meanwhile.
        let mut published = client.published.remove(at);
        let forwarded = Forwarded::new(packet, rid, codec, now);
        let mut keyframes: Vec<Option<Rid>> = Vec::new();
        let subscribers: Vec<Sid> = published.subscribers.iter().cloned().collect();
        for subscriber in subscribers {
            // A subscriber may have left since the list was made.
            let Some(receiver) = self.clients.get_mut(&subscriber) else { continue };
            let side = receiver.receiving();
            let (written, keyframe) = pass_on(receiver, &published, &forwarded);
            keyframes.extend(keyframe.map(|wanted| wanted.0));
            if written {
                self.touch(&subscriber, side);
            }
        }
        if let Some(client) = self.clients.get_mut(sid) {
            for rid in keyframes {
                ask(client, &mut published, rid, now);
            }
            client.published.insert(at.min(client.published.len()), published);
        }
    }

    /// A subscriber lost its picture.
    pub(super) fn keyframe_wanted(&mut self, sid: &Sid, mid: Mid) {
        let Some(client) = self.clients.get(sid) else { return };
        let found = client.subscriptions.iter().find(|(_, subscription)| subscription.mid == Some(mid));
        let Some((track, subscription)) = found else { return };
        let (track, publisher) = (track.clone(), subscription.publisher.clone());
        match subscription.current {
            Some(current) => self.request_keyframe(&publisher, &track, |layer| layer == current.0),
            None => self.request_keyframes(&publisher, &track),
        }
    }

    pub(super) fn request_keyframes(&mut self, publisher: &Sid, track: &str) {
        self.request_keyframe(publisher, track, |_| true);
    }

    fn request_keyframe(&mut self, publisher: &Sid, track: &str, which: impl Fn(Option<Rid>) -> bool) {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(publisher) else { return };
        let Some(at) = client.published.iter().position(|published| published.info.sid == track) else {
            return;
        };
        if client.published[at].kind == MediaKind::Audio {
            return;
        }
        let rids: Vec<Option<Rid>> =
            client.published[at].layers.iter().map(|layer| layer.rid).filter(|rid| which(*rid)).collect();
        let mut taken = client.published.remove(at);
        for rid in rids {
            ask(client, &mut taken, rid, now);
        }
        client.published.insert(at, taken);
        self.touch(publisher, super::client::Side::Publisher);
    }

    /// Requests that came too soon after the last one.
    pub(super) fn keyframes_due(&mut self, now: Instant) {
        let mut asked = Vec::new();
        for (sid, client) in &mut self.clients {
            for at in 0..client.published.len() {
                let published = &client.published[at];
                let due: Vec<Option<Rid>> = published
                    .layers
                    .iter()
                    .filter(|layer| layer.keyframe_due(now))
                    .map(|layer| layer.rid)
                    .collect();
                if due.is_empty() {
                    continue;
                }
                let mut published = client.published.remove(at);
                for rid in due {
                    ask(client, &mut published, rid, now);
                }
                client.published.insert(at, published);
                asked.push(sid.clone());
            }
        }
        for sid in asked {
            self.touch(&sid, super::client::Side::Publisher);
        }
    }

    /// After a pause subscribers begin with a keyframe.
    pub(super) fn resync(&mut self, publisher: &str, track: &str) {
        for client in self.clients.values_mut() {
            if let Some(subscription) = client.subscriptions.get_mut(track) {
                // No layer is current, so each subscriber waits for the next keyframe.
                subscription.current = None;
            }
        }
        if let Some(sid) = self.clients.get_key_value(publisher).map(|(sid, _)| sid.clone()) {
            self.request_keyframes(&sid, track);
        }
    }
}

/// Asks the publisher, or notes that it is to be asked soon.
fn ask(client: &mut Client, published: &mut Published, rid: Option<Rid>, now: Instant) {
    let mid = published.mid;
    let Some(layer) = published.layers.iter_mut().find(|layer| layer.rid == rid) else { return };
    if layer.keyframe_asked.is_some_and(|asked| now.saturating_duration_since(asked) < KEYFRAME_PERIOD) {
        layer.keyframe_wanted = true;
        return;
    }
    layer.keyframe_asked = Some(now);
    layer.keyframe_wanted = false;
    client.publisher.request_keyframe(mid, rid);
}

impl super::client::Layer {
    fn keyframe_due(&self, now: Instant) -> bool {
        let asked =
            self.keyframe_asked.is_some_and(|asked| now.saturating_duration_since(asked) < KEYFRAME_PERIOD);
        self.keyframe_wanted && !asked
    }
}

impl<'a> Forwarded<'a> {
    fn new(packet: &'a RtpPacket, rid: Option<Rid>, codec: Codec, now: Instant) -> Self {
        let vp8 = (codec == Codec::Vp8).then(|| Vp8Descriptor::parse(&packet.payload).ok()).flatten();
        let starts = match codec {
            Codec::Vp8 => vp8.as_ref().is_some_and(|vp8| vp8.starts_keyframe(&packet.payload)),
            Codec::H264 => starts_h264_keyframe(&packet.payload),
            _ => true,
        };
        Self { packet, payload: packet.payload.clone(), rid, codec, vp8, starts, now }
    }
}

/// Whether it was written, and which layer must send a keyframe.
fn pass_on(
    receiver: &mut Client,
    published: &Published,
    forwarded: &Forwarded<'_>,
) -> (bool, Option<Encoding>) {
    let side = receiver.receiving();
    let Some(subscription) = receiver.subscriptions.get_mut(&published.info.sid) else {
        return (false, None);
    };
    let Some(mid) = subscription.mid else { return (false, None) };
    let Some(quality) = subscription.wanted.quality_of(&published.info) else { return (false, None) };
    let arrived = Encoding(forwarded.rid);
    let target = match published.kind {
        MediaKind::Audio => Some(arrived),
        MediaKind::Video => choose(&published.layers, quality, forwarded.now),
    };
    let current = subscription.current;
    let waiting = target.filter(|target| current != Some(*target));
    // A switch only at a keyframe: a receiver cannot decode anything else of a new layer.
    let choice = if waiting == Some(arrived) && forwarded.starts {
        Choice::Switch
    } else if current == Some(arrived) {
        Choice::Forward
    } else {
        Choice::Drop
    };
    let keyframe = waiting.filter(|_| choice != Choice::Switch && published.kind == MediaKind::Video);
    if !receiver.peer(side).carries(mid) {
        return (false, None); // a keyframe would come too early, and the next one only after a while
    }
    if choice == Choice::Drop {
        return (false, keyframe);
    }
    if choice == Choice::Switch
        && let Some(subscription) = receiver.subscriptions.get_mut(&published.info.sid)
    {
        subscription.current = Some(arrived);
    }
    (write(receiver, mid, forwarded, choice), keyframe)
}

fn write(receiver: &mut Client, mid: Mid, forwarded: &Forwarded<'_>, choice: Choice) -> bool {
    let Forwarded { packet, codec, vp8, now, .. } = forwarded;
    let side = receiver.receiving();
    let peer = receiver.peer(side);
    let Some(pt) = peer.payload_type(*codec) else { return false };
    // One for each section, whatever tracks it carries: its numbers go on.
    let rewriter = peer.rewriters.entry(mid).or_default();
    let video = *codec != Codec::Opus;
    if choice == Choice::Switch {
        rewriter.switch(packet, if video { 90 } else { 48 }, vp8.as_ref(), *now);
    }
    let Some((sequence, time)) = rewriter.rewrite(packet, *now) else { return false };
    let mut outgoing = RtpWrite::new(pt, sequence.into(), time, packet.timestamp, forwarded.payload.clone())
        .marker(packet.header.marker)
        .nackable(video)
        .ext_vals(extensions(packet));
    if let Some(patch) = vp8.as_ref().and_then(|vp8| rewriter.patch(vp8)) {
        outgoing = outgoing.vp8_patch(patch);
    }
    peer.write(mid, outgoing);
    true
}

/// The others are made for each hop.
fn extensions(packet: &RtpPacket) -> ExtensionValues {
    let received = &packet.header.ext_vals;
    ExtensionValues {
        audio_level: received.audio_level,
        voice_activity: received.voice_activity,
        video_orientation: received.video_orientation,
        ..ExtensionValues::default()
    }
}

/// An IDR slice or its parameters, alone, in an aggregate or in the first fragment.
fn starts_h264_keyframe(payload: &[u8]) -> bool {
    const IDR: u8 = 5;
    const PARAMETERS: u8 = 7;
    const AGGREGATE: u8 = 24;
    const FRAGMENT: u8 = 28;
    let starts = |header: Option<&u8>| header.is_some_and(|header| matches!(header & 0x1f, IDR | PARAMETERS));
    match payload.first().map(|header| header & 0x1f) {
        Some(AGGREGATE) => starts(payload.get(3)),
        Some(FRAGMENT) => payload.get(1).is_some_and(|header| header & 0x80 != 0) && starts(payload.get(1)),
        Some(_) => starts(payload.first()),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::starts_h264_keyframe;

    #[test]
    fn h264_keyframe_is_found_in_every_packetization() {
        for keyframe in [&[0x65][..], &[0x67], &[0x78, 0, 9, 0x67], &[0x7c, 0x85]] {
            assert!(starts_h264_keyframe(keyframe), "{keyframe:x?}");
        }
        for other in [&[][..], &[0x61], &[0x78, 0, 9, 0x61], &[0x7c, 0x05], &[0x7c, 0x81]] {
            assert!(!starts_h264_keyframe(other), "{other:x?}");
        }
    }
}
