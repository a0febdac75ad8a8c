//! Synthetic media: Opus silence, and VP8 and H264 frames with the headers of real ones. Also reads the headers of
//! received frames.

/// A valid Opus packet: 20 ms of silence.
pub const OPUS_SILENCE: &[u8] = &[0xf8, 0xff, 0xfe];

/// A whole VP8 key frame of one macroblock after its 10-byte header.
const KEYFRAME_BODY: &[u8] = &[0x00, 0x0e, 0xc0, 0xfe, 0x25, 0xa4, 0x00, 0x03, 0x70, 0x00];
const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
/// The largest payload of a packet: with headers and encryption it fits in an MTU of 1,200 bytes.
const LARGEST_PAYLOAD: usize = 1100;
/// The bytes of the payload descriptor that `frame` writes.
const DESCRIPTOR: usize = 6;
/// The bit that marks the first packet of a frame.
const FIRST: u8 = 0x10;

/// Counters of the VP8 payload descriptor (RFC 7741).
#[derive(Debug, Default)]
pub struct Vp8 {
    picture_id: u16,
    tl0_pic_idx: u8,
    key_idx: u8,
}

impl Vp8 {
    /// Returns the RTP payload of the next frame: a key frame, or a frame that changes nothing.
    pub fn frame(&mut self, keyframe: bool, (width, height): (u16, u16)) -> Vec<u8> {
        // 15 bits, so that the two-byte form of the picture id always applies.
        self.picture_id = (self.picture_id + 1) & 0x7fff;
        self.tl0_pic_idx = self.tl0_pic_idx.wrapping_add(1);
        if keyframe {
            self.key_idx = (self.key_idx + 1) & 0x1f;
        }
        let [high, low] = self.picture_id.to_be_bytes();
        // X and S; then I, L and T with K; the picture id in two bytes; temporal layer 0, synchronized.
        let mut payload = vec![0x90, 0xf0, 0x80 | high, low, self.tl0_pic_idx, 0x20 | self.key_idx];
        if keyframe {
            // Frame tag: key frame, shown, the size of the first partition.
            payload.extend([0x10 | 0x20, 0x01, 0x00]);
            payload.extend(START_CODE);
            payload.extend(width.to_le_bytes());
            payload.extend(height.to_le_bytes());
            payload.extend(KEYFRAME_BODY);
        } else {
            payload.extend([0x31, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00]);
        }
        payload
    }

    /// Returns the payloads of the next frame, which has `bytes` bytes or, if that is too short, the minimum.
    pub fn packets(&mut self, keyframe: bool, size: (u16, u16), bytes: usize) -> Vec<Vec<u8>> {
        let mut frame = self.frame(keyframe, size);
        frame.resize(frame.len().max(bytes), 0);
        let (descriptor, body) = frame.split_at(DESCRIPTOR);
        let mut descriptor = descriptor.to_vec();
        let chunks = body.chunks(LARGEST_PAYLOAD - DESCRIPTOR).map(|chunk| {
            let payload = [descriptor.as_slice(), chunk].concat();
            // Only the first packet of a frame has the start bit.
            descriptor[0] &= !FIRST;
            payload
        });
        chunks.collect()
    }
}

/// Returns the payloads of an H264 frame (RFC 6184): the parameters in an aggregate and a slice, or a slice alone.
pub fn h264_packets(keyframe: bool) -> Vec<Vec<u8>> {
    if keyframe {
        let aggregate = vec![0x78, 0, 4, 0x67, 0x42, 0xe0, 0x1f, 0, 4, 0x68, 0xce, 0x38, 0x80];
        vec![aggregate, vec![0x65, 0x88, 0x84, 0x00]]
    } else {
        vec![vec![0x61, 0x9a, 0x00, 0x00]]
    }
}

/// Whether the payload is the first of a key frame: the aggregate with its parameters.
pub fn starts_h264_key_frame(payload: &[u8]) -> bool {
    // 0x78 is an aggregate (STAP-A); type 7 of its first unit are the sequence parameters.
    payload.first() == Some(&0x78) && payload.get(3).is_some_and(|header| header & 0x1f == 7)
}

/// The information in the first packet of a VP8 frame.
#[derive(Debug, PartialEq, Eq)]
pub enum FrameStart {
    Key(u16, u16),
    Delta,
}

/// Reads the start of a VP8 frame; `None` for a packet in the middle of one.
pub fn vp8_start(payload: &[u8]) -> Option<FrameStart> {
    let (&first, mut rest) = payload.split_first()?;
    // The descriptor is optional in each part, so its length depends on its own bits.
    if first & 0x80 != 0 {
        let (&extensions, after) = rest.split_first()?;
        let picture_id = match (extensions & 0x80 != 0, after.first()) {
            (true, Some(id)) if id & 0x80 != 0 => 2,
            (true, _) => 1,
            (false, _) => 0,
        };
        // One byte for TL0PICIDX, and one shared by TID and KEYIDX.
        let others = usize::from(extensions & 0x40 != 0) + usize::from(extensions & 0x30 != 0);
        rest = after.get(picture_id + others..)?;
    }
    // S = 1 and partition 0.
    if first & 0x17 != 0x10 {
        return None;
    }
    match rest {
        [tag, ..] if tag & 1 == 1 => Some(FrameStart::Delta),
        [_, _, _, a, b, c, w0, w1, h0, h1, ..] if [*a, *b, *c] == START_CODE => {
            // The upper two bits are the scale.
            let size = |low, high| u16::from_le_bytes([low, high]) & 0x3fff;
            Some(FrameStart::Key(size(*w0, *w1), size(*h0, *h1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{FrameStart, Vp8, h264_packets, starts_h264_key_frame, vp8_start};

    #[test]
    fn synthetic_frames_are_read_back() {
        let mut vp8 = Vp8::default();
        for _ in 0..40_000 {
            assert_eq!(vp8_start(&vp8.frame(true, (1280, 720))), Some(FrameStart::Key(1280, 720)));
            assert_eq!(vp8_start(&vp8.frame(false, (1280, 720))), Some(FrameStart::Delta));
        }
    }

    #[test]
    fn h264_key_frame_is_recognized_by_its_first_packet() {
        let starts = |keyframe| {
            h264_packets(keyframe).iter().map(|one| starts_h264_key_frame(one)).collect::<Vec<_>>()
        };
        assert_eq!((starts(true), starts(false)), (vec![true, false], vec![false]));
    }

    #[test]
    fn large_frame_starts_in_its_first_packet_only() {
        let packets = Vp8::default().packets(true, (640, 360), 5_000);
        let starts: Vec<_> = packets.iter().map(|packet| vp8_start(packet)).collect();
        assert_eq!(starts, [Some(FrameStart::Key(640, 360)), None, None, None, None]);
        assert!(packets.iter().all(|packet| packet.len() <= super::LARGEST_PAYLOAD));
        assert_eq!(Vp8::default().packets(false, (640, 360), 0).len(), 1);
    }

    #[test]
    fn packet_in_the_middle_starts_no_frame() {
        let mut payload = Vp8::default().frame(true, (16, 16));
        payload[0] &= !0x10;
        assert_eq!(vp8_start(&payload), None);
        assert_eq!(vp8_start(&[]), None);
        assert_eq!(vp8_start(&[0x90, 0xff]), None);
    }
}
