//! Connections under a service's role. No connection can be held without a limit.
//!
//! The server limits every statement. A host that vanished sends nothing: sqlx sets no TCP keepalive, and would wait
//! until the kernel gives up, 15 minutes later or never. So an idle connection is tested before it is used, and a
//! connection whose caller gave up is kept only for a limited time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use log::LevelFilter;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions, Connection, PgPool,
    postgres::{PgConnectOptions, PgConnection, PgPoolOptions},
};
use tokio::time::timeout;

use super::{
    Expiry, Settings,
    server::{Needs, Unusable, ask, note},
};

/// How long a service's statements may take. The statement of a caller that gave up still runs, and its connection
/// cannot be used before it ends. Without these limits one row lock, held by hand, would block the whole pool.
const BOUNDS: [(&str, &str); 3] =
    [("lock_timeout", "5s"), ("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "30s")];

/// How the server plans our statements. Without a generic plan, statements that take arrays would be planned at each
/// call, which costs more than running them. Passes must reach few rows of large tables by index. JIT compiles the
/// functions of a plan at each execution, which takes 100 times longer than our largest statement.
const PLANNER: [(&str, &str); 3] =
    [("plan_cache_mode", "force_generic_plan"), ("random_page_cost", "1.1"), ("jit", "off")];

/// How long a silent connection is trusted.
#[derive(Clone, Copy)]
struct Timeouts {
    /// A connection that was idle for this long is tested before use. Busy ones are not: each test is a round trip.
    idle: Duration,
    /// How long the test may take.
    answer: Duration,
    /// How long a statement may continue after its caller gave up. The server ends it sooner ([`BOUNDS`]).
    abandoned: Duration,
}

/// Less than the 2 s that readiness gives a probe.
const PROBE_ACQUIRE: Duration = Duration::from_millis(1_800);
/// The pause between two attempts to connect while the server is a standby: each attempt is an error in sqlx's log.
const STANDBY_PAUSE: Duration = Duration::from_millis(500);

const TIMEOUTS: Timeouts = Timeouts {
    idle: Duration::from_secs(5),
    answer: Duration::from_millis(500),
    abandoned: Duration::from_secs(20),
};

/// A statement that takes longer is logged as a warning.
const SLOW: Duration = Duration::from_secs(1);

/// The options of every connection to the database, in a pool or alone. Statements are not logged: after each statement
/// sqlx asks whether it would be logged. That leaves stale filters behind, which drop the next span or log line of the
/// thread (tokio-rs/tracing#2519).
pub fn connect_options(url: &SecretString) -> Result<PgConnectOptions, sqlx::Error> {
    let options: PgConnectOptions = url.expose_secret().parse()?;
    let options = options.log_statements(LevelFilter::Off).log_slow_statements(LevelFilter::Warn, SLOW);
    Ok(options.options(PLANNER).options([("search_path", schema::SEARCH_PATH)]))
}

/// Returns a pool that connects when it is first used, acts under the service's role, and times out an acquire after 2 s.
///
/// A role that does not exist, or that the login is not a member of, is skipped ([`check_role`] logs a warning): `up` runs
/// on databases whose owner may not create roles.
pub fn pool(settings: &Settings) -> Result<PgPool, sqlx::Error> {
    probed_pool(settings, Needs::Writes).map(|(pool, _)| pool)
}

/// As [`pool`], for a service with these needs; also returns the probe for readiness.
pub fn probed_pool(settings: &Settings, needs: Needs) -> Result<(PgPool, Probe), sqlx::Error> {
    pool_with(settings, needs, TIMEOUTS)
}

fn pool_with(settings: &Settings, needs: Needs, timeouts: Timeouts) -> Result<(PgPool, Probe), sqlx::Error> {
    let role = settings.role;
    let needs = role.map(|_| needs); // tools may read a standby too
    let options = connect_options(&settings.url)?;
    // Tools such as `migrate` run long statements by design, so the limits are only for services.
    let options = if role.is_some() { options.options(BOUNDS) } else { options };
    let (standby, expiry) = (Arc::new(AtomicBool::new(false)), Expiry::default());
    let (met, used, released) = (Arc::clone(&standby), expiry.clone(), expiry.clone());
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        // sqlx's own test is a round trip before each use. Below, only connections that were idle are tested.
        .test_before_acquire(false)
        .before_acquire(move |connection, past| {
            let has_expired = used.has_passed(past.age);
            Box::pin(async move {
                // `false` makes sqlx close this connection and try another one.
                if has_expired {
                    return Ok(false);
                }
                // A busy connection proves itself by its next statement. Only a silent one may lead to a host
                // that vanished.
                Ok(past.idle_for < timeouts.idle || answers(connection, needs, timeouts).await)
            })
        })
        .after_release(move |connection, past| {
            // Also when it is released: a connection that was in use when the server failed must not become
            // idle again.
            let has_expired = released.has_passed(past.age);
            Box::pin(async move { Ok(!has_expired && finish(connection, timeouts).await?) })
        })
        .after_connect(move |connection, _| {
            let met = Arc::clone(&met);
            Box::pin(async move {
                let Some(role) = role else { return Ok(()) };
                let is_standby = set_role(connection, role).await?;
                // Stored before the refusal, so that readiness can say "read-only" instead of "pool timed
                // out".
                met.store(is_standby, Ordering::Relaxed);
                if is_standby { refuse_standby().await } else { Ok(()) }
            })
        })
        .connect_lazy_with(options.application_name(role.unwrap_or("greenroom")));
    let probe = Probe { pool: pool.clone(), needs, standby, expiry };
    Ok((pool, probe))
}

/// The probe of a pool for readiness: whether one of its connections leads to a server that suits the service.
#[derive(Clone, Debug)]
pub struct Probe {
    pool: PgPool,
    needs: Option<Needs>,
    /// Whether the last server that the pool connected to is a standby.
    standby: Arc<AtomicBool>,
    expiry: Expiry,
}

impl Probe {
    /// Probes one connection. When its server does not suit, it is closed, and so are all that were opened before it.
    pub async fn ask(&self) -> Result<(), Unusable> {
        let answer = self.expiry.scope(self.check()).await;
        match answer {
            Ok(()) => self.expiry.observe(true),
            Err(Unusable::ReadOnly) => self.expiry.observe(false),
            Err(Unusable::Failed(_)) => {}
        }
        answer
    }

    /// Which connections this pool does not use again.
    #[must_use]
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    async fn check(&self) -> Result<(), Unusable> {
        let acquired = timeout(PROBE_ACQUIRE, self.pool.acquire()).await;
        let mut connection = match acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => connection,
            // `swap`: the flag explains one failure. The next connection sets it again if the server is still
            // a standby.
            Err(_) if self.standby.swap(false, Ordering::Relaxed) => return Err(Unusable::ReadOnly),
            Err(error) => return Err(Unusable::Failed(error)),
        };
        let server = ask(&mut *connection).await.inspect_err(note).map_err(Unusable::Failed)?;
        if self.needs.is_none_or(|needs| server.suits(needs)) {
            return Ok(());
        }
        let _ = connection.close().await; // an error does not matter: the connection is closed anyway
        Err(Unusable::ReadOnly)
    }
}

/// Tests whether an idle connection still leads to a server that suits.
async fn answers(connection: &mut PgConnection, needs: Option<Needs>, timeouts: Timeouts) -> bool {
    let answer = async {
        match needs {
            Some(needs) => ask(&mut *connection).await.map(|server| server.suits(needs)),
            None => connection.ping().await.map(|()| true),
        }
    };
    // A timeout, an error and an unsuitable server mean the same: this connection is not used.
    let suits = matches!(timeout(timeouts.answer, answer).await, Ok(Ok(true)));
    if !suits {
        tracing::info!("an idle connection to the database was replaced");
    }
    suits
}

/// Refuses a standby, which suits no service: passes would act on its old rows. sqlx retries for as long as its caller
/// waits, as it does while a server starts.
async fn refuse_standby() -> Result<(), sqlx::Error> {
    tokio::time::sleep(STANDBY_PAUSE).await;
    Err(io::Error::other("the server is a standby").into())
}

/// Reads the rest of a statement whose caller gave up. sqlx does not document `flush`, but a ping would cost every
/// statement a round trip, and `flush` costs nothing when nothing is left.
async fn finish(connection: &mut PgConnection, timeouts: Timeouts) -> Result<bool, sqlx::Error> {
    match timeout(timeouts.abandoned, connection.flush()).await {
        Ok(finished) => finished.map(|()| true),
        // An error makes sqlx close the connection, as `false` would, and also log it.
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "an abandoned statement did not end").into()),
    }
}

/// Sets the role and returns whether the server is a standby.
async fn set_role(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    // Since PostgreSQL 16 a member may lack the right to `set role`; PostgreSQL 15 does not have that right.
    let set = sqlx::query!(
        r#"select pg_is_in_recovery() as "standby!",
                  (select set_config('role', rolname, false) from pg_roles
                   where rolname = $1
                     and pg_has_role(rolname, case when current_setting('server_version_num')::integer >= 160000
                                                   then 'set' else 'member' end)) as role"#,
        role as _
    );
    set.fetch_one(connection).await.map(|set| set.standby)
}

/// Warns when the service's role is missing or not granted to the login: its pool then has all rights of the login.
pub async fn check_role(pool: &PgPool, role: &str) -> Result<bool, sqlx::Error> {
    let has_role =
        sqlx::query_scalar!("select current_user = $1 as \"there!\"", role as _).fetch_one(pool).await?;
    if !has_role {
        tracing::warn!(
            role,
            "the database role is missing or not granted; the service has all rights of the login"
        );
    }
    Ok(has_role)
}

/// Records the use of the pool: `greenroom_db_connections{pool,state}`.
pub fn observe_pool(pool: &PgPool, service: &str) {
    // Size and idle are read one after the other, so `used` may be wrong by one for a moment.
    #[expect(clippy::cast_precision_loss, reason = "pools are small")]
    let (size, idle) = (f64::from(pool.size()), pool.num_idle() as f64);
    metrics::gauge!("greenroom_db_connections", "pool" => service.to_owned(), "state" => "idle").set(idle);
    metrics::gauge!("greenroom_db_connections", "pool" => service.to_owned(), "state" => "used")
        .set(size - idle);
}

#[cfg(test)]
mod tests {
    use testkit::Wire;

    use super::{super::server::ask as ask_server, *};

    const NEVER: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(100);

    /// A pool of two open connections through a proxy that a test can interrupt.
    async fn wired(connect: &PgConnectOptions, timeouts: Timeouts) -> (Wire, PgPool) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.clone().host("127.0.0.1").port(wire.address.port());
        let url = testkit::database(&through, "greenroom_token").url;
        let settings = Settings { url, role: Some("greenroom_token"), max_connections: 2 };
        let (pool, _) = pool_with(&settings, Needs::Writes, timeouts).unwrap();
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

    #[testkit::test(empty)]
    async fn pool_stays_usable_after_its_callers_gave_up(connect: PgConnectOptions) {
        let timeouts = Timeouts { idle: NEVER, answer: NEVER, abandoned: SOON };
        let (wire, pool) = wired(&connect, timeouts).await;
        wire.forget();
        assert_eq!((ask(&pool, SOON).await, ask(&pool, SOON).await), (None, None));
        testkit::eventually("new connections are opened", || ask(&pool, SOON * 50)).await;
    }

    #[testkit::test(empty)]
    async fn idle_connection_that_turned_read_only_is_replaced(connect: PgConnectOptions) {
        let timeouts = Timeouts { idle: Duration::ZERO, answer: NEVER, abandoned: NEVER };
        for (needs, is_kept) in [(Needs::Writes, false), (Needs::Reads, true)] {
            let url = testkit::database(&connect, "greenroom_token").url;
            let settings = Settings { url, role: Some("greenroom_token"), max_connections: 1 };
            let (pool, _) = pool_with(&settings, needs, timeouts).unwrap();
            let mut connection = pool.acquire().await.unwrap();
            let turn = "set default_transaction_read_only = on";
            sqlx::raw_sql(turn).execute(&mut *connection).await.unwrap();
            drop(connection);
            assert_eq!(ask_server(&pool).await.unwrap().read_only, is_kept, "{needs:?}");
        }
    }

    #[testkit::test(empty)]
    async fn refused_write_expires_all_older_connections(connect: PgConnectOptions) {
        let timeouts = Timeouts { idle: NEVER, answer: NEVER, abandoned: NEVER };
        let url = testkit::database(&connect, "greenroom_token").url;
        let settings = Settings { url, role: Some("greenroom_token"), max_connections: 2 };
        let (pool, probe) = pool_with(&settings, Needs::Writes, timeouts).unwrap();
        let mut both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        for connection in &mut both {
            let read_only = "set default_transaction_read_only = on";
            sqlx::raw_sql(read_only).execute(&mut **connection).await.unwrap();
        }
        let [free, held] = both; // the other connection is in use when the write is refused
        drop(free);
        let write = testkit::eventually("a write works", || async {
            let written = sqlx::raw_sql("create temp table if not exists written ()").execute(&pool).await;
            written.map(drop).inspect_err(super::super::server::note)
        });
        probe.expiry().scope(write).await;
        drop(held);
        testkit::eventually("both are replaced, the younger one after a second", || async {
            let mut both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
            for connection in &mut both {
                if ask_server(&mut **connection).await.unwrap().read_only {
                    return Err("an old connection is used");
                }
            }
            Ok(())
        })
        .await;
    }

    #[testkit::test(empty)]
    async fn idle_connection_is_replaced_when_its_database_vanished(connect: PgConnectOptions) {
        let timeouts = Timeouts { idle: Duration::ZERO, answer: SOON, abandoned: NEVER };
        let (wire, pool) = wired(&connect, timeouts).await;
        wire.forget();
        for _ in 0..4 {
            let answer = sqlx::query_scalar!("select true").fetch_one(&pool).await.unwrap();
            assert_eq!(answer, Some(true));
        }
    }
}
