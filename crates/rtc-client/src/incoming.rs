//! What arrives over the connections: packets, data, requests for key frames.

use livekit_protocol::DataPacket;
use prost::Message as _;
use str0m::Event;

use crate::engine::Engine;
use crate::payload::{FrameStart, vp8_start};
use crate::seen::Data;
use crate::transport::Transport;

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
        let video = transport.rtc.media(mid).is_some_and(|media| media.kind().is_video());
        let (sequence, marker) = (*packet.seq_no, packet.header.marker);
        self.shared.change(|seen| {
            let Some(sid) = seen.sections.get(&mid.to_string()).cloned() else { return };
            let track = seen.received.entry(sid).or_default();
            track.number(sequence);
            // Padding only: probing, or the end of a track.
            if packet.payload.is_empty() {
                return;
            }
            track.packets += 1;
            track.bytes += packet.payload.len() as u64;
            track.frames += u64::from(!video || marker);
            if video && let Some(FrameStart::Key(width, height)) = vp8_start(&packet.payload) {
                track.keyframes += 1;
                track.size = Some((width, height));
            }
        });
    }
}
