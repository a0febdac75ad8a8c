//! `doctor`'s checks of the database.

use chassis::db::{self, Needs, Schema};
use sqlx::{PgExecutor, PgPool};
use time::OffsetDateTime;

use super::{Failure, Report, Target, live, livekit::compare};

const MIGRATE: &str = "run `greenroom migrate`";

/// Checks the database. Returns whether it can be used.
pub async fn examine(pool: &PgPool, target: &Target, report: &mut Report) -> bool {
    if !report.check("database", connect(pool)).await {
        report
            .skip(&["migrations", "roles", "database_clock", "deployment"], "the database cannot be used")
            .await;
        report.skip(&live::CHECKS, "the database cannot be used").await;
        return false;
    }
    // The later checks use tables and functions of the current schema.
    if !report.check("migrations", migrations(pool)).await {
        report.skip(&["roles", "database_clock", "deployment"], "the schema is not current").await;
        report.skip(&live::CHECKS, "the schema is not current").await;
        return false;
    }
    report.check("roles", roles(pool)).await;
    report.check("database_clock", clock(pool)).await;
    report.check("deployment", deployment(pool, target)).await;
    live::examine(pool, report).await;
    true
}

async fn connect(pool: &PgPool) -> Result<String, Failure> {
    let version = find_version(pool).await.map_err(|error| match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => Failure::new(
            // sqlx gives up with a pool timeout where a connection gets no answer.
            "the database cannot be reached",
            "check that Postgres runs, that DATABASE_URL is right, and that no firewall is between",
        ),
        error => Failure::new(
            format!("the database refuses: {error}"),
            "check that the user, the password and the database of DATABASE_URL exist",
        ),
    })?;
    // Reads work on a standby too, so the connection alone proves too little.
    if !db::ask(pool).await.map_err(|error| failed(&error))?.suits(Needs::Writes) {
        return Err(Failure::new(
            db::READ_ONLY,
            "check that DATABASE_URL leads to the primary, that its disk is not full, and that \
             default_transaction_read_only is off for the database and the user",
        ));
    }
    Ok(format!("Successfully connected to the database (PostgreSQL {version})"))
}

async fn migrations(pool: &PgPool) -> Result<&'static str, Failure> {
    match db::schema(pool).await.map_err(|error| failed(&error))? {
        Schema::Current => Ok("The schema is current"),
        Schema::Ahead(_) => Ok("The schema is newer than this program, and serves it"),
        Schema::Behind(missing) => Err(Failure::new(format!("the schema lacks {missing}"), MIGRATE)),
        Schema::Differs(version) => Err(Failure::new(
            format!("migration {version} was applied with other content"),
            "this is not a database of this version; see DATABASE_URL",
        )),
    }
}

/// Checks the roles and their rights. This user need not be a member of them: the services may have their own logins.
async fn roles(pool: &PgPool) -> Result<String, Failure> {
    let roles = list_roles(pool).await.map_err(|error| failed(&error))?;
    let names = |wanted: fn(&Role) -> bool| -> Vec<&str> {
        roles.iter().filter(|role| wanted(role)).map(|role| role.name.as_str()).collect()
    };
    let wrong = names(|role| !role.works);
    if !wrong.is_empty() {
        return Err(Failure::new(
            format!("roles are missing or without rights: {}", wrong.join(", ")),
            "let an administrator run deploy/postgres/roles.sql, then run `greenroom migrate`; until then services \
             that connect as the owner have all rights of the owner",
        ));
    }
    let foreign = names(|role| !role.is_usable);
    let note = if foreign.is_empty() {
        String::new()
    } else {
        format!(" (this user is not a member of {}: services need their own logins)", foreign.join(", "))
    };
    Ok(format!("The roles of the services exist and have their rights{note}"))
}

async fn clock(pool: &PgPool) -> Result<String, Failure> {
    let now = find_now(pool).await.map_err(|error| failed(&error))?;
    compare("the database", now)
}

/// Checks that the database belongs to this LiveKit. Otherwise the services delete no rooms.
async fn deployment(pool: &PgPool, target: &Target) -> Result<&'static str, Failure> {
    let (url, key) = (&target.livekit.url, &target.livekit.api_key);
    let ours = is_deployment(pool, url, key).await.map_err(|error| failed(&error))?;
    if ours {
        return Ok("The database belongs to this LiveKit server and key");
    }
    Err(Failure::new(
        "the database was set up with another LiveKit or key, or is a copy: no room is deleted",
        "if it is to belong to this LiveKit from now on, run `greenroom repair adopt`",
    ))
}

pub fn failed(error: &sqlx::Error) -> Failure {
    Failure::new(format!("the database failed: {error}"), "see the log of Postgres")
}

async fn find_version(executor: impl PgExecutor<'_>) -> sqlx::Result<String> {
    sqlx::query_scalar!(r#"select current_setting('server_version') as "version!""#).fetch_one(executor).await
}

async fn find_now(executor: impl PgExecutor<'_>) -> sqlx::Result<OffsetDateTime> {
    sqlx::query_scalar!(r#"select app_now() as "now!""#).fetch_one(executor).await
}

struct Role {
    name: String,
    /// It exists and has its rights.
    works: bool,
    /// This user may `set role` to it.
    is_usable: bool,
}

async fn list_roles(executor: impl PgExecutor<'_>) -> sqlx::Result<Vec<Role>> {
    // `works`: one table is enough, because the grants are applied together. `is_usable`: since
    // PostgreSQL 16 a member may lack the right to `set role`; PostgreSQL 15 does not have that right.
    sqlx::query_as!(
        Role,
        r#"select 'greenroom_' || service as "name!",
                  coalesce(has_table_privilege(r.oid, 'sessions', 'select'), false) as "works!",
                  coalesce(pg_has_role(r.oid, case when current_setting('server_version_num')::integer >= 160000
                                                   then 'set' else 'member' end), false) as "is_usable!"
           from unnest(array['booking', 'room_lifecycle', 'token', 'sync']) service
           left join pg_roles r on r.rolname = 'greenroom_' || service
           order by 1"#
    )
    .fetch_all(executor)
    .await
}

async fn is_deployment(executor: impl PgExecutor<'_>, url: &str, key: &str) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        // Nothing recorded yet counts as ours.
        r#"select livekit_url is null
                  or (livekit_url, api_key_id, database_identity) is not distinct from ($1, $2, database_identity())
                  as "ours!"
           from deployment"#,
        url,
        key
    )
    .fetch_one(executor)
    .await
}
