//! The one way to wait for something that happens in the background.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// What one look found: an `Option`, or a `Result` whose error is what was there instead.
pub trait Look {
    type Found;
    type Instead: Debug;

    fn found(self) -> Result<Self::Found, Self::Instead>;
}

impl<T> Look for Option<T> {
    type Found = T;
    type Instead = Nothing;

    fn found(self) -> Result<T, Nothing> {
        self.ok_or(Nothing)
    }
}

impl<T, E: Debug> Look for Result<T, E> {
    type Found = T;
    type Instead = E;

    fn found(self) -> Self {
        self
    }
}

/// What a look that says no more than "not yet" found.
#[derive(Debug)]
pub struct Nothing;

/// Looks until there is something, for at most 10 s; then panics with `what` and what was there instead.
pub async fn eventually<L: Look, F: Future<Output = L>>(what: &str, mut look: impl FnMut() -> F) -> L::Found {
    let started = Instant::now();
    loop {
        match look().await.found() {
            Ok(found) => return found,
            Err(instead) if started.elapsed() > PATIENCE => {
                panic!("waited {PATIENCE:?} for: {what}; last seen: {instead:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
