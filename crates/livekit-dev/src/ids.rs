//! The one source of randomness: ids in LiveKit's shapes (a prefix and characters that are not confused when
//! reading them aloud), and the order of shuffled webhooks.

use livekit_protocol::{TrackSource, TrackType};
use rand::{RngExt, seq::SliceRandom};

/// Base57: no `0`, `1`, `I`, `O`, `l`.
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 12;

/// Base62, of which a password is made: 32 random bytes are 43 or 44 of its characters.
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

pub(crate) fn room() -> String {
    prefixed("RM_")
}

pub(crate) fn participant() -> String {
    prefixed("PA_")
}

pub(crate) fn egress() -> String {
    prefixed("EG_")
}

pub(crate) fn dispatch() -> String {
    prefixed("AD_")
}

pub(crate) fn event() -> String {
    prefixed("EV_")
}

/// `TR_`, a letter for the type, a letter for the source (none when it is unknown), 12 characters.
pub(crate) fn track(kind: TrackType, source: TrackSource) -> String {
    let kind = match kind {
        TrackType::Audio => "A",
        TrackType::Video => "V",
        TrackType::Data => "D",
    };
    let source = match source {
        TrackSource::Unknown => "",
        TrackSource::Camera => "C",
        TrackSource::Microphone => "M",
        TrackSource::ScreenShare => "S",
        TrackSource::ScreenShareAudio => "s",
    };
    prefixed(&format!("TR_{kind}{source}"))
}

/// A random UUID.
pub(crate) fn uuid() -> String {
    let random: u128 = rand::rng().random();
    // Version 4, variant 1 (RFC 9562).
    let version = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let digits = format!("{version:032x}");
    format!("{}-{}-{}-{}-{}", &digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..])
}

/// The `turn_password` that every `Room` carries.
pub(crate) fn password() -> String {
    let length = if rand::rng().random_bool(0.7) { 43 } else { 44 };
    characters(DIGITS, length)
}

pub(crate) fn shuffle<T>(items: &mut [T]) {
    items.shuffle(&mut rand::rng());
}

fn prefixed(prefix: &str) -> String {
    format!("{prefix}{}", characters(ALPHABET, LENGTH))
}

fn characters(alphabet: &[u8], count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(alphabet[random.random_range(0..alphabet.len())])).collect()
}
