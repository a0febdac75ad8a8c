//! Handles what arrives over the connections: packets, data, requests for key frames.

use livekit_protocol::DataPacket;
use prost::Message as _;
use str0m::Event;
use str0m::format::Codec;
use str0m::media::KeyframeRequestKind;

use crate::engine::Engine;
use crate::observed::Data;
use crate::payload::{FrameStart, starts_h264_key_frame, vp8_start};
use crate::transport::Transport;

/// Until the first key frame, one is requested once in this many frames.
const FRAMES_PER_REQUEST: u64 = 8;

impl Engine {
    pub fn on_event(&mut self, event: Event, subscriber: bool) {
        match event {
            Event::RtpPacket(packet) => self.on_packet(&packet, subscriber),
            Event::ChannelData(data) => {
                let transport = self.transport(subscriber);
                let channel =
                    transport.and_then(|transport| transport.label(data.id)).unwrap_or("").to_owned();
                if let Ok(packet) = DataPacket::decode(data.data.as_slice()) {
                    self.shared.change(|seen| seen.data.push(Data { channel, packet }));
                }
            }
            Event::KeyframeRequest(request) => {
                let track = self.tracks.iter_mut().find(|track| track.mid == Some(request.mid));
                if let Some(track) = track {
                    track.keyframe_wanted(request.rid);
                    let sid = track.sid.clone().unwrap_or_default();
                    self.shared.change(|seen| *seen.keyframe_requests.entry(sid).or_default() += 1);
                }
            }
            _ => {}
        }
    }

    pub fn transport(&mut self, subscriber: bool) -> Option<&mut Transport> {
        if subscriber { self.subscriber.as_mut() } else { Some(&mut self.publisher) }
    }

    fn on_packet(&mut self, packet: &str0m::rtp::RtpPacket, subscriber: bool) {
        let ssrc = packet.header.ssrc;
        let Some(transport) = self.transport(subscriber) else { return };
        let Some(mid) = transport.rtc.direct_api().stream_rx(&ssrc).map(|stream| stream.mid()) else {
            return;
        };
        let pt = packet.header.payload_type;
        let codec = transport.rtc.codec_config().find(|params| params.pt() == pt);
        let Some(codec) = codec.map(|params| params.spec().codec) else { return };
        let video = codec.is_video();
        let (sequence, marker) = (*packet.seq_no, packet.header.marker);
        let undecodable = self.shared.change(|seen| {
            let Some(sid) = seen.sections.get(&mid.to_string()).cloned() else { return false };
            let track = seen.received.entry(sid).or_default();
            // Before the check for padding, because padding has sequence numbers too.
            track.number(sequence);
            // Padding only: probing, or the end of a track.
            if packet.payload.is_empty() {
                return false;
            }
            track.packets += 1;
            track.bytes += packet.payload.len() as u64;
            // Audio has a frame in each packet; a video frame ends with the marker.
            track.frames += u64::from(!video || marker);
            track.h264 = codec == Codec::H264;
            if track.h264 {
                track.keyframes += u64::from(starts_h264_key_frame(&packet.payload));
            } else if video && let Some(FrameStart::Key(width, height)) = vp8_start(&packet.payload) {
                track.keyframes += 1;
                track.size = Some((width, height));
            }
            video && track.keyframes == 0 && track.frames % FRAMES_PER_REQUEST == 1
        });
        // As in any client, the first packets may arrive before the answer that describes them.
        if undecodable
            && let Some(transport) = self.transport(subscriber)
            && let Some(stream) = transport.rtc.direct_api().stream_rx(&ssrc)
        {
            stream.request_keyframe(KeyframeRequestKind::Pli);
        }
    }
}
