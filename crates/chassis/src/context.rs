//! What travels with a request through a process: when it must be answered, and its id.
//!
//! Set once where a request comes in (the gateway's HTTP stack, the gRPC guard), read where a call goes out
//! (the transport). It does not follow `tokio::spawn`: work that outlives its caller has a deadline of its own.

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

/// The request being worked on, if any.
#[must_use]
pub fn current() -> Option<Context> {
    CONTEXT.try_with(Clone::clone).ok()
}

/// What is left of the request's budget, at most `cap`; `cap` outside of a request.
#[must_use]
pub fn remaining(cap: Duration) -> Duration {
    current().map_or(cap, |context| context.deadline.saturating_duration_since(Instant::now()).min(cap))
}

/// Runs `work` with at most `budget`, less when the request has less left.
pub async fn with_budget<F: Future>(budget: Duration, work: F) -> F::Output {
    let context = Context {
        deadline: Instant::now() + remaining(budget),
        request_id: current().map_or_else(|| Arc::from(""), |context| context.request_id),
    };
    scope(context, work).await
}
