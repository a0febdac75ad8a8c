//! Connections under a service's role, none of which can be held for ever.
//!
//! Not by a statement (the server bounds it), and not by a host that vanished without a word: sqlx sets no TCP
//! keepalive, and would wait for such a one until the kernel gives up, a quarter of an hour later or never. So a
//! connection that was idle is asked before it is used, and one whose caller gave up is waited for only so long.

use std::{io, time::Duration};

use log::LevelFilter;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};

use super::Settings;

/// How long a service's statements may take. A caller who gives up leaves his statement behind, and the connection is
/// of no use before it ends: without bounds one row lock, held by hand, would take the whole pool.
const BOUNDS: [(&str, &str); 3] =
    [("lock_timeout", "5s"), ("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "30s")];

/// How the server plans our statements. Statements that take arrays would be planned anew at every call, which costs
/// more than running them; and the passes must reach few rows in large tables by index, whatever their history. JIT
/// compiles the functions of a plan at each execution: that takes 100 times longer than our largest statement.
const PLANNER: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("random_page_cost", "1.1"), ("jit", "off")];

/// How long a silent connection is believed in.
#[derive(Clone, Copy)]
struct Patience {
    /// After so long without use it is asked first. Busy connections are not: every question is a round trip.
    unasked: Duration,
    /// So long it may take to answer.
    answer: Duration,
    /// So long it may go on with a statement whose caller gave up. The server ends that one sooner ([`BOUNDS`]).
    abandoned: Duration,
}

const PATIENCE: Patience = Patience {
    unasked: Duration::from_secs(5),
    answer: Duration::from_millis(500),
    abandoned: Duration::from_secs(20),
};

/// From here on a statement counts as slow: it is logged as a warning.
const SLOW: Duration = Duration::from_secs(1);

/// The options of every connection to the database, in a pool or alone. Statements are not logged: asking whether they
/// would be, as sqlx does after each, leaves filters behind that drop the next span or log line of the thread
/// (tokio-rs/tracing#2519).
pub fn connect_options(url: &SecretString) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    let options = options.log_statements(LevelFilter::Off).log_slow_statements(LevelFilter::Warn, SLOW);
    Ok(options.options(PLANNER))
}

/// A pool that connects when it is first used, acts under the service's role, and gives up an acquire after 2 s.
///
/// A role that does not exist, or that the login is no member of, is passed over (with a warning from [`check_role`]): `up`
/// runs on a database whose owner may not make roles.
pub fn pool(settings: &Settings) -> Result<PgPool, sqlx::Error> {
    patient_pool(settings, PATIENCE)
}

fn patient_pool(settings: &Settings, patience: Patience) -> Result<PgPool, sqlx::Error> {
    let role = settings.role;
    let options = connect_options(&settings.url)?;
    let options = if role.is_some() { options.options(BOUNDS) } else { options };
    Ok(PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .before_acquire(move |connection, past| {
            Box::pin(
                async move { Ok(past.idle_for < patience.unasked || answers(connection, patience).await) },
            )
        })
        .after_release(move |connection, _| Box::pin(finish(connection, patience)))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                if let Some(role) = role {
                    set_role(connection, role).await?;
                }
                Ok(())
            })
        })
        .connect_lazy_with(options.application_name(role.unwrap_or("greenroom"))))
}

async fn answers(connection: &mut PgConnection, patience: Patience) -> bool {
    let answers = matches!(tokio::time::timeout(patience.answer, connection.ping()).await, Ok(Ok(())));
    if !answers {
        tracing::info!("an idle connection to the database does not answer; it is replaced");
    }
    answers
}

/// Reads what is left of a statement whose caller gave up. `flush` is not documented by sqlx, but a ping would cost
/// every statement a round trip; this costs nothing when nothing is left.
async fn finish(connection: &mut PgConnection, patience: Patience) -> Result<bool, sqlx::Error> {
    match tokio::time::timeout(patience.abandoned, connection.flush()).await {
        Ok(finished) => finished.map(|()| true),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "an abandoned statement has no end").into()),
    }
}

async fn set_role(connection: &mut PgConnection, role: &str) -> Result<(), sqlx::Error> {
    // Since PostgreSQL 16 a member may lack the right to `set role`; 15 does not know that right.
    sqlx::query!(
        "select set_config('role', rolname, false) from pg_roles
         where rolname = $1
           and pg_has_role(rolname, case when current_setting('server_version_num')::integer >= 160000
                                         then 'set' else 'member' end)",
        role as _
    )
    .fetch_optional(connection)
    .await?;
    Ok(())
}

/// Warns when the service's role is missing or not the login's: its pool then has all rights of the login.
pub async fn check_role(pool: &PgPool, role: &str) -> Result<bool, sqlx::Error> {
    let there =
        sqlx::query_scalar!("select current_user = $1 as \"there!\"", role as _).fetch_one(pool).await?;
    if !there {
        tracing::warn!(
            role,
            "the database role is missing or not granted; running with all rights of the login"
        );
    }
    Ok(there)
}

/// Samples pool use for `/metrics`: `greenroom_db_connections{pool,state}`.
pub fn observe_pool(pool: &PgPool, service: &str) {
    #[expect(clippy::cast_precision_loss, reason = "pools are small")]
    let (size, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
    metrics::gauge!("greenroom_db_connections", "pool" => service.to_owned(), "state" => "idle").set(idle);
    metrics::gauge!("greenroom_db_connections", "pool" => service.to_owned(), "state" => "used")
        .set(size - idle);
}

#[cfg(test)]
mod tests {
    use testkit::Wire;

    use super::*;

    const NEVER: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(100);

    /// A pool of two open connections over a wire.
    async fn wired(connect: &PgConnectOptions, patience: Patience) -> (Wire, PgPool) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.clone().host("127.0.0.1").port(wire.address.port());
        let url = testkit::database(&through, "greenroom_token").url;
        let settings = Settings { url, role: Some("greenroom_token"), max_connections: 2 };
        let pool = patient_pool(&settings, patience).unwrap();
        let both = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
        drop(both);
        testkit::eventually("both are idle", || {
            let idle = pool.num_idle();
            async move { if idle == 2 { Ok(()) } else { Err(idle) } }
        })
        .await;
        (wire, pool)
    }

    async fn ask(pool: &PgPool, within: Duration) -> Option<bool> {
        let answer = sqlx::query_scalar!("select true").fetch_one(pool);
        tokio::time::timeout(within, answer).await.ok().map(|answer| answer.unwrap() == Some(true))
    }

    #[sqlx::test(migrations = false)]
    async fn whoever_gave_up_on_a_vanished_database_leaves_the_pool_usable(
        _: PgPoolOptions,
        connect: PgConnectOptions,
    ) {
        let patience = Patience { unasked: NEVER, answer: NEVER, abandoned: SOON };
        let (wire, pool) = wired(&connect, patience).await;
        wire.forget();
        assert_eq!((ask(&pool, SOON).await, ask(&pool, SOON).await), (None, None));
        testkit::eventually("new connections are made", || ask(&pool, SOON * 50)).await;
    }

    #[sqlx::test(migrations = false)]
    async fn nobody_waits_for_an_idle_connection_whose_database_vanished(
        _: PgPoolOptions,
        connect: PgConnectOptions,
    ) {
        let patience = Patience { unasked: Duration::ZERO, answer: SOON, abandoned: NEVER };
        let (wire, pool) = wired(&connect, patience).await;
        wire.forget();
        for _ in 0..4 {
            let answer = sqlx::query_scalar!("select true").fetch_one(&pool).await.unwrap();
            assert_eq!(answer, Some(true));
        }
    }
}
