//! Locks that a test holds, and statements that wait for them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::World;

impl World {
    /// Executes statements that the compiler cannot check, such as triggers of a test.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// Begins a transaction with this statement on a separate connection. It holds its locks until it is dropped.
    pub async fn hold(&self, sql: &str) -> PgConnection {
        let mut connection = PgConnection::connect_with(&self.connect).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut connection).await.unwrap();
        connection
    }

    /// Some when at least this many statements wait for a lock in this database.
    pub async fn waiting(&self, at_least: i64) -> Option<()> {
        let waiting = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_stat_activity
               where datname = current_database() and wait_event_type = 'Lock'"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        (waiting >= at_least).then_some(())
    }

    /// Some when this database is idle. A future that was cut leaves its last statement running, with its locks.
    pub async fn quiet(&self) -> Option<()> {
        let busy = sqlx::query_scalar!(
            r#"select count(*) as "n!" from pg_stat_activity
               where datname = current_database() and backend_type = 'client backend'
                 and pid <> pg_backend_pid() and state <> 'idle'"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        (busy == 0).then_some(())
    }
}
