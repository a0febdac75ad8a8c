//! The loops: marks are taken when somebody tells of them and when nobody does, changes are passed on, and a few
//! rows at a time are compared with what they should be.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use chassis::reconcile::{Nudge, every, listen};
use secrecy::SecretString;

use crate::{
    Listing,
    align::{drain_batch, retry_set_aside},
    compare::{Finding, Round},
    store,
};

/// Marks are polled this often when no NOTIFY comes.
const POLL: Duration = Duration::from_secs(1);
/// And this often while somebody follows the changes: those of seats do not NOTIFY.
const POLL_FOLLOWED: Duration = Duration::from_millis(250);
/// Pages of the comparison come at most so often …
const PAGE_EVERY: Duration = Duration::from_secs(1);
/// … and take this part of the time: 2 % of a core.
const PAGE_SHARE: u32 = 50;
/// No page works longer, for each of its rooms and besides: what takes longer waits, for a connection, for statements to
/// be planned, or for a busy machine. (One room takes 37 µs in docs/benchmarks.md.)
const ROOM: Duration = Duration::from_micros(100);
const BESIDES: Duration = Duration::from_millis(20);

/// What the comparison remembers for its next page: nothing that may not be lost.
#[derive(Debug, Default)]
pub struct Memory {
    round: Round,
    not_before: Option<Instant>,
    pub found: Option<Finding>,
}

impl Listing {
    pub(crate) fn spawn_loops(&self, url: SecretString, changes: Nudge) {
        let marks = Nudge::default();
        let (listing, more) = (self.clone(), marks.clone());
        every(&self.lifecycle, "listing", POLL, marks.clone(), move || {
            let (listing, more) = (listing.clone(), more.clone());
            async move { listing.take_marks(&more).await }
        });
        listen(&self.lifecycle, url, "live_stream_dirty", marks.clone());
        let feed = self.feed.clone();
        every(&self.lifecycle, "listing_feed", POLL_FOLLOWED, changes, move || {
            let feed = feed.clone();
            if feed.is_followed() {
                marks.now();
            }
            async move { feed.pass().await }
        });
        let listing = self.clone();
        every(&self.lifecycle, "listing_upkeep", PAGE_EVERY, Nudge::default(), move || {
            let listing = listing.clone();
            async move { listing.keep_up().await }
        });
    }

    async fn take_marks(&self, more: &Nudge) -> Result<(), sqlx::Error> {
        let drained = drain_batch(&self.pool).await?;
        if drained.written > 0 {
            self.feed.wake();
        }
        if drained.is_full() {
            more.now();
        }
        Ok(())
    }

    /// Rooms that were set aside are tried again, what waits is measured, and one more page is compared.
    async fn keep_up(&self) -> Result<(), sqlx::Error> {
        if retry_set_aside(&self.pool).await?.written > 0 {
            self.feed.wake();
        }
        let waiting = store::find_waiting(&self.pool).await?;
        set_gauge("greenroom_listing_dirty", waiting.dirty.unsigned_abs());
        set_gauge("greenroom_listing_set_aside", waiting.set_aside.unsigned_abs());
        self.compare_page().await
    }

    async fn compare_page(&self) -> Result<(), sqlx::Error> {
        let (mut round, not_before) = self.with_memory(|memory| (memory.round, memory.not_before));
        let (started, before) = (Instant::now(), round.compared.rooms);
        if not_before.is_some_and(|at| started < at) {
            return Ok(());
        }
        let is_last = round.next_page(&self.pool).await?;
        let pause = pause_after(started.elapsed(), round.compared.rooms - before);
        let found = if is_last { Some(self.finish(&round).await?) } else { None };
        self.with_memory(|memory| {
            memory.round = if is_last { Round::default() } else { round };
            memory.not_before = Some(Instant::now() + pause);
            memory.found = found.or(memory.found);
        });
        Ok(())
    }

    async fn finish(&self, round: &Round) -> Result<Finding, sqlx::Error> {
        let compared = round.compared;
        set_gauge("greenroom_listing_drift", compared.marked);
        set_gauge("greenroom_listing_strays", compared.strays);
        if compared.marked > 0 {
            tracing::warn!(
                rows.drifted = compared.marked,
                "rows of the listing were wrong and nobody had said so"
            );
        }
        let before = self.found().map_or(0, |found| found.compared.strays);
        if compared.strays > before {
            tracing::warn!(
                rows.stray = compared.strays,
                "rows of the listing say live and belong to no live room"
            );
        }
        Ok(Finding { compared, at: store::find_now(&self.pool).await? })
    }

    /// What the last whole comparison found, if there was one.
    pub(crate) fn found(&self) -> Option<Finding> {
        self.with_memory(|memory| memory.found)
    }

    fn with_memory<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        work(&mut self.memory.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How long after a page of so many rooms the next one may come.
fn pause_after(took: Duration, rooms: u64) -> Duration {
    let most = BESIDES + ROOM * u32::try_from(rooms).unwrap_or(u32::MAX);
    took.min(most) * PAGE_SHARE
}

fn set_gauge(name: &'static str, value: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_a_fiftieth_of_the_time_and_waiting_does_not_put_off_the_next_page() {
        let millis = Duration::from_millis;
        assert_eq!(pause_after(millis(190), 5_000), millis(9_500));
        assert_eq!(pause_after(millis(20), 1), millis(1_000));
        assert_eq!(pause_after(millis(2_000), 1), millis(1_005));
    }
}
