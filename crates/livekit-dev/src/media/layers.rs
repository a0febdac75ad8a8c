//! Which encoding of a video a subscriber gets, and which ones its publisher should send.

#![expect(deprecated, reason = "old clients read the older fields, and the real server fills them")]

use std::time::{Duration, Instant};

use livekit_protocol::{
    SubscribedCodec, SubscribedQuality, SubscribedQualityUpdate, TrackInfo, VideoQuality,
    signal_response::Message,
};
use str0m::media::{MediaKind, Rid};

use super::{
    client::{Encoding, Layer, Published, Sid},
    engine::Engine,
};

/// A layer without a packet for so long is not sent any more.
const ALIVE: Duration = Duration::from_millis(700);

/// How soon a publisher may stop what is wanted no longer.
const DOWNGRADE: Duration = Duration::from_secs(5);

/// How soon a publisher may stop altogether.
const PAUSE: Duration = Duration::from_millis(400);

const QUALITIES: [VideoQuality; 3] = [VideoQuality::Low, VideoQuality::Medium, VideoQuality::High];

/// What a subscriber asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    pub disabled: bool,
    pub quality: i32,
    /// 0: the quality decides.
    pub height: u32,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { disabled: false, quality: VideoQuality::High as i32, height: 0 }
    }
}

impl Wanted {
    /// The best quality that is of use: the smallest layer that is high enough.
    pub(super) fn quality_of(&self, track: &TrackInfo) -> Option<i32> {
        if self.disabled {
            return None;
        }
        if self.height == 0 {
            return Some(self.quality);
        }
        // With several layers that are high enough, the smallest one costs least.
        let enough = track.layers.iter().filter(|layer| layer.height >= self.height);
        let smallest = enough.min_by_key(|layer| layer.height);
        Some(smallest.map_or(VideoQuality::High as i32, |layer| layer.quality))
    }
}

/// The name of the encoding of a quality. Names are fixed, whatever their order in an offer.
pub(super) fn rid_of(quality: i32, layers: usize) -> &'static str {
    match (quality, layers) {
        (0, _) => "q",
        (1, _) | (_, 2) => "h",
        _ => "f",
    }
}

/// The order of encodings; a video with one has no name for it.
pub(super) fn rank(rid: Option<Rid>) -> i32 {
    match rid.as_deref() {
        Some("q") => 0,
        Some("h") => 1,
        _ => 2,
    }
}

/// The best layer that is wanted and sent; else the smallest one that is sent.
pub(super) fn choose(layers: &[Layer], quality: i32, now: Instant) -> Option<Encoding> {
    let alive = || layers.iter().filter(|layer| now.saturating_duration_since(layer.last_packet) < ALIVE);
    // A layer that is not sent any more must not be chosen, however good it is.
    let wanted = alive().filter(|layer| rank(layer.rid) <= quality).max_by_key(|layer| rank(layer.rid));
    wanted.or_else(|| alive().min_by_key(|layer| rank(layer.rid))).map(|layer| Encoding(layer.rid))
}

/// What a publisher was asked to send.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dynacast {
    /// None: nothing has been said. -1: nothing is wanted.
    requested: Option<i32>,
    lower_since: Option<Instant>,
}

impl Dynacast {
    /// What is to be said now, if anything: more at once, less after a while.
    fn next(&mut self, wanted: i32, now: Instant) -> Option<i32> {
        let requested = match self.requested {
            None if wanted < 0 => return None,
            // Nothing was said yet: the first layer that is wanted is asked for at once.
            None => -1,
            Some(requested) => requested,
        };
        if wanted == requested && self.requested.is_some() {
            // Wanted again before the delay was over, so nothing changes.
            self.lower_since = None;
            return None;
        }
        // Counted from the first moment in which less was wanted.
        let since = *self.lower_since.get_or_insert(now);
        let delay = if wanted < 0 { PAUSE } else { DOWNGRADE };
        if wanted < requested && now.saturating_duration_since(since) < delay {
            return None;
        }
        self.requested = Some(wanted);
        self.lower_since = None;
        Some(wanted)
    }
}

impl Engine {
    /// Asks publishers for the layers that are wanted.
    pub(super) fn dynacast(&mut self, now: Instant) {
        let mut needs: Vec<(Sid, String, i32)> = Vec::new();
        for (sid, client) in &self.clients {
            for published in client.announced().filter(|published| published.kind == MediaKind::Video) {
                needs.push((sid.clone(), published.info.sid.clone(), self.best_wanted(published)));
            }
        }
        for (sid, track, wanted) in needs {
            let Some(client) = self.clients.get_mut(&sid) else { continue };
            let update = client.track(&track).and_then(|published| {
                let best = published.dynacast.next(wanted, now)?;
                Some(quality_update(&published.info, best))
            });
            if let Some(update) = update {
                client.send(Message::SubscribedQualityUpdate(update));
            }
        }
    }

    /// -1: no subscriber wants it now.
    fn best_wanted(&self, published: &Published) -> i32 {
        let wanted = published.subscribers.iter().filter_map(|sid| {
            let subscription = self.clients.get(sid)?.subscriptions.get(&published.info.sid)?;
            // Without a section the subscriber cannot receive the track yet.
            subscription.mid?;
            subscription.wanted.quality_of(&published.info)
        });
        wanted.max().unwrap_or(-1)
    }

    /// All that a client asks of some tracks.
    pub(super) fn track_setting(&mut self, sid: &Sid, tracks: &[String], wanted: Wanted) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let mut shown = Vec::new();
        for track in tracks {
            if let Some(subscription) = client.subscriptions.get_mut(track) {
                if subscription.wanted.disabled && !wanted.disabled {
                    // Forgets the layer, so that the picture begins with a keyframe.
                    subscription.current = None;
                    shown.push((subscription.publisher.clone(), track.clone()));
                }
                subscription.wanted = wanted;
            }
        }
        for (publisher, track) in shown {
            self.request_keyframes(&publisher, &track);
        }
    }
}

/// Both forms: old clients read the first.
fn quality_update(info: &TrackInfo, best: i32) -> SubscribedQualityUpdate {
    let enabled = |quality: &VideoQuality| SubscribedQuality {
        quality: *quality as i32,
        enabled: (*quality as i32) <= best,
    };
    let qualities: Vec<SubscribedQuality> = QUALITIES.iter().map(enabled).collect();
    let codec = info.mime_type.trim_start_matches("video/").to_lowercase();
    SubscribedQualityUpdate {
        track_sid: info.sid.clone(),
        subscribed_qualities: qualities.clone(),
        subscribed_codecs: vec![SubscribedCodec { codec, qualities }],
    }
}

impl Published {
    /// Notes a packet. True: it is the first of its layer.
    pub(super) fn layer_arrived(&mut self, rid: Option<Rid>, ssrc: u32, now: Instant) -> bool {
        if let Some(layer) = self.layers.iter_mut().find(|layer| layer.rid == rid) {
            layer.last_packet = now;
            return false;
        }
        self.layers.push(Layer { rid, ssrc, last_packet: now, keyframe_asked: None, keyframe_wanted: false });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(rids: &[&str], now: Instant) -> Vec<Layer> {
        let layer = |rid: &&str| Layer {
            rid: (!rid.is_empty()).then(|| Rid::from(*rid)),
            ssrc: 1,
            last_packet: now,
            keyframe_asked: None,
            keyframe_wanted: false,
        };
        rids.iter().map(layer).collect()
    }

    fn chosen(layers: &[Layer], quality: i32, now: Instant) -> Option<String> {
        choose(layers, quality, now).map(|chosen| chosen.0.map(|rid| rid.to_string()).unwrap_or_default())
    }

    #[test]
    fn layer_is_chosen_by_name_not_by_order() {
        let now = Instant::now();
        let layers = layers(&["f", "q", "h"], now);
        assert_eq!(chosen(&layers, 0, now).as_deref(), Some("q"));
        assert_eq!(chosen(&layers, 1, now).as_deref(), Some("h"));
        assert_eq!(chosen(&layers, 2, now).as_deref(), Some("f"));
    }

    #[test]
    fn layer_that_is_not_sent_is_replaced() {
        let now = Instant::now();
        let mut layers = layers(&["q", "h", "f"], now);
        let later = now + ALIVE;
        layers[0].last_packet = later;
        assert_eq!(chosen(&layers, 2, later).as_deref(), Some("q"));
        layers[0].last_packet = now;
        layers[2].last_packet = later;
        assert_eq!(chosen(&layers, 0, later).as_deref(), Some("f"));
        assert_eq!(chosen(&layers, 0, later + ALIVE), None);
    }

    #[test]
    fn single_encoding_is_always_chosen() {
        let now = Instant::now();
        assert_eq!(chosen(&layers(&[""], now), 0, now).as_deref(), Some(""));
    }

    #[test]
    fn smaller_layer_is_wanted_late_and_larger_at_once() {
        let now = Instant::now();
        let mut dynacast = Dynacast::default();
        assert_eq!(dynacast.next(-1, now), None);
        assert_eq!(dynacast.next(2, now), Some(2));
        assert_eq!(dynacast.next(0, now), None);
        assert_eq!(dynacast.next(0, now + DOWNGRADE), Some(0));
        assert_eq!(dynacast.next(-1, now + DOWNGRADE), None);
        assert_eq!(dynacast.next(-1, now + DOWNGRADE + PAUSE), Some(-1));
        assert_eq!(dynacast.next(1, now + DOWNGRADE + PAUSE), Some(1));
    }

    #[test]
    fn smallest_layer_that_is_high_enough_is_wanted() {
        let layer = |quality: VideoQuality, height| livekit_protocol::VideoLayer {
            quality: quality as i32,
            height,
            ..Default::default()
        };
        let layers = vec![
            layer(VideoQuality::Low, 180),
            layer(VideoQuality::Medium, 360),
            layer(VideoQuality::High, 720),
        ];
        let track = TrackInfo { layers, ..TrackInfo::default() };
        let quality = |height, disabled| Wanted { disabled, height, ..Wanted::default() }.quality_of(&track);
        assert_eq!(quality(90, false), Some(0));
        assert_eq!(quality(181, false), Some(1));
        assert_eq!(quality(1080, false), Some(2));
        assert_eq!(quality(0, false), Some(2));
        assert_eq!(quality(90, true), None);
    }
}
