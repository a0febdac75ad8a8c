//! Limits of LiveKit's webhooks, whose bodies are read before their sender is authenticated.
//!
//! All webhooks in progress share a fixed number of slots, which bounds the memory of their bodies. One address may
//! hold few slots while its bodies are read. A webhook that has a slot and fails, for whatever reason, counts
//! against the rate limit of its address; the others are not rate limited. A webhook without a slot is answered 503,
//! and LiveKit sends it again.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use chassis::status::{Reason, Refusal};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::{
    rate::{Limiter, Rate},
    shares::{Share, Shares},
};

/// Webhooks in progress at once.
pub(crate) const SLOTS: usize = 64;
/// Bodies of one address that are read at once.
const READING_PER_ADDRESS: usize = 8;
/// The time limit for a body. LiveKit sends it together with the head.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) struct Intake {
    slots: Semaphore,
    /// Bodies that are being read, by address.
    reading: Shares,
    failed: Limiter,
}

impl Intake {
    /// `rate` limits the failed webhooks of one address.
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            slots: Semaphore::new(SLOTS),
            reading: Shares::of(READING_PER_ADDRESS),
            failed: Limiter::new(rate),
        }
    }

    /// Takes a slot for a webhook, and a share of the bodies that are read for its address.
    pub(crate) fn begin(&self, address: IpAddr) -> Result<(SemaphorePermit<'_>, Share), Refusal> {
        // Checked and not taken: only failed webhooks take a token.
        self.failed.has(address, Instant::now()).map_err(|_| no_slot())?;
        let slot = self.slots.try_acquire().map_err(|_| no_slot())?;
        Ok((slot, self.reading.take(address).ok_or_else(no_slot)?))
    }

    /// Counts a failed webhook of this address.
    pub(crate) fn failed(&self, address: IpAddr) {
        let _ = self.failed.take(address, Instant::now()); // without a token `begin` refuses the next webhook
    }
}

fn no_slot() -> Refusal {
    Refusal::unavailable(Reason::ServiceUnavailable, 1)
}
