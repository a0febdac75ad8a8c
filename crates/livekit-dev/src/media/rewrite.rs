//! Numbers of outgoing packets. Every section to a client is one stream of numbers, whatever tracks and layers it
//! carries: at a switch they go on where they were.

use std::time::Instant;

use str0m::rtp::{RtpPacket, Vp8Descriptor, Vp8Patch};

/// Below 65 536 with room before it: SRTP counts roll-overs from 0.
const FIRST: i64 = 1000;

/// The usual distance of two frames, if nothing better is known.
const FRAME_MS: i64 = 33;

#[derive(Clone, Debug, Default)]
pub(super) struct Rewriter {
    started: bool,
    sequence_offset: i64,
    time_offset: i64,
    picture_offset: i64,
    tl0_offset: i64,
    last_sequence: i64,
    /// The latest packet came after one that follows it.
    late: bool,
    last_time: u32,
    last_at: Option<Instant>,
    last_picture: i64,
    last_tl0: i64,
    /// The number of the first packet after the latest switch.
    first: i64,
}

/// The numbers of a packet: sequence and timestamp.
type Numbers = (i64, i64);

impl Rewriter {
    /// The next packet is the first of another track or layer.
    pub(super) fn switch(
        &mut self,
        packet: &RtpPacket,
        clock_khz: i64,
        vp8: Option<&Vp8Descriptor>,
        now: Instant,
    ) {
        self.switch_at(incoming(packet), clock_khz, now);
        // At the very first packet there is nothing to go on from.
        if let Some(vp8) = vp8.filter(|_| self.first > FIRST) {
            self.picture_offset = self.last_picture + 1 - i64::from(vp8.picture_id().unwrap_or_default());
            self.tl0_offset = self.last_tl0 + 1 - i64::from(vp8.tl0_pic_idx().unwrap_or_default());
        }
    }

    fn switch_at(&mut self, (sequence, time): Numbers, clock_khz: i64, now: Instant) {
        if !self.started {
            self.started = true;
            self.first = FIRST;
            self.sequence_offset = FIRST - sequence;
            // The timestamp stays as it is: only its differences matter.
            return;
        }
        let elapsed = self.last_at.map(|at| now.saturating_duration_since(at));
        let elapsed_ms =
            elapsed.and_then(|elapsed| i64::try_from(elapsed.as_millis()).ok()).unwrap_or(FRAME_MS);
        self.first = self.last_sequence + 1;
        self.sequence_offset = self.first - sequence;
        // At least one millisecond, because two frames must not have the same time.
        self.time_offset = i64::from(self.last_time) + (elapsed_ms * clock_khz).max(clock_khz) - time;
    }

    /// The sequence number and timestamp to send. None: the packet is older than the switch.
    pub(super) fn rewrite(&mut self, packet: &RtpPacket, now: Instant) -> Option<(u64, u32)> {
        self.number(incoming(packet), now)
    }

    fn number(&mut self, (sequence, time): Numbers, now: Instant) -> Option<(u64, u32)> {
        let sequence = sequence + self.sequence_offset;
        // Older than the switch: it belongs to what the receiver has forgotten.
        if sequence < self.first {
            return None;
        }
        // Timestamps roll over at 32 bits.
        let time = u32::try_from((time + self.time_offset).rem_euclid(1 << 32)).unwrap_or_default();
        self.late = sequence <= self.last_sequence;
        // A late packet must not move the numbers back.
        if !self.late {
            self.last_sequence = sequence;
            self.last_time = time;
            self.last_at = Some(now);
        }
        Some((u64::try_from(sequence).ok()?, time))
    }

    /// The picture numbers to send, of the packet that was numbered last.
    pub(super) fn patch(&mut self, vp8: &Vp8Descriptor) -> Option<Vp8Patch> {
        let mut patch = vp8.patch();
        if let Some(picture) = vp8.picture_id() {
            // Picture ids have 15 bits.
            let picture = (i64::from(picture) + self.picture_offset).rem_euclid(1 << 15);
            if !self.late {
                self.last_picture = picture;
            }
            patch = patch.picture_id(u16::try_from(picture).unwrap_or_default());
        }
        if let Some(tl0) = vp8.tl0_pic_idx() {
            // This index has 8 bits.
            let tl0 = (i64::from(tl0) + self.tl0_offset).rem_euclid(1 << 8);
            if !self.late {
                self.last_tl0 = tl0;
            }
            patch = patch.tl0_pic_idx(u8::try_from(tl0).unwrap_or_default());
        }
        patch.build().ok()
    }
}

fn incoming(packet: &RtpPacket) -> Numbers {
    (i64::try_from(*packet.seq_no).unwrap_or_default(), i64::from(packet.header.timestamp))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn first_number_is_low_whatever_the_publisher_counts() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        rewriter.switch_at((65_000, 7), 90, now);
        assert_eq!(rewriter.number((65_000, 7), now), Some((1000, 7)));
        assert_eq!(rewriter.number((65_002, 9), now), Some((1002, 9)));
        assert_eq!(rewriter.number((65_001, 8), now), Some((1001, 8)), "out of order");
    }

    #[test]
    fn numbers_continue_at_a_switch() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        rewriter.switch_at((5, 100), 90, now);
        rewriter.number((5, 100), now);
        let later = now + Duration::from_millis(40);
        rewriter.switch_at((9_000, 77), 90, later);
        assert_eq!(rewriter.number((9_000, 77), later), Some((1001, 100 + 40 * 90)));
        assert_eq!(rewriter.number((9_001, 78), later), Some((1002, 101 + 40 * 90)));
    }

    #[test]
    fn packet_before_a_switch_reuses_no_number() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        rewriter.switch_at((5, 0), 90, now);
        rewriter.number((5, 0), now);
        assert_eq!(rewriter.number((4, 0), now), None);
        rewriter.switch_at((9_000, 0), 90, now);
        assert_eq!(rewriter.number((8_999, 0), now), None);
        assert!(rewriter.number((9_000, 0), now).is_some());
    }

    fn vp8(picture: u16, tl0: u8) -> Vp8Descriptor {
        let [high, low] = picture.to_be_bytes();
        Vp8Descriptor::parse(&[0x90, 0xe0, 0x80 | high, low, tl0, 0, 0, 0, 0]).unwrap()
    }

    #[test]
    fn late_packet_does_not_set_pictures_back() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        rewriter.switch_at((5, 0), 90, now);
        for (sequence, picture, tl0) in [(5, 32_766, 254), (7, 0, 0), (6, 32_767, 255)] {
            rewriter.number((sequence, 0), now);
            rewriter.patch(&vp8(picture, tl0)).unwrap();
        }
        assert_eq!((rewriter.last_picture, rewriter.last_tl0), (0, 0));
    }

    #[test]
    fn timestamps_wrap_around() {
        let (mut rewriter, now) = (Rewriter::default(), Instant::now());
        rewriter.switch_at((1, 0), 48, now);
        rewriter.number((1, i64::from(u32::MAX)), now);
        rewriter.switch_at((1, 0), 48, now + Duration::from_millis(1));
        assert_eq!(rewriter.number((1, 0), now), Some((1001, 47)));
    }
}
