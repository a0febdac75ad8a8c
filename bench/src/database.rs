//! The database of a run, on the server of `DATABASE_URL`.

use anyhow::{Context, Result};
use chassis::db;
use secrecy::SecretString;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgPool, postgres::PgConnectOptions};

pub struct Database {
    pub url: String,
    /// Connections as the database's owner.
    pub pool: PgPool,
    server: PgConnectOptions,
    name: String,
}

impl Database {
    pub async fn create(name: &str) -> Result<Self> {
        let url = std::env::var("DATABASE_URL").context("DATABASE_URL is missing; `make bench` sets it")?;
        let server: PgConnectOptions = url.parse()?;
        let name = format!("greenroom_bench_{}_{name}", std::process::id());
        let mut connection = server.connect().await?;
        sqlx::raw_sql(AssertSqlSafe(format!("create database {name}"))).execute(&mut connection).await?;
        sqlx::raw_sql(db::ROLES).execute(&mut connection).await?;
        connection.close().await?;
        let own = server.clone().database(&name);
        let pool =
            PgPool::connect_with(own.clone().options([("jit", "off"), ("search_path", "greenroom,public")]))
                .await?;
        db::MIGRATOR.run(&pool).await?;
        Ok(Self { url: own.to_url_lossy().to_string(), pool, server, name })
    }

    pub async fn remove(self) -> Result<()> {
        self.pool.close().await;
        let mut connection = self.server.connect().await?;
        let remove = format!("drop database {} with (force)", self.name);
        sqlx::raw_sql(AssertSqlSafe(remove)).execute(&mut connection).await?;
        Ok(())
    }
}

/// A pool with the settings of a service, with the service's role or as the owner.
pub fn service_pool(url: &str, role: Option<&'static str>) -> Result<PgPool> {
    Ok(db::pool(&db::Settings { url: SecretString::from(url), role, max_connections: 8 })?)
}
