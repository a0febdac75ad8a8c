//! The one way to wait for something that happens in the background.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(20);

/// The result of one check: an `Option`, or a `Result` whose error has what was observed instead.
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

/// The observation of a check that returned `None`.
#[derive(Debug)]
pub struct Nothing;

/// Repeats a check until it finds something. After 10 s it panics with `what` and the last observation.
pub async fn eventually<L: Look, F: Future<Output = L>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> L::Found {
    let started = Instant::now();
    loop {
        match check().await.found() {
            Ok(found) => return found,
            Err(instead) if started.elapsed() > TIMEOUT => {
                panic!("waited {TIMEOUT:?} for: {what}; last observed: {instead:?}")
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
