//! The announcements of participants that join and leave.

use std::{collections::BTreeSet, time::Duration};

use livekit_protocol::{participant_info::State, signal_response::Message};
use rtc_client::Seen;

use crate::clients::{served_with, settled};

const NAMES: [&str; 8] = ["p1", "p2", "p3", "p4", "p5", "p6", "p7", "p8"];

/// The participants that a client knows when it identifies them by identity only, as livekit-client does.
fn present(seen: &Seen) -> BTreeSet<String> {
    let mut present = BTreeSet::new();
    for (_, message) in &seen.messages {
        let Message::Update(update) = message else { continue };
        for info in &update.participants {
            if info.state() == State::Disconnected {
                present.remove(&info.identity);
            } else {
                present.insert(info.identity.clone());
            }
        }
    }
    present
}

#[tokio::test]
async fn participant_that_rejoins_at_once_stays_visible() {
    let served = served_with(|config| config.rtc.presence = Duration::from_millis(500)).await;
    let bob = served.client("back", "bob").await;
    for name in NAMES {
        served.join("back", name);
    }
    bob.until("all", |seen| present(seen).len() > NAMES.len()).await.unwrap();
    for name in NAMES {
        served.server.leave("back", name).unwrap();
        served.join("back", name);
    }
    let now: BTreeSet<String> = served.server.connected("back").into_iter().map(|info| info.sid).collect();
    let up_to_date = |seen: &Seen| {
        let known: BTreeSet<String> = seen.others.values().map(|info| info.sid.clone()).collect();
        now.iter().filter(|sid| **sid != seen.participant.sid).all(|sid| known.contains(sid))
    };
    bob.until("the current sessions", up_to_date).await.unwrap();
    settled(&bob).await;
    for name in NAMES {
        assert!(bob.seen(|seen| present(seen).contains(name)), "{name} is missing");
    }
}
