//! `doctor`'s checks of the database.

use chassis::db::{self, Needs, Schema};
use sqlx::{PgExecutor, PgPool};
use time::OffsetDateTime;

use super::{Failure, Outcome, Report, Target, live, livekit, livekit::compare, rooms};

const MIGRATE: &str = "run `greenroom migrate`";
/// The SQL states of a table, a column and a function that do not exist.
const UNDEFINED: [&str; 3] = ["42P01", "42703", "42883"];

/// Checks the database, and the rooms in it. Returns whether it can be used.
pub async fn examine(pool: &PgPool, target: &Target, report: &mut Report) -> bool {
    if !report.check("database", connect(pool)).await {
        report.skip(&["migrations"], "database");
        skip_contents(report, "database");
        return false;
    }
    let schema = db::schema(pool).await;
    // The later checks use tables and functions of the current schema.
    if !report.check("migrations", async { migrations(&schema) }).await {
        skip_contents(report, "migrations");
        return false;
    }
    report.check("schema_newer", async { newer(&schema) }).await;
    report.check("roles", roles(pool)).await;
    report.check("database_clock", clock(pool)).await;
    let is_new = examine_deployment(pool, target, report).await;
    live::examine(pool, report).await;
    report.check(rooms::STRAYS, rooms::strays(pool)).await;
    examine_rooms(pool, target, is_new, report).await;
    true
}

fn skip_contents(report: &mut Report, because: &'static str) {
    report.skip(&["schema_newer", "roles", "database_clock", "deployment"], because);
    report.skip(&live::CHECKS, because);
    report.skip(&[rooms::STRAYS], because);
    report.skip(&rooms::CHECKS, because);
}

/// The check that explains why the database cannot be used.
pub fn cause(report: &Report) -> &'static str {
    report.first_failed(&["database", "migrations"]).unwrap_or("database")
}

async fn examine_rooms(pool: &PgPool, target: &Target, is_new: bool, report: &mut Report) {
    if !report.has_passed("livekit_key") {
        let cause = livekit::cause(report);
        return report.skip(&rooms::CHECKS, cause);
    }
    // All rooms would be missing there.
    if let Some(cause) = report.first_failed(&["deployment"]) {
        return report.skip(&rooms::CHECKS, cause);
    }
    if is_new {
        for check in rooms::CHECKS {
            let none = Outcome::Skipped("no service has used this database yet".to_owned());
            report.check(check, async { none }).await;
        }
        return;
    }
    Box::pin(rooms::examine(pool, target, report)).await;
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

fn migrations(schema: &sqlx::Result<Schema>) -> Result<&'static str, Failure> {
    match schema.as_ref().map_err(failed)? {
        Schema::Current | Schema::Ahead(_) => Ok("The schema has everything that this program needs"),
        Schema::Behind(missing) => Err(Failure::new(format!("the schema lacks {missing}"), MIGRATE)),
        Schema::Differs(version) => Err(Failure::new(
            format!("migration {version} was applied with other content"),
            "this is not a database of this version; see DATABASE_URL",
        )),
    }
}

fn newer(schema: &sqlx::Result<Schema>) -> Outcome {
    match schema {
        Ok(Schema::Ahead(version)) => Outcome::Warned(Failure::new(
            format!("the schema is newer than this program: it has migrations up to {version}"),
            "if an update is under way, finish it; otherwise update this program and the services to the version that \
             migrated the database. Until then they serve it: migrations only expand (docs/deploy.md, \"Update\")",
        )),
        _ => Outcome::Passed("The schema has no migration that this program does not know".to_owned()),
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

/// Checks that the database belongs to this LiveKit. Otherwise the services delete no rooms. Returns whether no service
/// has used the database yet.
async fn examine_deployment(pool: &PgPool, target: &Target, report: &mut Report) -> bool {
    let found = find_deployment(pool, &target.livekit.url, &target.livekit.api_key).await;
    report.check("deployment", async { deployment(&found) }).await;
    found.is_ok_and(|deployment| deployment.is_new)
}

fn deployment(found: &sqlx::Result<Deployment>) -> Result<&'static str, Failure> {
    match found.as_ref().map_err(failed)? {
        Deployment { is_new: true, .. } => Ok("The database belongs to no LiveKit server yet"),
        Deployment { is_ours: true, .. } => Ok("The database belongs to this LiveKit server and key"),
        Deployment { .. } => Err(Failure::new(
            "the database was set up with another LiveKit or key, or is a copy: no room is deleted",
            "if it is to belong to this LiveKit from now on, run `greenroom repair adopt`",
        )),
    }
}

pub fn failed(error: &sqlx::Error) -> Failure {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    let fix = if code.is_some_and(|code| UNDEFINED.contains(&code.as_ref())) {
        "the schema is not that of this program: run `greenroom doctor` of the version that migrated the database"
    } else {
        "see the log of Postgres"
    };
    Failure::new(format!("the database failed: {error}"), fix)
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

struct Deployment {
    /// Nothing is recorded yet.
    is_new: bool,
    is_ours: bool,
}

async fn find_deployment(executor: impl PgExecutor<'_>, url: &str, key: &str) -> sqlx::Result<Deployment> {
    sqlx::query_as!(
        Deployment,
        r#"select livekit_url is null as "is_new!",
                  (livekit_url, api_key_id, database_identity) is not distinct from ($1, $2, database_identity())
                  as "is_ours!"
           from deployment"#,
        url,
        key
    )
    .fetch_one(executor)
    .await
}
