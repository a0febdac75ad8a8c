//! Room for webhooks: nobody has signed in when their bodies are read.
//!
//! All that are under way share a few places, which bounds the memory of their bodies; one address may be reading few
//! of those, and pays for each webhook that was not taken. LiveKit pays nothing for what is in order, however often it
//! comes and whatever strangers send; whoever has no place is told to come again, as LiveKit does.

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

/// Webhooks under way at once.
pub(crate) const PLACES: usize = 64;
/// Places in which one address may keep us waiting for a body.
const OF_ONE_ADDRESS: usize = 8;
/// How long a body may take. LiveKit sends it with the head.
pub(crate) const BODY_WITHIN: Duration = Duration::from_secs(5);

pub(crate) struct Intake {
    places: Semaphore,
    /// Bodies that are being read, by address.
    reading: Shares,
    failed: Limiter,
}

impl Intake {
    /// `rate`: of webhooks of one address that are not taken.
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            places: Semaphore::new(PLACES),
            reading: Shares::of(OF_ONE_ADDRESS),
            failed: Limiter::new(rate),
        }
    }

    /// A place for one more webhook, and a body of its address that is being read.
    pub(crate) fn begin(&self, address: IpAddr) -> Result<(SemaphorePermit<'_>, Share), Refusal> {
        self.failed.has(address, Instant::now()).map_err(|_| no_place())?;
        let place = self.places.try_acquire().map_err(|_| no_place())?;
        Ok((place, self.reading.take(address).ok_or_else(no_place)?))
    }

    /// Counts a webhook of this address that was not taken.
    pub(crate) fn failed(&self, address: IpAddr) {
        let _ = self.failed.take(address, Instant::now()); // without a token the next one is not let in
    }
}

fn no_place() -> Refusal {
    Refusal::unavailable(Reason::ServiceUnavailable, 1)
}
