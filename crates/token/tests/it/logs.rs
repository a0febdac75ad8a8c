//! What one test logs, whatever the others do.

use tracing::{
    Dispatch, Subscriber,
    subscriber::{self, DefaultGuard, NoSubscriber},
};

/// Gives `subscriber` everything that this thread logs. Where one dispatcher is alone, tracing lets the thread that meets
/// a callsite first decide for all whether it is of interest, and that may be another test's: a second one makes it ask both.
pub fn listen(subscriber: impl Subscriber + Send + Sync) -> (Dispatch, DefaultGuard) {
    (Dispatch::new(NoSubscriber::default()), subscriber::set_default(subscriber))
}
