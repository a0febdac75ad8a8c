//! Statements as spans of a trace.

use std::future::Future;

use tracing::{Instrument, field};

use crate::telemetry;

/// A future that runs a statement.
pub trait Statement<T>: Future<Output = sqlx::Result<T>> + Sized {
    /// Runs the statement in a client span of the current trace, if there is one. `name` is the SQL command and the purpose
    /// of the statement: `SELECT find_booking`.
    fn statement(self, name: &'static str) -> impl Future<Output = sqlx::Result<T>>;
}

impl<T, F: Future<Output = sqlx::Result<T>>> Statement<T> for F {
    async fn statement(self, name: &'static str) -> sqlx::Result<T> {
        let span = telemetry::client(|| {
            tracing::debug_span!(
                "statement", otel.name = name, otel.kind = "client", db.system.name = "postgresql",
                db.operation.name = name.split(' ').next(), db.response.status_code = field::Empty,
                error.type = field::Empty, otel.status_code = field::Empty,
            )
        });
        let outcome = self.instrument(span.clone()).await;
        // Without a trace the SQLSTATE is not copied.
        if let Err(error) = &outcome
            && !span.is_disabled()
        {
            let code = super::sqlstate(error);
            span.record("otel.status_code", "ERROR");
            span.record("db.response.status_code", code.as_deref());
            span.record("error.type", code.as_deref().unwrap_or_else(|| kind(error)));
        }
        outcome
    }
}

/// The kind of an error without SQLSTATE.
fn kind(error: &sqlx::Error) -> &'static str {
    match error {
        sqlx::Error::Io(_) => "io",
        sqlx::Error::Tls(_) => "tls",
        sqlx::Error::PoolTimedOut => "pool_timed_out",
        sqlx::Error::PoolClosed => "pool_closed",
        sqlx::Error::Protocol(_) => "protocol",
        sqlx::Error::RowNotFound => "row_not_found",
        _ => "_OTHER",
    }
}
