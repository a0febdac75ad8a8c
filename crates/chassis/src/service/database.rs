//! How a service waits for its database, and checks it before it serves.

use std::time::Duration;

use sqlx::PgPool;

use super::{Runtime, StartError};
use crate::db::{self, DatabaseError, Needs, Schema};

/// Returns the service's pool when the database answers with a schema that is not behind. Waits for a database that is
/// down; readiness reports it meanwhile.
pub async fn database(settings: &db::Settings, runtime: &Runtime) -> Result<PgPool, StartError> {
    database_for(settings, Needs::Writes, runtime).await
}

/// As [`database`], for a service with these needs.
pub async fn database_for(
    settings: &db::Settings,
    needs: Needs,
    runtime: &Runtime,
) -> Result<PgPool, StartError> {
    let (pool, probe) = db::probed_pool(settings, needs)?;
    // Registered before the wait, because health asks for it by name.
    runtime.databases.locked().insert(settings.dependency(), probe.expiry().clone());
    let (observed, service) = (pool.clone(), settings.service());
    runtime.readiness.watch(&runtime.lifecycle, settings.dependency(), true, move || {
        let probe = probe.clone();
        db::observe_pool(&observed, &service);
        async move { probe.ask().await }
    });
    match retry_until_available(runtime, || examine(&pool, settings)).await? {
        Schema::Current => Ok(pool),
        Schema::Ahead(migration) => {
            tracing::info!(migration, "the database is newer than this program, and serves it");
            Ok(pool)
        }
        Schema::Behind(versions) => Err(StartError::Behind(versions)),
        Schema::Differs(version) => Err(StartError::Differs(version)),
    }
}

async fn examine(pool: &PgPool, settings: &db::Settings) -> Result<Schema, sqlx::Error> {
    let schema = db::schema(pool).await?;
    if let Some(role) = settings.role
        // In any other state the start fails anyway, and roles may not exist yet.
        && matches!(schema, Schema::Current | Schema::Ahead(_))
    {
        db::check_role(pool, role).await?;
    }
    Ok(schema)
}

/// Repeats `attempt` until the database answers. A process that starts during a failover waits, as running processes do.
pub async fn retry_until_available<
    T,
    E: DatabaseError + Into<StartError>,
    F: Future<Output = Result<T, E>>,
>(
    runtime: &Runtime,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StartError> {
    let stopping = runtime.lifecycle.stopping();
    loop {
        match attempt().await {
            Err(error) => match error.database() {
                // Only outages are waited for. A wrong password stays wrong, so the process ends with its
                // text.
                Some(cause) if db::is_outage(cause) => {
                    tracing::info!(error = %cause, "waiting for the database");
                }
                _ => return Err(error.into()),
            },
            Ok(done) => return Ok(done),
        }
        if stopping.run_until_cancelled(tokio::time::sleep(Duration::from_millis(250))).await.is_none() {
            return Err(StartError::Stopped);
        }
    }
}
