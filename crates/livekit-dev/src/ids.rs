//! The one source of randomness: ids in LiveKit's shapes (a prefix and characters that nobody confuses when
//! reading them aloud), and the order of shuffled webhooks.

use livekit_protocol::{TrackSource, TrackType};
use rand::{RngExt, seq::SliceRandom};

/// Base57: no `0`, `1`, `I`, `O`, `l`.
const ALPHABET: &[u8; 57] = b"23456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
const LENGTH: usize = 12;

pub(crate) fn room() -> String {
    prefixed("RM_")
}

pub(crate) fn participant() -> String {
    prefixed("PA_")
}

pub(crate) fn egress() -> String {
    prefixed("EG_")
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

/// The `turn_password` that every `Room` carries.
pub(crate) fn password() -> String {
    characters(32)
}

pub(crate) fn shuffle<T>(items: &mut [T]) {
    items.shuffle(&mut rand::rng());
}

fn prefixed(prefix: &str) -> String {
    format!("{prefix}{}", characters(LENGTH))
}

fn characters(count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())])).collect()
}
