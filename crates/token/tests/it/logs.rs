//! The log of one test, independent of the other tests.

use tracing::{
    Dispatch, Subscriber,
    subscriber::{self, DefaultGuard, NoSubscriber},
};

/// Sends everything that this thread logs to `subscriber`.
///
/// If there is only one dispatcher, tracing caches the interest of the thread that first reaches a callsite. That
/// thread may belong to another test. With a second dispatcher, tracing asks both.
pub fn listen(subscriber: impl Subscriber + Send + Sync) -> (Dispatch, DefaultGuard) {
    (Dispatch::new(NoSubscriber::default()), subscriber::set_default(subscriber))
}
