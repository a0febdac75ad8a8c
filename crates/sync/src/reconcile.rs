//! The loops: one takes marks after a NOTIFY and by polling, one feeds the changes to followers, and one compares a
//! page of rows at a time with the view.

use std::{
    sync::PoisonError,
    time::{Duration, Instant},
};

use chassis::{
    notify::listen,
    reconcile::{Nudge, spawn_periodic},
};
use secrecy::SecretString;

use crate::{
    Listing,
    align::{drain_batch, retry_set_aside},
    compare::{Comparison, LastComparison},
    store,
};

/// The period of polling for marks without a NOTIFY.
const POLL: Duration = Duration::from_secs(1);
/// The period while the feed has followers: changes of seats do not NOTIFY.
const POLL_FOLLOWED: Duration = Duration::from_millis(250);
/// The shortest time between two pages of the comparison.
const PAGE_PERIOD: Duration = Duration::from_secs(1);
/// The pause after a page, as a multiple of its work: the comparison takes 2 % of a core.
const PAUSE_FACTOR: u32 = 50;
/// The most work that is assumed for each room of a page. A page that takes longer has waited: for a connection, for
/// the planner, or for a busy machine. (One room takes 37 µs in docs/benchmarks.md.)
const MAX_WORK_PER_ROOM: Duration = Duration::from_micros(100);
/// The most work that is assumed for a page in addition to its rooms.
const MAX_WORK_PER_PAGE: Duration = Duration::from_millis(20);

/// The state of the comparison between two pages. It may be lost: a new process starts a new comparison.
#[derive(Debug, Default)]
pub struct CompareState {
    comparison: Comparison,
    not_before: Option<Instant>,
    pub last: Option<LastComparison>,
}

impl Listing {
    pub(crate) fn spawn_loops(&self, url: SecretString, changes: Nudge) {
        // Two nudges: one wakes the loop that takes marks, the other the loop that feeds followers.
        let marks = Nudge::default();
        let (listing, more) = (self.clone(), marks.clone());
        spawn_periodic(&self.lifecycle, "listing", POLL, marks.clone(), move || {
            let (listing, more) = (listing.clone(), more.clone());
            async move { listing.take_marks(&more).await }
        });
        // Listening only saves the wait for the next poll. A lost NOTIFY costs at most POLL.
        listen(&self.lifecycle, url, "live_stream_dirty", marks.clone());
        let feed = self.feed.clone();
        spawn_periodic(&self.lifecycle, "listing_feed", POLL_FOLLOWED, changes, move || {
            let feed = feed.clone();
            // This loop runs more often than POLL: with followers it makes the other one poll as often.
            if feed.is_followed() {
                marks.now();
            }
            async move { feed.pass().await }
        });
        let listing = self.clone();
        spawn_periodic(&self.lifecycle, "listing_upkeep", PAGE_PERIOD, Nudge::default(), move || {
            let listing = listing.clone();
            async move { listing.upkeep().await }
        });
    }

    async fn take_marks(&self, more: &Nudge) -> Result<(), sqlx::Error> {
        let drained = drain_batch(&self.pool).await?;
        if drained.written > 0 {
            self.feed.wake();
        }
        // More marks may be due. Another pass, instead of a loop here, stays within the time limit of passes.
        if drained.is_full() {
            more.now();
        }
        Ok(())
    }

    /// Retries rooms that were set aside, measures the pending marks and compares one more page.
    async fn upkeep(&self) -> Result<(), sqlx::Error> {
        if retry_set_aside(&self.pool).await?.written > 0 {
            self.feed.wake();
        }
        let waiting = store::find_waiting(&self.pool).await?;
        set_gauge("greenroom_listing_dirty", waiting.dirty.unsigned_abs());
        set_gauge("greenroom_listing_set_aside", waiting.set_aside.unsigned_abs());
        self.compare_page().await
    }

    async fn compare_page(&self) -> Result<(), sqlx::Error> {
        // Copied out: the lock of the state is not held while the database works.
        let (mut comparison, not_before) = self.with_state(|state| (state.comparison, state.not_before));
        let (started, before) = (Instant::now(), comparison.compared.rooms);
        if not_before.is_some_and(|at| started < at) {
            return Ok(());
        }
        let is_last = comparison.next_page(&self.pool).await?;
        // Before `finish`, whose own statement is not work of the page.
        let pause = pause_after(started.elapsed(), comparison.compared.rooms - before);
        let finished = if is_last { Some(self.finish(&comparison).await?) } else { None };
        self.with_state(|state| {
            state.comparison = if is_last { Comparison::default() } else { comparison };
            state.not_before = Some(Instant::now() + pause);
            // `or`: a page that is not the last one keeps the previous result.
            state.last = finished.or(state.last);
        });
        Ok(())
    }

    async fn finish(&self, comparison: &Comparison) -> Result<LastComparison, sqlx::Error> {
        let compared = comparison.compared;
        set_gauge("greenroom_listing_drift", compared.marked);
        set_gauge("greenroom_listing_strays", compared.strays);
        if compared.marked > 0 {
            tracing::warn!(rows.drifted = compared.marked, "listing rows differed without a mark");
        }
        let before = self.last_comparison().map_or(0, |last| last.compared.strays);
        // Only an increase is logged, otherwise each comparison would repeat the same strays.
        if compared.strays > before {
            tracing::warn!(
                rows.stray = compared.strays,
                "found listing rows that say live and belong to no live room"
            );
        }
        Ok(LastComparison { compared, at: store::find_now(&self.pool).await? })
    }

    /// Returns the result of the last complete comparison, if there was one.
    pub(crate) fn last_comparison(&self) -> Option<LastComparison> {
        self.with_state(|state| state.last)
    }

    fn with_state<T>(&self, work: impl FnOnce(&mut CompareState) -> T) -> T {
        work(&mut self.compare_state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Returns the pause after a page of `rooms` live rooms.
fn pause_after(took: Duration, rooms: u64) -> Duration {
    let most = MAX_WORK_PER_PAGE + MAX_WORK_PER_ROOM * u32::try_from(rooms).unwrap_or(u32::MAX);
    took.min(most) * PAUSE_FACTOR
}

fn set_gauge(name: &'static str, value: u64) {
    #[expect(clippy::cast_precision_loss, reason = "a gauge")]
    metrics::gauge!(name).set(value as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pause_is_fifty_times_the_work_and_excludes_waiting() {
        let millis = Duration::from_millis;
        assert_eq!(pause_after(millis(190), 5_000), millis(9_500));
        assert_eq!(pause_after(millis(20), 1), millis(1_000));
        assert_eq!(pause_after(millis(2_000), 1), millis(1_005));
    }
}
