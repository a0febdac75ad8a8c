//! Probes: asks whether a node of LiveKit has a participant. The list of participants does not show it: after a crash
//! it keeps those of the dead node (livekit.md §2.3).

use std::time::Duration;

use livekit_api::access_token::VideoGrants;
use livekit_protocol::UpdateSubscriptionsRequest;

use super::{LiveKit, LiveKitError, timed};

/// More than the 3.00 s that LiveKit itself waits for a node before it answers.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Concurrent probes of one process: LiveKit needs 3 s for a silent one.
pub(super) const AT_ONCE: usize = 512;

/// The answer of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeAnswer {
    /// A node has the participant.
    Alive,
    /// No node of LiveKit has them: `unavailable`, "no response from servers".
    Silent,
    /// A timeout, or anything else. It proves nothing.
    Unknown,
}

impl ProbeAnswer {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Unknown => "unknown",
        }
    }
}

impl From<Result<(), LiveKitError>> for ProbeAnswer {
    fn from(outcome: Result<(), LiveKitError>) -> Self {
        match outcome {
            Ok(()) => Self::Alive,
            Err(LiveKitError::Refused { code, text })
                if code == "unavailable" && text.contains("no response from servers") =>
            {
                Self::Silent
            }
            Err(_) => Self::Unknown,
        }
    }
}

impl LiveKit {
    /// Asks whether a node has the participant. An `UpdateSubscriptions` without tracks changes nothing. LiveKit
    /// forwards it to the node without reading its store, and answers the same for an identity that never joined.
    pub async fn probe(&self, room: &str, identity: &str) -> ProbeAnswer {
        let _permit = self.probes.acquire().await;
        let answer =
            ProbeAnswer::from(timed("UpdateSubscriptions", Box::pin(self.ask_node(room, identity))).await);
        metrics::counter!("greenroom_ghost_probes_total", "answer" => answer.as_str()).increment(1);
        answer
    }

    async fn ask_node(&self, room: &str, identity: &str) -> Result<(), LiveKitError> {
        let grants = VideoGrants { room_admin: true, room: room.to_owned(), ..VideoGrants::default() };
        let request = UpdateSubscriptionsRequest {
            room: room.to_owned(),
            identity: identity.to_owned(),
            ..UpdateSubscriptionsRequest::default()
        };
        self.prober.call("UpdateSubscriptions", grants, &request).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: &str, text: &str) -> ProbeAnswer {
        ProbeAnswer::from(Err(LiveKitError::Refused { code: code.to_owned(), text: text.to_owned() }))
    }

    #[test]
    fn probe_is_silent_only_for_no_response_from_servers() {
        assert_eq!(
            refused("unavailable", "twirp error unknown: no response from servers"),
            ProbeAnswer::Silent
        );
        assert_eq!(refused("unavailable", "the server is shutting down"), ProbeAnswer::Unknown);
        assert_eq!(refused("deadline_exceeded", "request timed out"), ProbeAnswer::Unknown);
        assert_eq!(refused("internal", "no response from servers"), ProbeAnswer::Unknown);
        assert_eq!(ProbeAnswer::from(Err(LiveKitError::NotFound)), ProbeAnswer::Unknown);
        assert_eq!(
            ProbeAnswer::from(Err(LiveKitError::Unknown("timed out".to_owned()))),
            ProbeAnswer::Unknown
        );
        assert_eq!(ProbeAnswer::from(Ok(())), ProbeAnswer::Alive);
    }
}
