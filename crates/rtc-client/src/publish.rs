//! Published tracks: the requests to the server, and the packets.

use std::time::Instant;

use livekit_protocol::{
    AddTrackRequest, SimulcastCodec, SubscribedQualityUpdate, TrackInfo, TrackSource, TrackType, VideoLayer,
    VideoQuality,
};
use str0m::Rtc;
use str0m::change::SdpApi;
use str0m::format::{Codec, PayloadParams};
use str0m::media::{Direction, MediaKind, Mid, Pt, Rid, Simulcast, SimulcastLayer};
use str0m::rtp::{ExtensionValues, RtpWrite};
use tokio::sync::oneshot;

use crate::Error;
use crate::payload::{OPUS_SILENCE, Vp8, h264_packets};

/// A synthetic track to publish.
#[derive(Debug, Clone)]
pub struct Track {
    pub source: TrackSource,
    pub name: String,
    pub muted: bool,
    /// Width and height of the layers, smallest first. One entry is a track without simulcast; no entry is audio.
    pub layers: Vec<(u16, u16)>,
    /// The level that the audio packets carry, in dBov: 0 is the loudest, -127 silence.
    pub level: i8,
    /// Bits per second of each layer. Without them frames are less frequent, and each is one small packet.
    pub bitrates: Vec<u32>,
    /// H264 instead of VP8, if the client offers it (`Options::h264`) and the server accepts it.
    pub h264: bool,
    /// Sent instead of the request that is built from the other fields; its cids are replaced.
    pub request: Option<AddTrackRequest>,
}

impl Track {
    fn new(source: TrackSource, layers: &[(u16, u16)]) -> Self {
        Self {
            source,
            name: String::new(),
            muted: false,
            layers: layers.to_vec(),
            level: -127,
            bitrates: Vec::new(),
            h264: false,
            request: None,
        }
    }

    pub fn microphone() -> Self {
        Self::new(TrackSource::Microphone, &[])
    }

    /// A microphone whose packets carry the level of speech.
    pub fn speaking() -> Self {
        Self { level: -20, ..Self::microphone() }
    }

    /// A camera with three layers.
    pub fn camera() -> Self {
        Self::new(TrackSource::Camera, &[(320, 180), (640, 360), (1280, 720)])
    }

    /// A camera with the bitrates of livekit-client for 720 lines.
    pub fn camera_at_full_rate() -> Self {
        Self { bitrates: vec![160_000, 450_000, 1_700_000], ..Self::camera() }
    }

    pub fn camera_without_simulcast() -> Self {
        Self::new(TrackSource::Camera, &[(1280, 720)])
    }

    pub fn screen() -> Self {
        Self::new(TrackSource::ScreenShare, &[(1920, 1080)])
    }

    pub fn screen_audio() -> Self {
        Self::new(TrackSource::ScreenShareAudio, &[])
    }

    /// A track that is published with this request.
    pub fn asked_as(request: AddTrackRequest) -> Self {
        let mut layers = request.layers.clone();
        layers.sort_by_key(|layer| layer.quality);
        let size = |length: u32| u16::try_from(length).unwrap_or(u16::MAX);
        let layers = layers.iter().map(|layer| (size(layer.width), size(layer.height)));
        let mut track = Self::new(request.source(), &layers.collect::<Vec<_>>());
        track.muted = request.muted;
        track.request = Some(request);
        track
    }

    #[must_use]
    pub fn muted(mut self) -> Self {
        self.muted = true;
        self
    }

    #[must_use]
    pub fn in_h264(mut self) -> Self {
        self.h264 = true;
        self
    }

    fn codec(&self) -> Codec {
        match self.kind() {
            MediaKind::Audio => Codec::Opus,
            MediaKind::Video if self.h264 => Codec::H264,
            MediaKind::Video => Codec::Vp8,
        }
    }

    /// The time between two frames or audio packets.
    fn interval_ms(&self) -> u32 {
        match (self.kind(), self.bitrates.is_empty()) {
            (MediaKind::Audio, _) => PACKET_MS,
            (MediaKind::Video, true) => FRAME_MS,
            (MediaKind::Video, false) => FULL_RATE_FRAME_MS,
        }
    }

    fn kind(&self) -> MediaKind {
        if self.layers.is_empty() { MediaKind::Audio } else { MediaKind::Video }
    }
}

/// The rids of a simulcast track, smallest layer first, as livekit-client names them.
const RIDS: [&str; 3] = ["q", "h", "f"];

struct Layer {
    rid: Option<Rid>,
    size: (u16, u16),
    vp8: Vp8,
    sequence: u64,
    /// The length of a frame; 0 is the shortest one.
    frame_bytes: usize,
    /// Switched off by the server when the layer has no subscriber (dynacast).
    off: bool,
    keyframe_due: bool,
}

/// A track of this client.
pub struct Outgoing {
    pub cid: String,
    pub sid: Option<String>,
    pub info: Option<TrackInfo>,
    pub mid: Option<Mid>,
    pub muted: bool,
    pub removed: bool,
    pub reply: Option<oneshot::Sender<Result<TrackInfo, Error>>>,
    track: Track,
    layers: Vec<Layer>,
    /// Frames that are still skipped, as in a browser, whose encoder starts later than the audio of the same share. So
    /// the audio of tracks that are published together always arrives first.
    skipped_frames: u32,
    sequence: u64,
    timestamp: u32,
}

impl Outgoing {
    pub fn new(track: Track, reply: oneshot::Sender<Result<TrackInfo, Error>>) -> Self {
        let simulcast = track.layers.len() > 1;
        // Layers without a bitrate have frames of the least size.
        let bits = track.bitrates.iter().copied().chain(std::iter::repeat(0));
        let layers = track.layers.iter().zip(RIDS).zip(bits).map(|((size, rid), bits)| Layer {
            rid: simulcast.then(|| Rid::from(rid)),
            size: *size,
            vp8: Vp8::default(),
            sequence: first_sequence(),
            frame_bytes: usize::try_from(bits / 8 * FULL_RATE_FRAME_MS / 1000).unwrap_or_default(),
            off: false,
            keyframe_due: true,
        });
        Self {
            cid: format!("{:032x}", rand::random::<u128>()),
            sid: None,
            info: None,
            mid: None,
            muted: track.muted,
            removed: false,
            reply: Some(reply),
            layers: layers.collect(),
            skipped_frames: if track.layers.is_empty() { 0 } else { SKIPPED_FRAMES },
            sequence: first_sequence(),
            timestamp: rand::random(),
            track,
        }
    }

    pub fn request(&self) -> AddTrackRequest {
        if let Some(mut request) = self.track.request.clone() {
            // A test cannot know the cid, which the server needs to find the section.
            request.cid.clone_from(&self.cid);
            for codec in &mut request.simulcast_codecs {
                codec.cid.clone_from(&self.cid);
            }
            return request;
        }
        // The track's own size is that of its largest layer.
        let (width, height) = self.track.layers.last().copied().unwrap_or_default();
        let video = self.track.kind() == MediaKind::Video;
        let codec = if self.track.h264 { "h264" } else { "vp8" }.to_owned();
        let codec = SimulcastCodec { codec, cid: self.cid.clone(), ..SimulcastCodec::default() };
        AddTrackRequest {
            cid: self.cid.clone(),
            name: self.track.name.clone(),
            r#type: if video { TrackType::Video } else { TrackType::Audio }.into(),
            width: width.into(),
            height: height.into(),
            muted: self.track.muted,
            source: self.track.source.into(),
            layers: self.layers().collect(),
            simulcast_codecs: if video { vec![codec] } else { Vec::new() },
            ..AddTrackRequest::default()
        }
    }

    fn layers(&self) -> impl Iterator<Item = VideoLayer> {
        let single = self.track.layers.len() == 1;
        let qualities = if single {
            vec![VideoQuality::High]
        } else {
            vec![VideoQuality::Low, VideoQuality::Medium, VideoQuality::High]
        };
        self.track.layers.iter().zip(qualities).map(|((width, height), quality)| VideoLayer {
            quality: quality.into(),
            width: u32::from(*width),
            height: u32::from(*height),
            bitrate: u32::from(*width) * 1000,
            ..VideoLayer::default()
        })
    }

    /// Adds the section of this track to an offer. Its msid contains the cid, by which the server finds the track.
    pub fn add_section(&mut self, api: &mut SdpApi) {
        let simulcast = (self.layers.len() > 1).then(|| {
            let mut simulcast = Simulcast::new();
            for rid in RIDS.iter().take(self.layers.len()) {
                simulcast.add_send_layer(SimulcastLayer::new(rid));
            }
            simulcast
        });
        let stream = format!("{:016x}", rand::random::<u64>());
        let kind = self.track.kind();
        let mid = api.add_media(kind, Direction::SendOnly, Some(stream), Some(self.cid.clone()), simulcast);
        self.mid = Some(mid);
    }

    /// Applies the layers that the server wants.
    pub fn set_qualities(&mut self, update: &SubscribedQualityUpdate) {
        for wanted in update.subscribed_codecs.iter().flat_map(|codec| &codec.qualities) {
            let index = match wanted.quality() {
                VideoQuality::Low => 0,
                VideoQuality::Medium => 1,
                VideoQuality::High | VideoQuality::Off => self.layers.len().saturating_sub(1),
            };
            if let Some(layer) = self.layers.get_mut(index) {
                // A layer that starts again begins with a key frame, otherwise no receiver could decode it.
                layer.keyframe_due |= layer.off && wanted.enabled;
                layer.off = !wanted.enabled;
            }
        }
    }

    pub fn keyframe_wanted(&mut self, rid: Option<Rid>) {
        for layer in &mut self.layers {
            layer.keyframe_due |= rid.is_none() || layer.rid == rid;
        }
    }

    pub fn set_level(&mut self, level: i8) {
        self.track.level = level;
    }

    fn is_video(&self) -> bool {
        self.track.kind() == MediaKind::Video
    }

    /// The codec of the track, or VP8 if the server did not accept it.
    fn payload_type(&self, rtc: &Rtc, mid: Mid) -> Option<(Codec, Pt)> {
        // The codec that both sides accepted in the SDP, not the one that was asked for.
        let negotiated = rtc.media(mid)?.remote_pts();
        let of = |codec| {
            let params = rtc.codec_config().iter().filter(move |params| params.spec().codec == codec);
            params.map(PayloadParams::pt).find(|pt| negotiated.contains(pt)).map(|pt| (codec, pt))
        };
        of(self.track.codec()).or_else(|| of(Codec::Vp8).filter(|_| self.is_video()))
    }

    /// Returns the packets that are due at this tick: an audio packet, or the packets of one frame of each layer.
    pub fn packets(&mut self, rtc: &Rtc, now: Instant, tick: u32) -> Vec<(Mid, Option<Rid>, RtpWrite)> {
        let interval = self.track.interval_ms();
        let due = tick.is_multiple_of(interval / PACKET_MS);
        let Some(mid) = self.mid.filter(|_| due && !self.muted && !self.removed) else { return Vec::new() };
        let Some((codec, pt)) = self.payload_type(rtc, mid) else { return Vec::new() };
        if self.skipped_frames > 0 {
            // After the negotiation is complete, so that the delay is between media and not between offers.
            self.skipped_frames -= 1;
            return Vec::new();
        }
        // RTP clocks per millisecond: 90 kHz for video, 48 kHz for Opus.
        let clock = if self.is_video() { 90 } else { 48 };
        self.timestamp = self.timestamp.wrapping_add(clock * interval);
        let timestamp = self.timestamp;
        if !self.is_video() {
            self.sequence += 1;
            let level = ExtensionValues {
                audio_level: Some(self.track.level),
                voice_activity: Some(self.track.level > -60),
                ..ExtensionValues::default()
            };
            let packet = RtpWrite::new(pt, self.sequence.into(), timestamp, now, OPUS_SILENCE);
            return vec![(mid, None, packet.ext_vals(level))];
        }
        let mut packets = Vec::new();
        for layer in self.layers.iter_mut().filter(|layer| !layer.off) {
            let keyframe = std::mem::take(&mut layer.keyframe_due);
            let payloads = match codec {
                Codec::H264 => h264_packets(keyframe),
                _ => layer.vp8.packets(keyframe, layer.size, layer.frame_bytes),
            };
            let mut payloads = payloads.into_iter().peekable();
            while let Some(payload) = payloads.next() {
                layer.sequence += 1;
                // Video is repeated on request. A late audio packet has no use.
                let packet = RtpWrite::new(pt, layer.sequence.into(), timestamp, now, payload).nackable(true);
                packets.push((mid, layer.rid, packet.marker(payloads.peek().is_none())));
            }
        }
        packets
    }
}

/// A sequence number before the first roll-over, where SRTP starts to count.
fn first_sequence() -> u64 {
    u64::from(rand::random::<u16>() / 2)
}

/// The time between two audio packets.
pub const PACKET_MS: u32 = 20;
/// The time between two video frames: a multiple of the time between packets.
const FRAME_MS: u32 = 4 * PACKET_MS;
const FULL_RATE_FRAME_MS: u32 = 2 * PACKET_MS;
/// Frames of a new video track that are not sent.
const SKIPPED_FRAMES: u32 = 2;
