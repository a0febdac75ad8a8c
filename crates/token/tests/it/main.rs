//! Token against a real Postgres, a real livekit-dev and a scripted room-lifecycle.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod ensuring;
mod issuing;
mod live_ensuring;
mod live_issuing;
mod live_refresh;
mod logs;
mod metrics_issued;
mod metrics_joins;
mod nests;
mod one_statement;
mod rules_in_sql;
mod secrecy;
mod world;
