//! Real, small media: silence in AAC, long as what was recorded, as an MP4 file or as a segment of an HLS stream.

pub(crate) mod mp4;
pub(crate) mod ts;

/// Samples per second.
const RATE: u32 = 48_000;
/// Samples in a frame of AAC-LC.
const FRAME: u32 = 1024;
/// One frame of stereo silence.
const SILENCE: [u8; 9] = [0x21, 0x00, 0x49, 0x90, 0x02, 0x19, 0x00, 0x23, 0x80];
/// AAC-LC, 48 kHz, stereo.
const CONFIG: [u8; 2] = [0x11, 0x90];
/// An hour: more silence than that is of no use.
const MOST_FRAMES: u32 = RATE * 3600 / FRAME;

/// How many frames so many nanoseconds are; at least one, or there would be nothing to play.
pub(crate) fn frames_in(nanoseconds: i64) -> u32 {
    let samples = i128::from(nanoseconds) * i128::from(RATE) / 1_000_000_000;
    u32::try_from(samples / i128::from(FRAME)).unwrap_or(0).clamp(1, MOST_FRAMES)
}
