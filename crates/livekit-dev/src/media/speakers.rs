//! Who speaks, as LiveKit finds out: over 400 ms, loud enough for 40 % of the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use livekit_protocol::{SpeakerInfo, SpeakersChanged, signal_response::Message};
use str0m::{media::MediaKind, rtp::RtpPacket};

use super::{
    client::{Client, Sid},
    engine::Engine,
};

const PERIOD: Duration = Duration::from_millis(400);
const PERIOD_MS: f64 = 400.0;

/// Louder counts as speech, in dB below the loudest.
const THRESHOLD: u8 = 35;

/// The part of a period that must be loud.
const ACTIVE_PART: f64 = 0.4;

/// How much a new period counts against the ones before.
const SMOOTHING: f64 = 2.0 / 3.0;

/// Levels are sent in eighths, rounded up.
const STEPS: f64 = 8.0;

/// Timestamps of 48 kHz in one millisecond.
const CLOCK_KHZ: f64 = 48.0;

/// A packet does not last longer.
const LONGEST_MS: f64 = 120.0;

/// The loudness of one audio track.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loudness {
    last_time: Option<u32>,
    active_ms: f64,
    /// In dB below the loudest.
    loudest: Option<u8>,
    smoothed: f64,
}

impl Loudness {
    pub(super) fn observe(&mut self, packet: &RtpPacket) {
        let time = packet.header.timestamp;
        // Without a packet before, 20 ms of 48 kHz.
        let elapsed = self.last_time.map_or(960, |last| time.wrapping_sub(last));
        self.last_time = Some(time);
        let Some(level) = packet.header.ext_vals.audio_level.map(i8::unsigned_abs) else { return };
        // Levels are below the loudest: smaller is louder.
        if level <= THRESHOLD {
            self.active_ms += (f64::from(elapsed) / CLOCK_KHZ).min(LONGEST_MS);
            self.loudest = Some(self.loudest.map_or(level, |loudest| loudest.min(level)));
        }
    }

    /// The level of the period that ends, in eighths; 0 is silence.
    fn finish_period(&mut self) -> f64 {
        let active_ms = std::mem::take(&mut self.active_ms).min(PERIOD_MS);
        // Loud for too short a time counts as silence.
        let loudest = self.loudest.take().filter(|_| active_ms >= ACTIVE_PART * PERIOD_MS);
        self.smoothed = loudest.map_or(0.0, |loudest| {
            // A period that was loud in part counts as less loud.
            let adjusted = f64::from(loudest) - 20.0 * (active_ms / PERIOD_MS).log10();
            self.smoothed + (linear(adjusted) - self.smoothed) * SMOOTHING
        });
        if self.smoothed < linear(f64::from(THRESHOLD)) {
            return 0.0;
        }
        (self.smoothed * STEPS).ceil() / STEPS
    }
}

fn linear(below_db: f64) -> f64 {
    10_f64.powf(-below_db / 20.0)
}

impl Engine {
    pub(super) fn speakers(&mut self, now: Instant) {
        if now < self.next_speakers {
            return;
        }
        self.next_speakers = now + PERIOD;
        let mut levels: BTreeMap<Sid, f64> = BTreeMap::new();
        for (sid, client) in &mut self.clients {
            let audios = client.published.iter_mut().filter(|published| published.kind == MediaKind::Audio);
            let loudest = audios.map(|published| {
                let level = published.loudness.finish_period();
                // Muted tracks may still send silence.
                if published.info.muted { 0.0 } else { level }
            });
            levels.insert(sid.clone(), loudest.fold(0.0, f64::max));
        }
        for (sid, client) in &mut self.clients {
            tell(sid, client, &levels);
        }
    }
}

/// Clients hear of themselves and of the participants that they receive, when something changed.
fn tell(sid: &Sid, client: &mut Client, levels: &BTreeMap<Sid, f64>) {
    let mut heard: Vec<&Sid> = vec![sid];
    let audios = client.subscriptions.values().filter(|subscription| subscription.kind == MediaKind::Audio);
    heard.extend(audios.map(|subscription| &subscription.publisher));
    let now: BTreeMap<String, f64> = heard
        .into_iter()
        .filter_map(|speaker| Some((speaker.to_string(), *levels.get(speaker)?)))
        .filter(|(_, level)| *level > 0.0)
        .collect();
    let before = std::mem::replace(&mut client.speakers_told, now.clone());
    let mut speakers = Vec::new();
    for (speaker, level) in &now {
        // Compared by bits: the levels are eighths, so equal levels have equal bits.
        if before.get(speaker).is_none_or(|level_before| level_before.to_bits() != level.to_bits()) {
            speakers.push(speaker_info(speaker, *level));
        }
    }
    for speaker in before.keys().filter(|speaker| !now.contains_key(*speaker)) {
        speakers.push(speaker_info(speaker, 0.0));
    }
    if !speakers.is_empty() {
        client.send(Message::SpeakersChanged(SpeakersChanged { speakers }));
    }
}

#[expect(clippy::cast_possible_truncation, reason = "eighths fit")]
fn speaker_info(sid: &str, level: f64) -> SpeakerInfo {
    SpeakerInfo { sid: sid.to_owned(), level: level as f32, active: level > 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The level of a period with this much sound, so much below the loudest.
    fn period(loudness: &mut Loudness, below_db: u8, active_ms: f64) -> f64 {
        (loudness.loudest, loudness.active_ms) = (Some(below_db), active_ms);
        loudness.finish_period()
    }

    #[test]
    fn speaker_is_heard_in_steps_and_silent_at_once() {
        let mut loudness = Loudness::default();
        let levels = [period(&mut loudness, 5, PERIOD_MS), loudness.finish_period()];
        assert_eq!(levels.map(f64::to_bits), [0.375_f64, 0.0].map(f64::to_bits));
    }

    #[test]
    fn short_sound_is_no_speaker() {
        let mut loudness = Loudness::default();
        assert!(period(&mut loudness, 5, PERIOD_MS * 0.3) <= 0.0);
        assert!(period(&mut loudness, 5, PERIOD_MS * 0.5) > 0.0);
    }

    #[test]
    fn quiet_sound_is_no_speaker_at_first() {
        let mut loudness = Loudness::default();
        assert!(period(&mut loudness, THRESHOLD, PERIOD_MS) <= 0.0);
        assert!(period(&mut loudness, THRESHOLD / 2, PERIOD_MS) > 0.0);
    }
}
