//! The context of a request within a process: its deadline and its id.
//!
//! It is set once where a request arrives (the gateway's HTTP stack, the gRPC guard) and read where a call is sent (the
//! transport). `tokio::spawn` does not inherit it: a detached task has a deadline of its own.

use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};

#[derive(Clone, Debug)]
pub struct Context {
    pub deadline: Instant,
    pub request_id: Arc<str>,
}

tokio::task_local! {
    static CONTEXT: Context;
}

/// Runs `work` as part of the request described by `context`.
pub async fn scope<F: Future>(context: Context, work: F) -> F::Output {
    CONTEXT.scope(context, work).await
}

/// The context of the current request, if there is one.
#[must_use]
pub fn current() -> Option<Context> {
    CONTEXT.try_with(Clone::clone).ok()
}

/// The rest of the request's budget, at most `cap`; `cap` outside of a request.
#[must_use]
pub fn remaining(cap: Duration) -> Duration {
    current().map_or(cap, |context| context.deadline.saturating_duration_since(Instant::now()).min(cap))
}

/// Runs `work` with a budget of at most `budget`, or of the rest of the request's budget when that is less.
pub async fn with_budget<F: Future>(budget: Duration, work: F) -> F::Output {
    let context = Context {
        // `remaining` caps the budget: a step of a request never gets more time than the request has.
        deadline: Instant::now() + remaining(budget),
        request_id: current().map_or_else(|| Arc::from(""), |context| context.request_id),
    };
    scope(context, work).await
}
