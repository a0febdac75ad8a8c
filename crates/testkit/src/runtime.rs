//! The runtime of a service under test.

use std::ops::Deref;

use chassis::service::Runtime;

/// A service's runtime that is killed when it is dropped. Otherwise the service's connections would delay the removal
/// of the test's database by 5 s.
#[derive(Debug, Default)]
pub struct TestRuntime(Runtime);

impl Deref for TestRuntime {
    type Target = Runtime;

    fn deref(&self) -> &Runtime {
        &self.0
    }
}

impl Drop for TestRuntime {
    fn drop(&mut self) {
        self.0.lifecycle.kill();
    }
}

#[must_use]
pub fn runtime() -> TestRuntime {
    TestRuntime::default()
}
