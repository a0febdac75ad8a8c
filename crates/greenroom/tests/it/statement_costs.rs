//! The planner's cost estimate of a statement does not grow with the number of stored rows. The tests check every query
//! of `.sqlx` with 100,000 bookings, live sessions and nests, under the generic plan that services use.
//!
//! A wrong estimate has effects: the planner stops using the indexes, and above a cost of 100,000 Postgres would
//! compile the plan at each execution.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use chassis::db::connect_options;
use secrecy::SecretString;
use serde_json::Value;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row, postgres::PgConnectOptions};

const WORKSPACE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
/// A fifth of the cost above which Postgres would compile a plan.
const COST_LIMIT: f64 = 20_000.0;
/// An exception is not needed if its statement costs less than this. It is lower than [`COST_LIMIT`] because estimates
/// vary with the rows that ANALYZE samples.
const EXCEPTION_MINIMUM: f64 = COST_LIMIT / 10.0;
const STORED: u32 = 100_000;

/// Statements that may cost more: how each begins (with all white space as one blank), and why.
const EXCEPTIONS: [(&str, &str); 11] = [
    (
        "with absent as materialized ( select r.room_name from livekit_rooms",
        "a pass: compares all open rooms with LiveKit's list",
    ),
    (
        "with observed as ( select * from unnest($1::text[], $2::text[], $3::int[])",
        "a pass: reads all open rooms",
    ),
    (
        "update livekit_participants p set status = 'left', absent_since = null",
        "a pass: reads all joined participants",
    ),
    ("with owners as ( select s.id, coalesce(s.started_at", "a pass: reads all live sessions and open nests"),
    (
        "with lacking as materialized ( select s.id as session_id",
        "a pass: compares all open owners with their rooms",
    ),
    (
        "insert into notifications (user_id, kind, session_id, payload, dedupe_key) select person, 'reminder'",
        "a pass: the bookings whose reminder is due",
    ),
    ("with attended as ( select s.id from sessions", "a pass: reads the bookings whose window is open"),
    ("with due as ( select a.session_id, a.user_id, a.held_until", "a pass: reads the seats that are held"),
    (
        "select id as \"id!\" from stale_live_rooms limit $1",
        "a pass: compares all live rooms that are not idle",
    ),
    (
        "select r.id, r.host_user_id, r.status as \"status\", r.current_session_id as \"current_session_id\",",
        "admin: lists stuck live rooms",
    ),
    (
        "with compared as ( select open_room as id from live_room_sessions",
        "doctor: compares all open rows of the listing",
    ),
];

/// Tables that keep rows after they have ended.
const HISTORY: [&str; 10] = [
    "sessions",
    "session_participants",
    "live_room_sessions",
    "live_room_attendance",
    "livekit_rooms",
    "livekit_participants",
    "nests",
    "recordings",
    "notifications",
    "notification_deliveries",
];

/// Statements that read all open rows: how each begins, and why.
const READ_ALL: [(&str, &str); 25] = [
    ("with due as ( select a.session_id, a.user_id, a.held_until", "a pass: the seats that are held"),
    ("select id as \"id!\" from stale_live_rooms limit $1", "a pass: live rooms that settling would change"),
    (
        "select r.id, r.host_user_id, r.status as \"status\", r.current_session_id as \"current_session_id\",",
        "admin: stuck live rooms",
    ),
    (
        "select count(*) as \"count!\" from live_rooms r left join live_room_sessions s",
        "a metric: stuck live rooms",
    ),
    ("with compared as ( select open_room as id", "doctor: all open rows of the listing"),
    (
        "select s.id as \"id\" from live_room_sessions s where s.id = any(array",
        "a pass: opens lobbies and starts sessions",
    ),
    ("update recordings set file_look_at", "a pass: recordings whose file is checked"),
    ("with claimed as ( update recordings set removal_at", "a pass: files that are to be removed"),
    ("update livekit_rooms r set confirmed_at = $3 from unnest", "a pass: rooms that were observed"),
    ("update livekit_participants p set status = 'left'", "a pass: participants of ended rooms"),
    ("with owners as ( select s.id, coalesce(s.started_at", "a pass: live sessions and nests that are empty"),
    ("with lacking as materialized ( select s.id as session_id", "a pass: open owners without a room"),
    (
        "with absent as materialized ( select r.room_name from livekit_rooms",
        "a pass: rooms that LiveKit lacks",
    ),
    (
        "with observed as ( select * from unnest($1::text[], $2::text[], $3::int[])",
        "a pass: the rooms that are due",
    ),
    (
        "select count(*) as \"count!\" from livekit_rooms where open_owner",
        "a pass: rooms that were observed recently",
    ),
    ("select r.room_name, o.kind as \"owner_kind!\"", "admin: rooms that are not created on LiveKit"),
    ("select r.id as \"id\" from livekit_rooms r cross join lateral room_owner", "repair: the same"),
    (
        "select n.id as \"id\" from nests n join livekit_rooms r on r.nest_id = n.id",
        "a pass: streams that are to begin",
    ),
    ("with oldest as ( select id from notifications", "a pass: the oldest notifications, up to a limit"),
    (
        "select e.id as \"id!\" from unnest($1::text[], $2::text[], $3::uuid[])",
        "a pass: strays of recordings",
    ),
    ("select d.id as \"id!\", d.notification_id", "admin: deliveries that are not concluded"),
    ("select channel as \"channel!\", pending as", "a metric: deliveries that are not concluded"),
    ("select c.id, c.room_id, c.generation, c.egress_id", "a pass: all open recordings"),
    (
        "select p.room_id as room, r.room_name, p.user_id as identity",
        "a pass: the participants to probe next",
    ),
    ("with quiet as materialized ( select p.room_id, p.joined_checked_at", "a pass: the same after an alarm"),
];

/// A query of the `.sqlx` cache.
struct Query {
    text: String,
    types: Vec<String>,
}

impl Query {
    fn read(path: &Path) -> Self {
        let described: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let types = described["describe"]["parameters"]["Left"].as_array().unwrap();
        let types = types.iter().map(|name| sql_type(name.as_str().unwrap())).collect();
        Self { text: described["query"].as_str().unwrap().to_owned(), types }
    }

    /// The generic plan. Unlike `explain (generic_plan)`, this also works on Postgres 15.
    async fn plan(&self, connection: &mut PgConnection) -> Value {
        let list = |items: String| if items.is_empty() { items } else { format!("({items})") };
        let (types, nulls) = (list(self.types.join(", ")), list(vec!["null"; self.types.len()].join(", ")));
        let prepare = format!("prepare estimated{types} as {}", self.text);
        sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut *connection).await.unwrap();
        let explain = format!("explain (format json) execute estimated{nulls}");
        let plan = sqlx::raw_sql(AssertSqlSafe(explain)).fetch_one(&mut *connection).await.unwrap();
        sqlx::raw_sql("deallocate estimated").execute(&mut *connection).await.unwrap();
        plan.get::<Value, _>(0)[0]["Plan"].take()
    }
}

/// The SQL type of a name in the cache: `TextArray` is `text[]`.
fn sql_type(name: &str) -> String {
    let name = name.to_lowercase();
    name.strip_suffix("array").map(|of| format!("{of}[]")).unwrap_or(name)
}

/// All source files below the directories, as one text in which all white space is one blank.
fn source(directories: &[PathBuf]) -> String {
    let mut texts = String::new();
    let mut left = directories.to_vec();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            left.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            texts.push_str(&fs::read_to_string(path).unwrap());
        } else if path.extension().is_some_and(|extension| extension == "sql") {
            // as in a source file
            texts.extend(["\"", fs::read_to_string(path).unwrap().trim(), "\""]);
        }
    }
    plain(&texts.replace("\\\"", "\"").replace("\\\n", ""))
}

/// The text with all white space replaced by one blank.
fn plain(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The statement as the lists above write it, without its comments and the Rust types of its columns: `"id!"` for
/// `"id!: RoomId"`.
fn untyped(query: &Query) -> String {
    let code = |line: &str| line.split("--").next().unwrap_or_default().to_owned();
    let text = plain(&query.text.lines().map(code).collect::<Vec<_>>().join("\n"));
    let name = |(at, part)| if at % 2 == 1 { str::split(part, ": ").next().unwrap_or(part) } else { part };
    text.split('"').enumerate().map(name).collect::<Vec<_>>().join("\"")
}

/// The queries of deployed code, without those that are only in tests or in the test kit.
fn queries() -> Vec<Query> {
    let crates = fs::read_dir(Path::new(WORKSPACE).join("crates")).unwrap();
    let (mut deployed, mut others) = (Vec::new(), Vec::new());
    for path in crates.map(|entry| entry.unwrap().path()) {
        let is_deployed = !path.ends_with("testkit");
        others.push(path.join("tests"));
        if is_deployed { &mut deployed } else { &mut others }.push(path.join("src"));
    }
    others.retain(|path| path.is_dir());
    let (deployed, others) = (source(&deployed), source(&others));
    let described = fs::read_dir(Path::new(WORKSPACE).join(".sqlx")).unwrap();
    let queries = described.map(|entry| Query::read(&entry.unwrap().path()));
    let queries: Vec<Query> = queries
        .filter(|query| {
            if query.text.trim_start().starts_with("do ") {
                return false; // a block is not planned as a whole
            }
            let text = format!("\"{}\"", plain(&query.text));
            deployed.contains(&text) || !others.contains(&text) // in neither: a macro assembles the text
        })
        .collect();
    assert!(queries.len() > 150, "only {} queries were found", queries.len());
    queries
}

/// Stores this many open bookings, live sessions and nests, with their rows in other tables.
async fn fill(connect: &PgConnectOptions, stored: u32) -> PgConnection {
    let mut owner = PgConnection::connect_with(connect).await.unwrap();
    let fill = include_str!("statement_costs/fill.sql").replace("$stored", &stored.to_string());
    sqlx::raw_sql(AssertSqlSafe(fill)).execute(&mut owner).await.unwrap();
    owner
}

/// A connection with the settings of a service's connection.
async fn service(connect: &PgConnectOptions) -> PgConnection {
    let url = SecretString::from(connect.to_url_lossy().to_string());
    PgConnection::connect_with(&connect_options(&url).unwrap()).await.unwrap()
}

#[testkit::test]
async fn statement_costs_stay_small_beside_100_000_of_each(connect: PgConnectOptions) {
    fill(&connect, STORED).await;
    let mut service = service(&connect).await;
    let (mut too_much, mut needed) = (Vec::new(), BTreeSet::new());
    for query in &queries() {
        let plan = query.plan(&mut service).await;
        let (cost, text) = (plan["Total Cost"].as_f64().unwrap(), untyped(query));
        match EXCEPTIONS.iter().position(|(beginning, _)| text.starts_with(beginning)) {
            Some(exception) if cost >= EXCEPTION_MINIMUM => drop(needed.insert(exception)),
            None if cost > COST_LIMIT => too_much.push(format!("{cost:.0}: {text}")),
            _ => {}
        }
    }
    assert!(too_much.is_empty(), "cost more than {COST_LIMIT}:\n{}", too_much.join("\n"));
    for (number, (beginning, _)) in EXCEPTIONS.iter().enumerate() {
        assert!(needed.contains(&number), "this exception is not needed any more: {beginning}");
    }
}

/// The partial indexes of open rows, by name, each with its first column.
type Partial = BTreeMap<String, String>;

/// Collects what a plan reads completely: partial indexes, and tables of [`HISTORY`].
fn read_whole(plan: &Value, partial: &Partial, found: &mut BTreeSet<String>) {
    let text = |field: &str| plan[field].as_str().unwrap_or_default();
    if let Some(first) = partial.get(text("Index Name")) {
        let mut conditions = text("Index Cond").split(" AND ");
        if !conditions.any(|condition| condition.contains(first) && !condition.contains("IS NOT NULL")) {
            found.insert(text("Index Name").to_owned());
        }
    }
    if text("Node Type") == "Seq Scan" && HISTORY.contains(&text("Relation Name")) {
        found.insert(text("Relation Name").to_owned());
    }
    for child in plan["Plans"].as_array().into_iter().flatten() {
        read_whole(child, partial, found);
    }
}

#[testkit::test]
async fn only_passes_read_all_that_is_open(connect: PgConnectOptions) {
    let mut owner = fill(&connect, 2_000).await;
    sqlx::raw_sql(include_str!("statement_costs/all_over.sql")).execute(&mut owner).await.unwrap();
    let vacuum = format!("vacuum (full, analyze) {}", HISTORY.join(", "));
    sqlx::raw_sql(AssertSqlSafe(vacuum)).execute(&mut owner).await.unwrap();
    let partial = sqlx::query!(
        r#"select relname::text as "name!", pg_get_indexdef(indexrelid, 1, true) as "first!"
           from pg_index join pg_class c on c.oid = indexrelid
           where indpred is not null and relnamespace = 'greenroom'::regnamespace"#
    );
    let partial = partial.fetch_all(&mut owner).await.unwrap();
    let partial: Partial = partial.into_iter().map(|index| (index.name, index.first)).collect();
    assert!(partial.len() > 20, "only {partial:?} were found");
    let mut service = service(&connect).await;
    let (mut wrong, mut needed) = (Vec::new(), BTreeSet::new());
    for query in &queries() {
        let mut found = BTreeSet::new();
        read_whole(&query.plan(&mut service).await, &partial, &mut found);
        if found.is_empty() {
            continue;
        }
        let text = untyped(query);
        match READ_ALL.iter().position(|(beginning, _)| text.starts_with(beginning)) {
            Some(exception) => drop(needed.insert(exception)),
            None => wrong.push(format!("{found:?}: {text}")),
        }
    }
    assert!(wrong.is_empty(), "read all open rows:\n{}", wrong.join("\n"));
    for (number, (beginning, _)) in READ_ALL.iter().enumerate() {
        assert!(needed.contains(&number), "this exception is not needed any more: {beginning}");
    }
}
