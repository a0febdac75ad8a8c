//! Runs flows that call LiveKit as detached tasks: a client that disconnects does not cancel them.

use chassis::lifecycle::TaskError;

use super::{Rooms, policy::FLOW_TIMEOUT};
use crate::error::Error;

impl Rooms {
    /// Runs a flow detached, for at most 10 s.
    pub async fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        self.lifecycle
            .run_detached(name, FLOW_TIMEOUT, flow)
            .await
            .map_err(|error: TaskError| Error::from(error))?
    }

    /// Runs a flow detached, and waits for it at most for the answer timeout. None: it continues in the background.
    pub(crate) async fn run_briefly<T: Send + 'static>(
        &self,
        name: &'static str,
        flow: impl Future<Output = Result<T, Error>> + Send + 'static,
    ) -> Option<Result<T, Error>> {
        let outcome = tokio::time::timeout(self.answer_timeout, self.run(name, flow)).await.ok();
        if outcome.is_none() {
            tracing::warn!(task = name, "timed out waiting for LiveKit; continuing in the background");
        }
        outcome
    }
}
