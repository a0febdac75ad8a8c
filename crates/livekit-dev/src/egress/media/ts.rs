//! A segment of an HLS stream: an MPEG transport stream with one track of AAC (ISO/IEC 13818-1), and its playlist.

use super::{FRAME, RATE, SILENCE};

const PACKET: usize = 188;
const MAP_PID: u16 = 0x1000;
const AUDIO_PID: u16 = 0x100;
/// Ticks of the stream's clock in a second.
const CLOCK: u64 = 90_000;

/// Association table, map table, then each frame in a packet of its own.
pub(crate) fn segment(frames: u32) -> Vec<u8> {
    let mut stream = table(0, &section(0, &programs()));
    stream.extend(table(MAP_PID, &section(2, &tracks())));
    for frame in 0..frames {
        // In ticks of 90 kHz, multiplied before the division so that nothing is lost.
        let at = u64::from(frame) * u64::from(FRAME) * CLOCK / u64::from(RATE);
        stream.extend(audio(frame, &pes(at)));
    }
    stream
}

/// The playlist of that one segment.
pub(crate) fn playlist(segment: &str, frames: u32, ended: bool) -> String {
    let seconds = f64::from(frames) * f64::from(FRAME) / f64::from(RATE);
    let (longest, end) = (seconds.ceil(), if ended { "#EXT-X-ENDLIST\n" } else { "" });
    format!(
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:{longest}\n#EXT-X-MEDIA-SEQUENCE:0\n\
         #EXTINF:{seconds:.3},\n{segment}\n{end}"
    )
}

/// Program 1 is described at [`MAP_PID`].
fn programs() -> Vec<u8> {
    [[0, 1], pid(MAP_PID)].concat()
}

/// The clock of its only track, which is AAC in ADTS.
fn tracks() -> Vec<u8> {
    [&pid(AUDIO_PID)[..], &[0xF0, 0], &[0x0F], &pid(AUDIO_PID), &[0xF0, 0]].concat()
}

fn pid(pid: u16) -> [u8; 2] {
    (0xE000 | pid).to_be_bytes()
}

/// A table's section, with its checksum.
fn section(table: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 9).unwrap_or_default(); // 5 bytes before it, 4 after
    // Version 0, current, section 0 of 0.
    let mut section = [&[table][..], &(0xB000 | length).to_be_bytes(), &[0, 1, 0xC1, 0, 0], body].concat();
    section.extend(crc(&section).to_be_bytes());
    section
}

/// CRC-32 as MPEG has it: not reflected, not inverted.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ (u32::from(*byte) << 24), |crc, _| {
            // MPEG's polynomial, highest bit first.
            if crc & 0x8000_0000 == 0 { crc << 1 } else { (crc << 1) ^ 0x04C1_1DB7 }
        })
    })
}

/// One frame, to be heard at `at`.
fn pes(at: u64) -> Vec<u8> {
    let low = |bits: u64, mask: u64| u8::try_from(bits & mask).unwrap_or_default();
    // 33 bits of time in five bytes, with a marker bit at the end of the first, third and fifth.
    let time = [
        0x21 | low(at >> 29, 0x0E),
        low(at >> 22, 0xFF),
        0x01 | low(at >> 14, 0xFE),
        low(at >> 7, 0xFF),
        0x01 | low(at << 1, 0xFE),
    ];
    let frame = adts();
    let length = u16::try_from(3 + time.len() + frame.len()).unwrap_or_default();
    [&[0, 0, 1, 0xC0][..], &length.to_be_bytes(), &[0x80, 0x80, 5], &time, &frame].concat()
}

/// The frame after the header that says what it is: AAC-LC, 48 kHz, stereo.
fn adts() -> Vec<u8> {
    let length = SILENCE.len() + 7;
    let bits = |shift: usize, mask: usize| u8::try_from((length >> shift) & mask).unwrap_or_default();
    // AAC-LC at 48 kHz, the length of the frame with this header, and the highest buffer fullness.
    let header = [0xFF, 0xF1, 0x4C, 0x80 | bits(11, 3), bits(3, 0xFF), (bits(0, 7) << 5) | 0x1F, 0xFC];
    [&header[..], &SILENCE].concat()
}

/// A packet with a section, filled up behind it.
fn table(pid: u16, section: &[u8]) -> Vec<u8> {
    let mut packet = [&[0x47][..], &(0x4000 | pid).to_be_bytes(), &[0x10, 0], section].concat();
    // 0xFF is stuffing, which readers skip.
    packet.resize(PACKET, 0xFF);
    packet
}

/// A packet with a frame, filled up before it: behind it would be a part of the frame.
fn audio(count: u32, payload: &[u8]) -> Vec<u8> {
    let count = u8::try_from(count % 16).unwrap_or_default();
    let filling = u8::try_from(PACKET - 5 - payload.len()).unwrap_or_default();
    // An adaptation field fills the packet before the frame.
    let head = [&[0x47][..], &(0x4000 | AUDIO_PID).to_be_bytes(), &[0x30 | count, filling, 0]];
    let mut packet = head.concat();
    packet.resize(PACKET - payload.len(), 0xFF);
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segment_has_whole_packets_with_valid_checksums() {
        let stream = segment(3);
        assert_eq!(stream.len(), 5 * PACKET);
        assert!(stream.chunks(PACKET).all(|packet| packet[0] == 0x47));
        for table in stream.chunks(PACKET).take(2) {
            let length = usize::from(u16::from_be_bytes([table[6], table[7]]) & 0xFFF);
            assert_eq!(crc(&table[5..8 + length]), 0, "a section with its checksum leaves nothing");
        }
        let audio = &stream[2 * PACKET..3 * PACKET];
        let at = 5 + usize::from(audio[4]);
        assert_eq!(audio[at..at + 4], [0, 0, 1, 0xC0]);
        assert_eq!(audio[at + 14..at + 16], [0xFF, 0xF1], "an ADTS frame follows the header");
    }

    #[test]
    fn playlist_ends_with_its_recording() {
        assert!(playlist("a.ts", 47, true).ends_with("#EXTINF:1.003,\na.ts\n#EXT-X-ENDLIST\n"));
        assert!(playlist("a.ts", 47, false).contains("#EXT-X-TARGETDURATION:2\n"));
        assert!(!playlist("a.ts", 47, false).contains("ENDLIST"));
    }
}
