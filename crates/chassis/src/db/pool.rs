//! Connections under a service's role, none of which can be held for ever.
//!
//! Not by a statement (the server bounds it), and not by a host that vanished without a word: sqlx sets no TCP
//! keepalive, and would wait for such a one until the kernel gives up, a quarter of an hour later or never. So a
//! connection that was idle is asked before it is used, and one whose caller gave up is waited for only so long.

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

/// How long a service's statements may take. A caller who gives up leaves his statement behind, and the connection is
/// of no use before it ends: without bounds one row lock, held by hand, would take the whole pool.
const BOUNDS: [(&str, &str); 3] =
    [("lock_timeout", "5s"), ("statement_timeout", "15s"), ("idle_in_transaction_session_timeout", "30s")];

/// How the server plans our statements. Statements that take arrays would be planned again at each call, which costs
/// more than running them. Passes must reach few rows of large tables by index. JIT compiles the functions of a plan at
/// each execution: that takes 100 times longer than our largest statement.
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

/// Within the 2 s that readiness gives a probe.
const PROBE_ACQUIRE: Duration = Duration::from_millis(1_800);
/// Between two attempts to connect while the server is a standby: each of them is an error in sqlx's log.
const STANDBY_PAUSE: Duration = Duration::from_millis(500);

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
    Ok(options.options(PLANNER).options([("search_path", schema::SEARCH_PATH)]))
}

/// A pool that connects when it is first used, acts under the service's role, and gives up an acquire after 2 s.
///
/// A role that does not exist, or that the login is no member of, is passed over (with a warning from [`check_role`]):
/// `up` runs on a database whose owner may not make roles.
pub fn pool(settings: &Settings) -> Result<PgPool, sqlx::Error> {
    probed_pool(settings, Needs::Writes).map(|(pool, _)| pool)
}

/// [`pool`], for a service that needs this, and what readiness asks of it.
pub fn probed_pool(settings: &Settings, needs: Needs) -> Result<(PgPool, Probe), sqlx::Error> {
    patient_pool(settings, needs, PATIENCE)
}

fn patient_pool(
    settings: &Settings,
    needs: Needs,
    patience: Patience,
) -> Result<(PgPool, Probe), sqlx::Error> {
    let role = settings.role;
    let needs = role.map(|_| needs); // tools may read a standby too
    let options = connect_options(&settings.url)?;
    let options = if role.is_some() { options.options(BOUNDS) } else { options };
    let (standby, expiry) = (Arc::new(AtomicBool::new(false)), Expiry::default());
    let (met, used, released) = (Arc::clone(&standby), expiry.clone(), expiry.clone());
    let pool = PgPoolOptions::new()
        .max_connections(settings.max_connections)
        .min_connections(1)
        .acquire_timeout(Duration::from_secs(2))
        .test_before_acquire(false)
        .before_acquire(move |connection, past| {
            let has_expired = used.has_passed(past.age);
            Box::pin(async move {
                if has_expired {
                    return Ok(false);
                }
                Ok(past.idle_for < patience.unasked || answers(connection, needs, patience).await)
            })
        })
        .after_release(move |connection, past| {
            let has_expired = released.has_passed(past.age);
            Box::pin(async move { Ok(!has_expired && finish(connection, patience).await?) })
        })
        .after_connect(move |connection, _| {
            let met = Arc::clone(&met);
            Box::pin(async move {
                let Some(role) = role else { return Ok(()) };
                let is_standby = set_role(connection, role).await?;
                met.store(is_standby, Ordering::Relaxed);
                if is_standby { refuse_standby().await } else { Ok(()) }
            })
        })
        .connect_lazy_with(options.application_name(role.unwrap_or("greenroom")));
    let probe = Probe { pool: pool.clone(), needs, standby, expiry };
    Ok((pool, probe))
}

/// What readiness asks a pool: whether one of its connections leads to a server that suits the service.
#[derive(Clone, Debug)]
pub struct Probe {
    pool: PgPool,
    needs: Option<Needs>,
    /// The last server that was connected to is a standby.
    standby: Arc<AtomicBool>,
    expiry: Expiry,
}

impl Probe {
    /// A connection to a server that does not suit is closed, and all that were opened before it.
    pub async fn ask(&self) -> Result<(), Unusable> {
        let answer = self.expiry.scope(self.look()).await;
        match answer {
            Ok(()) => self.expiry.found(true),
            Err(Unusable::ReadOnly) => self.expiry.found(false),
            Err(Unusable::Failed(_)) => {}
        }
        answer
    }

    /// The connections that this pool does not use any more.
    #[must_use]
    pub fn expiry(&self) -> &Expiry {
        &self.expiry
    }

    async fn look(&self) -> Result<(), Unusable> {
        let acquired = timeout(PROBE_ACQUIRE, self.pool.acquire()).await;
        let mut connection = match acquired.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
            Ok(connection) => connection,
            Err(_) if self.standby.swap(false, Ordering::Relaxed) => return Err(Unusable::ReadOnly),
            Err(error) => return Err(Unusable::Failed(error)),
        };
        let server = ask(&mut *connection).await.inspect_err(note).map_err(Unusable::Failed)?;
        if self.needs.is_none_or(|needs| server.suits(needs)) {
            return Ok(());
        }
        let _ = connection.close().await; // closed as well when it cannot say so
        Err(Unusable::ReadOnly)
    }
}

/// Whether a connection that was idle still leads to a server that suits.
async fn answers(connection: &mut PgConnection, needs: Option<Needs>, patience: Patience) -> bool {
    let answer = async {
        match needs {
            Some(needs) => ask(&mut *connection).await.map(|server| server.suits(needs)),
            None => connection.ping().await.map(|()| true),
        }
    };
    let suits = matches!(timeout(patience.answer, answer).await, Ok(Ok(true)));
    if !suits {
        tracing::info!("an idle connection to the database was replaced");
    }
    suits
}

/// A standby is no server for any service: passes would act on its old rows. sqlx tries again for as long as its caller
/// waits, as it does while a server starts.
async fn refuse_standby() -> Result<(), sqlx::Error> {
    tokio::time::sleep(STANDBY_PAUSE).await;
    Err(io::Error::other("the server is a standby").into())
}

/// Reads what is left of a statement whose caller gave up. `flush` is not documented by sqlx, but a ping would cost
/// every statement a round trip; this costs nothing when nothing is left.
async fn finish(connection: &mut PgConnection, patience: Patience) -> Result<bool, sqlx::Error> {
    match timeout(patience.abandoned, connection.flush()).await {
        Ok(finished) => finished.map(|()| true),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "an abandoned statement has no end").into()),
    }
}

/// True: the server is a standby.
async fn set_role(connection: &mut PgConnection, role: &str) -> Result<bool, sqlx::Error> {
    // Since PostgreSQL 16 a member may lack the right to `set role`; 15 does not know that right.
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

    use super::{super::server::ask as ask_server, *};

    const NEVER: Duration = Duration::from_hours(1);
    const SOON: Duration = Duration::from_millis(100);

    /// A pool of two open connections over a wire.
    async fn wired(connect: &PgConnectOptions, patience: Patience) -> (Wire, PgPool) {
        let wire = Wire::to(format!("{}:{}", connect.get_host(), connect.get_port())).await;
        let through = connect.clone().host("127.0.0.1").port(wire.address.port());
        let url = testkit::database(&through, "greenroom_token").url;
        let settings = Settings { url, role: Some("greenroom_token"), max_connections: 2 };
        let (pool, _) = patient_pool(&settings, Needs::Writes, patience).unwrap();
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
    async fn idle_connection_that_turned_read_only_is_replaced(_: PgPoolOptions, connect: PgConnectOptions) {
        let patience = Patience { unasked: Duration::ZERO, answer: NEVER, abandoned: NEVER };
        for (needs, is_kept) in [(Needs::Writes, false), (Needs::Reads, true)] {
            let url = testkit::database(&connect, "greenroom_token").url;
            let settings = Settings { url, role: Some("greenroom_token"), max_connections: 1 };
            let (pool, _) = patient_pool(&settings, needs, patience).unwrap();
            let mut connection = pool.acquire().await.unwrap();
            let turn = "set default_transaction_read_only = on";
            sqlx::raw_sql(turn).execute(&mut *connection).await.unwrap();
            drop(connection);
            assert_eq!(ask_server(&pool).await.unwrap().read_only, is_kept, "{needs:?}");
        }
    }

    #[sqlx::test(migrations = false)]
    async fn refused_write_expires_all_connections_from_before(_: PgPoolOptions, connect: PgConnectOptions) {
        let patience = Patience { unasked: NEVER, answer: NEVER, abandoned: NEVER };
        let url = testkit::database(&connect, "greenroom_token").url;
        let settings = Settings { url, role: Some("greenroom_token"), max_connections: 2 };
        let (pool, probe) = patient_pool(&settings, Needs::Writes, patience).unwrap();
        let mut both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        for connection in &mut both {
            let read_only = "set default_transaction_read_only = on";
            sqlx::raw_sql(read_only).execute(&mut **connection).await.unwrap();
        }
        let [free, held] = both; // the other one is in use when the write is refused
        drop(free);
        let write = testkit::eventually("a write works", || async {
            let written = sqlx::raw_sql("create temp table if not exists written ()").execute(&pool).await;
            written.map(drop).inspect_err(super::super::server::note)
        });
        probe.expiry().scope(write).await;
        drop(held);
        testkit::eventually("both are replaced, the younger one when it is a second old", || async {
            let mut both = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
            for connection in &mut both {
                if ask_server(&mut **connection).await.unwrap().read_only {
                    return Err("a connection from before is used");
                }
            }
            Ok(())
        })
        .await;
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
