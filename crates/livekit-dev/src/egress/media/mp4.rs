//! An MP4 file of one audio track: `ftyp`, `moov`, `mdat`, in the order in which it can be played while it loads.
//! All samples have one size and lie in one chunk, so the tables have one line each (ISO/IEC 14496-12 and -14).

use super::{CONFIG, FRAME, RATE, SILENCE};

const TRACK: u32 = 1;
/// The unity matrix that every movie and track carries.
const MATRIX: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// The whole file.
pub(crate) fn file(frames: u32) -> Vec<u8> {
    let ftyp = boxed(*b"ftyp", &[&b"isom"[..], &be(0x200), b"isom", b"iso2", b"mp41"].concat());
    // The boxes before the samples say where these begin. That number does not change the boxes' length.
    let before = ftyp.len() + moov(frames, 0).len() + 8;
    let moov = moov(frames, u32::try_from(before).unwrap_or(u32::MAX));
    let mdat = boxed(*b"mdat", &SILENCE.repeat(usize::try_from(frames).unwrap_or_default()));
    [ftyp, moov, mdat].concat()
}

fn moov(frames: u32, samples_at: u32) -> Vec<u8> {
    let duration = frames * FRAME;
    // Times of creation are 0, so the same length gives the same file.
    let movie = [
        words(&[0, 0, RATE, duration, 0x1_0000, 0x0100_0000, 0, 0]), // as fast as it is, as loud as it is
        words(&MATRIX),
        words(&[0; 6]),
        // The next free track number.
        words(&[TRACK + 1]),
    ];
    let mvhd = full(*b"mvhd", 0, &movie.concat());
    let trak = boxed(*b"trak", &[tkhd(duration), mdia(frames, samples_at)].concat());
    boxed(*b"moov", &[mvhd, trak].concat())
}

/// Enabled, in the movie, in the preview; audio at full volume, and no picture.
fn tkhd(duration: u32) -> Vec<u8> {
    let body = [words(&[0, 0, TRACK, 0, duration, 0, 0, 0, 0x0100_0000]), words(&MATRIX), words(&[0, 0])];
    full(*b"tkhd", 7, &body.concat())
}

fn mdia(frames: u32, samples_at: u32) -> Vec<u8> {
    const UNDETERMINED: u32 = 0x55C4_0000; // the language
    let mdhd = full(*b"mdhd", 0, &words(&[0, 0, RATE, frames * FRAME, UNDETERMINED]));
    let hdlr = full(*b"hdlr", 0, &[&be(0)[..], b"soun", &[0; 12], b"silence\0"].concat());
    let smhd = full(*b"smhd", 0, &[0; 4]);
    // Flag 1: the samples are in this same file.
    let here = full(*b"url ", 1, &[]);
    let dinf = boxed(*b"dinf", &full(*b"dref", 0, &[be(1).to_vec(), here].concat()));
    let minf = boxed(*b"minf", &[smhd, dinf, stbl(frames, samples_at)].concat());
    boxed(*b"mdia", &[mdhd, hdlr, minf].concat())
}

fn stbl(frames: u32, samples_at: u32) -> Vec<u8> {
    let size = u32::try_from(SILENCE.len()).unwrap_or_default();
    let tables = [
        full(*b"stsd", 0, &[be(1).to_vec(), mp4a()].concat()),
        // One line: all frames have the same duration, the same size, and one chunk.
        full(*b"stts", 0, &words(&[1, frames, FRAME])),
        full(*b"stsc", 0, &words(&[1, 1, frames, 1])),
        full(*b"stsz", 0, &words(&[size, frames])),
        full(*b"stco", 0, &words(&[1, samples_at])),
    ];
    boxed(*b"stbl", &tables.concat())
}

/// Stereo, 16 bits, and the decoder's configuration.
fn mp4a() -> Vec<u8> {
    const AUDIO: u32 = 0x4015_0000; // AAC, an audio stream
    // Zeros: buffer size and bit rates, which players do not check.
    let decoder = [&be(AUDIO)[..], &[0], &be(0), &be(0), &descriptor(5, &CONFIG)].concat();
    let stream = [&[0, 1, 0][..], &descriptor(4, &decoder[..]), &descriptor(6, &[2])].concat();
    let esds = full(*b"esds", 0, &descriptor(3, &stream));
    let entry = [words(&[0, 1, 0, 0, 0x0002_0010, 0, RATE << 16]), esds];
    boxed(*b"mp4a", &entry.concat())
}

/// A descriptor of MPEG-4 systems; all of ours are short.
fn descriptor(tag: u8, body: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(body.len()).unwrap_or(u8::MAX)], body].concat()
}

fn boxed(name: [u8; 4], body: &[u8]) -> Vec<u8> {
    [&be(u32::try_from(body.len() + 8).unwrap_or(u32::MAX))[..], &name, body].concat()
}

/// A box with flags, version 0.
fn full(name: [u8; 4], flags: u32, body: &[u8]) -> Vec<u8> {
    boxed(name, &[&be(flags)[..], body].concat())
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

fn be(word: u32) -> [u8; 4] {
    word.to_be_bytes()
}
