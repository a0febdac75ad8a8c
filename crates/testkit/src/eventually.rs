//! The one way to wait for something that happens in the background.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The pause grows up to this, so that hundreds of waiting checks leave the processor to what they wait for.
const MAX_PAUSE: Duration = Duration::from_millis(100);

/// The result of one check: an `Option`, or a `Result` whose error has what was observed instead.
pub trait Check {
    type Found;
    type Observed: Debug;

    fn found(self) -> Result<Self::Found, Self::Observed>;
}

impl<T> Check for Option<T> {
    type Found = T;
    type Observed = Nothing;

    fn found(self) -> Result<T, Nothing> {
        self.ok_or(Nothing)
    }
}

impl<T, E: Debug> Check for Result<T, E> {
    type Found = T;
    type Observed = E;

    fn found(self) -> Self {
        self
    }
}

/// The observation of a check that returned `None`.
#[derive(Debug)]
pub struct Nothing;

/// Repeats a check until it finds something. After 10 s it panics with `what` and the last observation.
pub async fn eventually<C: Check, F: Future<Output = C>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> C::Found {
    let started = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        match check().await.found() {
            Ok(found) => return found,
            // After the check and not before: a check that succeeds late still counts.
            Err(observed) if started.elapsed() > TIMEOUT => {
                panic!("waited {TIMEOUT:?} for: {what}; last observed: {observed:?}")
            }
            Err(_) => {
                tokio::time::sleep(pause).await;
                // Grows slowly, so that short waits stay short.
                pause = MAX_PAUSE.min(pause * 6 / 5);
            }
        }
    }
}
