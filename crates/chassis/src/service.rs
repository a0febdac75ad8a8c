//! How a service comes up: what it shares with its process, and a database it may trust before it serves.

use std::time::Duration;

use sqlx::PgPool;

use crate::{
    db::{self, Schema},
    lifecycle::Lifecycle,
    ops::Readiness,
};

/// What a service gets from the process that it runs in.
#[derive(Clone, Debug, Default)]
pub struct Runtime {
    pub lifecycle: Lifecycle,
    pub readiness: Readiness,
}

/// Why a service did not start, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
    #[error("the database is behind this program (missing migrations: {0:?}); run `greenroom migrate`")]
    Behind(Vec<i64>),
    #[error("migration {0} was applied in another form; this is not the database of this program")]
    Differs(i64),
    #[error("stopped while waiting for the database")]
    Stopped,
    #[error("the gRPC server failed: {0}")]
    Grpc(#[from] tonic::transport::Error),
    #[error("{0}")]
    Setting(String),
}

/// The service's pool, once the database answers with a schema that is not behind. Waits for a database that is
/// down; readiness says so meanwhile.
pub async fn database(settings: &db::Settings, runtime: &Runtime) -> Result<PgPool, StartError> {
    let pool = db::pool(settings)?;
    let (probed, service) = (pool.clone(), settings.service());
    runtime.readiness.watch(&runtime.lifecycle, settings.dependency(), true, move || {
        let (pool, service) = (probed.clone(), service.clone());
        async move {
            db::observe_pool(&pool, &service);
            sqlx::query_scalar!("select true").fetch_one(&pool).await.map(drop)
        }
    });
    let stopping = runtime.lifecycle.stopping();
    let schema = loop {
        match db::schema(&pool).await {
            Ok(schema) => break schema,
            Err(error @ (sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut)) => {
                tracing::info!(%error, "waiting for the database");
            }
            Err(error) => return Err(error.into()),
        }
        if stopping.run_until_cancelled(tokio::time::sleep(Duration::from_millis(250))).await.is_none() {
            return Err(StartError::Stopped);
        }
    };
    match schema {
        Schema::Current => {}
        Schema::Behind(versions) => return Err(StartError::Behind(versions)),
        Schema::Differs(version) => return Err(StartError::Differs(version)),
    }
    if let Some(role) = settings.role {
        db::check_role(&pool, role).await?;
    }
    Ok(pool)
}
