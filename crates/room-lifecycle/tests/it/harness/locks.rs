//! Who waits for whom: locks that a test holds, and statements that wait for them.

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use super::World;

impl World {
    /// Statements that the compiler cannot check: triggers and other database objects of a test.
    pub async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&self.pool).await.unwrap();
    }

    /// One statement on a connection of its own, for as long as it is kept: holds locks.
    pub async fn hold(&self, sql: &str) -> PgConnection {
        let mut connection = PgConnection::connect_with(&self.connect).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("begin; {sql}"))).execute(&mut connection).await.unwrap();
        connection
    }

    /// Whether at least so many statements wait for a lock in this database.
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

    /// Whether nobody works in this database: what was cut leaves its last statement behind, with all locks of it.
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
