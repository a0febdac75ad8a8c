//! The connection quality that clients are shown: always the best, unless a test says otherwise.

use std::{collections::BTreeMap, time::Instant};

use livekit_protocol::{
    ConnectionQuality, ConnectionQualityInfo, ConnectionQualityUpdate, signal_response::Message,
};

use super::{client::Sid, engine::Engine};

/// The score of the best quality.
const EXCELLENT: f32 = 4.5;

impl Engine {
    /// To oneself and to subscribers, when it is new or changed.
    pub(super) fn qualities(&mut self, now: Instant) {
        let due: Vec<String> = self
            .rooms
            .iter_mut()
            .filter_map(|(room, clock)| clock.quality_due(now).then(|| room.clone()))
            .collect();
        for room in due {
            let of = |client: &super::client::Client| {
                client.faults.quality.unwrap_or(ConnectionQuality::Excellent as i32)
            };
            let active = self.members(&room).filter(|(_, client)| client.active);
            let now: BTreeMap<Sid, i32> = active.map(|(sid, client)| (sid.clone(), of(client))).collect();
            for sid in now.keys() {
                self.tell_quality(sid, &now);
            }
        }
    }

    fn tell_quality(&mut self, sid: &Sid, qualities: &BTreeMap<Sid, i32>) {
        let Some(client) = self.clients.get_mut(sid) else { return };
        let publishers = client.subscriptions.values().map(|subscription| &subscription.publisher);
        let shown = std::iter::once(sid).chain(publishers);
        let shown: BTreeMap<String, i32> =
            shown.filter_map(|other| Some((other.to_string(), *qualities.get(other)?))).collect();
        let changed = |(sid, quality): &(&String, &i32)| client.quality_told.get(*sid) != Some(*quality);
        let updates: Vec<ConnectionQualityInfo> = shown.iter().filter(changed).map(info).collect();
        // Participants that are no longer shown are forgotten, so that they are reported when they come back.
        client.quality_told = shown;
        if !updates.is_empty() {
            client.send(Message::ConnectionQuality(ConnectionQualityUpdate { updates }));
        }
    }
}

fn info((sid, quality): (&String, &i32)) -> ConnectionQualityInfo {
    let score = match ConnectionQuality::try_from(*quality) {
        Ok(ConnectionQuality::Excellent) => EXCELLENT,
        Ok(ConnectionQuality::Good) => 3.5,
        Ok(ConnectionQuality::Poor) => 2.0,
        Ok(ConnectionQuality::Lost) | Err(_) => 0.0,
    };
    ConnectionQualityInfo { participant_sid: sid.clone(), quality: *quality, score }
}
