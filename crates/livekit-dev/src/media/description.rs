//! What others read of a track: from what its client asked for, and from what has arrived.

#![expect(deprecated, reason = "old clients read the older fields, and the real server fills them")]

use livekit_protocol::{
    AddTrackRequest, BackupCodecPolicy, SimulcastCodecInfo, TrackInfo, TrackSource, TrackType, VideoLayer,
    video_layer,
};
use str0m::{format::Codec, media::Mid};

use super::{client::Published, layers::rid_of};
use crate::ids;

impl Published {
    /// The layers that were promised, with what is known of those that have come.
    pub(super) fn described_layers(&self) -> Vec<VideoLayer> {
        let mut layers = self.info.layers.clone();
        for layer in &mut layers {
            let rid = rid_of(layer.quality, self.info.layers.len());
            // A layer is known by its rid; a track without simulcast has none.
            let arrived = self.layers.iter().find(|arrived| match arrived.rid {
                Some(arrived) => &*arrived == rid,
                None => !self.simulcast,
            });
            if let Some(arrived) = arrived {
                layer.ssrc = arrived.ssrc;
                layer.spatial_layer = layer.quality;
                layer.rid = arrived.rid.map(|rid| rid.to_string()).unwrap_or_default();
            }
        }
        layers
    }
}

pub(super) fn mime_type(codec: Codec) -> &'static str {
    match codec {
        Codec::Opus => "audio/opus",
        Codec::Vp8 => "video/VP8",
        Codec::H264 => "video/H264",
        _ => "",
    }
}

pub(super) fn set_media(info: &mut TrackInfo, mid: Mid, mime: &str) {
    info.mid = mid.to_string();
    mime.clone_into(&mut info.mime_type);
    for codec in &mut info.codecs {
        codec.mid.clone_from(&info.mid);
        mime.clone_into(&mut codec.mime_type);
    }
}

pub(super) fn set_layers(info: &mut TrackInfo, layers: Vec<VideoLayer>) {
    for codec in &mut info.codecs {
        codec.layers.clone_from(&layers);
    }
    info.layers = layers;
}

pub(super) fn track_info(request: &AddTrackRequest) -> TrackInfo {
    let audio = request.r#type() == TrackType::Audio;
    // Clients send layers in any order; the quality is their order here.
    let mut layers = request.layers.clone();
    layers.sort_by_key(|layer| layer.quality);
    let policy = if audio { BackupCodecPolicy::Simulcast } else { BackupCodecPolicy::PreferRegression };
    TrackInfo {
        sid: ids::track(request.r#type(), request.source()),
        r#type: request.r#type,
        name: request.name.clone(),
        muted: request.muted,
        width: request.width,
        height: request.height,
        simulcast: layers.len() > 1,
        disable_dtx: request.disable_dtx,
        source: request.source,
        codecs: codecs(request, &layers),
        layers,
        stereo: request.stereo,
        disable_red: request.disable_red,
        encryption: request.encryption,
        stream: stream_name(request),
        audio_features: request.audio_features.clone(),
        backup_codec_policy: policy as i32,
        packet_trailer_features: request.packet_trailer_features.clone(),
        ..TrackInfo::default()
    }
}

fn stream_name(request: &AddTrackRequest) -> String {
    if !request.stream.is_empty() {
        return request.stream.clone();
    }
    let name = match request.source() {
        TrackSource::Camera | TrackSource::Microphone => "camera",
        TrackSource::ScreenShare | TrackSource::ScreenShareAudio => "screen",
        TrackSource::Unknown => "unknown",
    };
    name.to_owned()
}

/// As the client names them, the first only: there are no backup codecs here.
fn codecs(request: &AddTrackRequest, layers: &[VideoLayer]) -> Vec<SimulcastCodecInfo> {
    let named = request.simulcast_codecs.first();
    let mime = named.filter(|codec| !codec.codec.is_empty()).map(|codec| format!("video/{}", codec.codec));
    let cid = named.map(|codec| codec.cid.clone()).filter(|cid| !cid.is_empty());
    vec![SimulcastCodecInfo {
        mime_type: mime.unwrap_or_default(),
        // Older clients have no codecs, and their cid is that of the request.
        cid: cid.unwrap_or_else(|| request.cid.clone()),
        layers: layers.to_vec(),
        video_layer_mode: video_layer::Mode::OneSpatialLayerPerStream as i32,
        ..SimulcastCodecInfo::default()
    }]
}
