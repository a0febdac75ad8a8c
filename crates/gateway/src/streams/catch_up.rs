//! What a listener missed before its feed begins, and when it gets a `reset` instead.
//!
//! A listener that reconnects gets the rows that it missed by its own call to sync. Missed rows wait in memory, so their
//! size is limited, for each listener and for all together. Beyond the limit, a `reset` event makes the client read the
//! listing again. So does a `reset` of sync, which decides by the number of missed changes (`crates/sync/src/catch_up.rs`).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use chassis::{
    context,
    status::{Reason, Refusal},
};
use proto::{
    sync::v1::{StreamEvent, stream_event::Event},
    types::v1::Caller,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{feed, state::Streams};
use crate::error::Rejection;

/// Bytes of missed rows that one listener gets. Beyond, it must read the listing again.
const MISSED_BYTES: usize = 64 * 1024;
/// Bytes of a waiting row besides its text.
const ROW_OVERHEAD: usize = 128;
/// The time limit for reading what a listener missed.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(3);

/// The frames that a listener gets before the feed, and the version that it then has reached.
pub(super) struct Missed {
    frames: Vec<Held>,
    pub(super) until: i64,
}

impl Missed {
    fn one(frame: Bytes, until: i64) -> Self {
        Self { frames: vec![Held { frame, _permit: None }], until }
    }

    /// Each frame frees its memory when it is taken.
    pub(super) fn into_frames(self) -> impl Iterator<Item = Bytes> + Send {
        self.frames.into_iter().map(|Held { frame, .. }| frame)
    }
}

/// A frame that waits to be sent, and its permit in the memory limit of all listeners.
struct Held {
    frame: Bytes,
    _permit: Option<OwnedSemaphorePermit>,
}

/// Returns what `reader` missed after the version `last`. Its feed begins at `position`.
pub(super) async fn catch_up(
    streams: &Streams,
    reader: Option<Caller>,
    last: Option<i64>,
    position: i64,
) -> Result<Missed, Rejection> {
    match last {
        // A version above the position may be of another database, or come from another gateway: sync
        // decides.
        Some(last) if last != position => read_missed(streams, reader, last, position).await,
        Some(_) => Ok(Missed { frames: Vec::new(), until: position }),
        None => Ok(Missed::one(position_frame(position), position)),
    }
}

/// Reads what `reader` missed after `last`. It must reach `position`.
async fn read_missed(
    streams: &Streams,
    reader: Option<Caller>,
    last: i64,
    position: i64,
) -> Result<Missed, Rejection> {
    let reading = async {
        // Few at once: after a restart all listeners come back together.
        let _slot = streams.catching_up().acquire().await.map_err(|_| late())?;
        let mut events = streams.changes_after(reader, last).await?;
        let (mut frames, mut left) = (Vec::new(), MISSED_BYTES);
        loop {
            let StreamEvent { version, event } = events.message().await?.ok_or_else(late)?;
            let held = match event {
                Some(Event::Stream(stream)) => {
                    hold(streams.missed(), feed::frame(version, stream)?, &mut left)
                }
                // A position without a row: everything up to it was sent. Ends here only if the feed
                // continues from there.
                None if version >= position.max(last) => return Ok(Missed { frames, until: version }),
                Some(Event::Reset(_)) | None => None,
            };
            // A reset of sync, a position below ours, or no memory left: in each case the client reads the
            // listing.
            let Some(held) = held else {
                let until = version.max(position);
                return Ok(Missed::one(feed::reset(until), until));
            };
            frames.push(held);
        }
    };
    timeout(context::remaining(CATCH_UP_TIMEOUT), reading).await.map_err(|_| late())?
}

/// Reserves memory for a frame. None: the limit of this listener (`left`) or the limit of all listeners is reached.
fn hold(all: &Arc<Semaphore>, frame: Bytes, left: &mut usize) -> Option<Held> {
    let size = frame.len() + ROW_OVERHEAD;
    *left = left.checked_sub(size)?;
    // Never waits: memory is freed by listeners that read, and this one must not wait for them.
    let permit = Arc::clone(all).try_acquire_many_owned(u32::try_from(size).ok()?).ok()?;
    Some(Held { frame, _permit: Some(permit) })
}

fn late() -> Rejection {
    Refusal::unavailable(Reason::ServiceUnavailable, 1).into()
}

/// Returns a frame with an `id` and no event. Browsers store the id and dispatch no event.
fn position_frame(version: i64) -> Bytes {
    format!("id: {version}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hold_all(all: &Arc<Semaphore>) -> Vec<Held> {
        let (frame, mut left) = (Bytes::from(vec![b'x'; 1024 - ROW_OVERHEAD]), MISSED_BYTES);
        std::iter::from_fn(|| hold(all, frame.clone(), &mut left)).collect()
    }

    #[test]
    fn waiting_frames_are_limited_for_each_and_for_all() {
        let all = Arc::new(Semaphore::new(2 * MISSED_BYTES + 1024));
        let first = hold_all(&all);
        assert_eq!(first.len(), MISSED_BYTES / 1024);
        let mut second = hold_all(&all);
        assert_eq!(hold_all(&all).len(), 1, "the others leave no more memory");
        drop(first);
        second.pop();
        assert_eq!(all.available_permits(), MISSED_BYTES + 2 * 1024, "a sent frame frees its memory");
    }
}
