//! Which role may write which table: compares the catalogue with the table of docs/architecture.md.

use std::collections::BTreeMap;

use sqlx::PgPool;

/// Tables that a role may insert into, update and delete from.
const WRITES: [(&str, &[&str]); 4] = [
    ("greenroom_booking", &["notification_deliveries", "notifications", "session_participants", "sessions"]),
    (
        "greenroom_room_lifecycle",
        &[
            "deployment",
            "ghost_watch",
            "livekit_events",
            "livekit_participants",
            "livekit_room_names",
            "livekit_rooms",
            "live_room_attendance",
            "live_room_bans",
            "live_room_sessions",
            "live_rooms",
            "nest_participants",
            "nests",
            "nostr_seen",
            "recordings",
            "room_marks",
            "rooms_to_close",
        ],
    ),
    ("greenroom_sync", &["community_live_streams", "live_stream_dirty"]),
    ("greenroom_token", &[]),
];
/// Further inserts: room-lifecycle notifies admins of rooms that failed.
const INSERTS: [(&str, &str); 1] = [("greenroom_room_lifecycle", "notifications")];

/// Gives roles the rights that roles created after the migrations would have. What the migrations granted them is
/// revoked first.
async fn reset_grants(pool: &PgPool) {
    sqlx::raw_sql(
        "do $$ declare role text; begin
             for role in select rolname from pg_roles where rolname like 'greenroom\\_%' loop
                 execute format('revoke all on all tables in schema greenroom from %I', role);
                 execute format('revoke all on all sequences in schema greenroom from %I', role);
                 execute format('revoke all on all functions in schema greenroom from %I', role);
             end loop;
         end $$;
         select grant_service_rights()",
    )
    .execute(pool)
    .await
    .unwrap();
}

#[testkit::test]
async fn each_service_may_write_its_own_tables_and_read_all(pool: PgPool) {
    reset_grants(&pool).await;
    let rows = sqlx::query!(
        r#"select r.rolname::text as "role!", c.relname::text as "table!",
                  has_table_privilege(r.oid, c.oid, 'select') as "reads!",
                  concat_ws(' ', case when has_table_privilege(r.oid, c.oid, 'insert') then 'insert' end,
                                 case when has_table_privilege(r.oid, c.oid, 'update') then 'update' end,
                                 case when has_table_privilege(r.oid, c.oid, 'delete') then 'delete' end,
                                 case when has_table_privilege(r.oid, c.oid, 'truncate') then 'truncate' end
                  ) as "writes!"
           from pg_class c, pg_roles r
           where c.relnamespace = 'greenroom'::regnamespace and c.relkind = 'r' and c.relname <> '_sqlx_migrations'
             and r.rolname like 'greenroom\_%' and r.rolname <> 'greenroom_legacy'"#
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let mut found = BTreeMap::new();
    for row in rows {
        assert!(row.reads, "{} cannot read {}", row.role, row.table);
        found.insert((row.role, row.table), row.writes);
    }
    let tables: Vec<String> =
        found.keys().filter(|(role, _)| role == "greenroom_sync").map(|(_, t)| t.clone()).collect();
    assert!(tables.len() >= 10, "roles are missing: {tables:?}");
    let mut expected = BTreeMap::new();
    for (role, writes) in WRITES {
        for table in &tables {
            let all = if writes.contains(&table.as_str()) { "insert update delete" } else { "" };
            let one = if INSERTS.contains(&(role, table.as_str())) { "insert" } else { all };
            expected.insert((role.to_owned(), table.clone()), one.to_owned());
        }
    }
    assert_eq!(found, expected);
}

/// `greenroom_legacy` reads the listing and writes only the columns that old clients write.
#[testkit::test]
async fn old_clients_write_only_their_columns_of_the_listing(pool: PgPool) {
    reset_grants(&pool).await;
    let may = sqlx::query!(
        r#"select c.relname::text as "table!", has_table_privilege(r.oid, c.oid, 'select') as "reads!",
                  has_table_privilege(r.oid, c.oid, 'insert, update, delete, truncate, trigger') as "more!",
                  array(select a.attname::text from pg_attribute a
                        where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                          and has_column_privilege(r.oid, c.oid, a.attnum, 'insert, update, references')
                        order by 1) as "writes!: Vec<String>"
           from pg_class c join pg_roles r on r.rolname = 'greenroom_legacy'
           where c.relnamespace = 'greenroom'::regnamespace and c.relkind in ('r', 'v')
             and (has_table_privilege(r.oid, c.oid, 'delete, truncate, trigger')
                  or has_any_column_privilege(r.oid, c.oid, 'select, insert, update, references'))"#
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let [listing] = &may[..] else { panic!("{may:?}") };
    assert_eq!(
        (listing.table.as_str(), listing.reads, listing.more),
        ("community_live_streams", true, false)
    );
    let theirs = ["co_hosts", "enable_chat", "enable_polls", "enable_replay", "metadata", "total_messages"];
    assert_eq!(listing.writes, theirs);
}

#[testkit::test]
async fn each_service_may_use_what_its_statements_call(pool: PgPool) {
    reset_grants(&pool).await;
    let may = sqlx::query_scalar!(
        r#"select concat_ws(' ', r.rolname,
                      case when has_sequence_privilege(r.oid, 'live_stream_version', 'usage') then 'counts' end,
                      case when has_function_privilege(
                               r.oid, 'upsert_user(text, text, text, text, boolean, text, text)', 'execute')
                           then 'remembers' end,
                      case when has_function_privilege(r.oid, 'set_preferences(text, text, text)', 'execute')
                           then 'prefers' end) as "may!"
           from pg_roles r where r.rolname like 'greenroom\_%' order by r.rolname"#
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    let expected = [
        "greenroom_booking remembers prefers",
        "greenroom_legacy",
        "greenroom_room_lifecycle remembers",
        "greenroom_sync counts",
        "greenroom_token remembers",
    ];
    assert_eq!(may, expected);
}

/// The rights of PUBLIC on our relations, columns, sequences and functions.
async fn rights_of_public(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar!(
        r#"select what || ' ' || privilege as "right!" from (
               select c.relname::text as what, acl.privilege_type as privilege
               from pg_class c cross join lateral aclexplode(c.relacl) acl
               where c.relnamespace = 'greenroom'::regnamespace and acl.grantee = 0
               union all
               select c.relname || '.' || a.attname, acl.privilege_type
               from pg_class c join pg_attribute a on a.attrelid = c.oid cross join lateral aclexplode(a.attacl) acl
               where c.relnamespace = 'greenroom'::regnamespace and acl.grantee = 0
               union all
               select p.oid::regprocedure::text, acl.privilege_type
               from pg_proc p cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
               where p.pronamespace = 'greenroom'::regnamespace and acl.grantee = 0
                 and not exists (select from pg_depend d where d.objid = p.oid and d.deptype = 'e')) as found
           order by 1"#
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

#[testkit::test]
async fn public_has_no_rights(pool: PgPool) {
    assert_eq!(rights_of_public(&pool).await, Vec::<String>::new());
    // Nor on what is created later, once `migrate` has run.
    sqlx::raw_sql(
        "create table later (id bigint generated always as identity);
         create view later_still as select * from later;
         create function latest() returns integer language sql return 1;
         create procedure last() language sql begin atomic select 1; end",
    )
    .execute(&pool)
    .await
    .unwrap();
    reset_grants(&pool).await;
    assert_eq!(rights_of_public(&pool).await, Vec::<String>::new());
}

#[testkit::test]
async fn migrate_revokes_rights_of_public(pool: PgPool) {
    sqlx::raw_sql(
        "grant select on all tables in schema greenroom to public; grant update (title) on sessions to public;
         grant usage on all sequences in schema greenroom to public;
         grant execute on all functions in schema greenroom to public",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(rights_of_public(&pool).await.len() > 20);
    reset_grants(&pool).await;
    assert_eq!(rights_of_public(&pool).await, Vec::<String>::new());
}

/// `service_grants` lists all rights: `migrate` revokes any other one.
#[testkit::test]
async fn right_that_is_not_listed_is_revoked(pool: PgPool) {
    let has_it = async || {
        let has = sqlx::query_scalar!(
            r#"select has_table_privilege('greenroom_token', 'settings', 'delete')
                   or has_column_privilege('greenroom_token', 'sessions', 'title', 'update')
                   or has_function_privilege('greenroom_token', 'repair_live_rooms()', 'execute') as "has!""#
        );
        has.fetch_one(&pool).await.unwrap()
    };
    sqlx::raw_sql(
        "grant delete on settings to greenroom_token; grant update (title) on sessions to greenroom_token;
         grant execute on function repair_live_rooms() to greenroom_token",
    )
    .execute(&pool)
    .await
    .unwrap();
    assert!(has_it().await);
    sqlx::raw_sql("select grant_service_rights()").execute(&pool).await.unwrap();
    assert!(!has_it().await);
}

/// Runs a statement with the rights of a role.
async fn act_as(pool: &PgPool, role: &str, statement: &str) -> sqlx::Result<()> {
    let mut transaction = chassis::db::begin(pool).await?;
    sqlx::query!("select set_config('role', $1, true) as role", role).fetch_one(&mut *transaction).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut *transaction).await?;
    transaction.rollback().await
}

/// PUBLIC has no rights, so the functions that views, defaults and triggers call are granted by name.
#[testkit::test]
async fn roles_may_call_what_their_statements_need(pool: PgPool) {
    reset_grants(&pool).await;
    let room = testkit::seed::live::live_room(&pool, "una").await;
    testkit::seed::live::live_session(&pool, &room, domain::LiveStatus::Live).await;
    testkit::seed::booking(&pool, testkit::seed::State::OpenNow).await;
    sync::drain(&pool).await.unwrap();
    for service in ["booking", "room_lifecycle", "token", "sync"] {
        let reads = "select count(*) from room_owners where open;
                     select count(*) from live_stream_projection; select count(*) from unaligned_live_streams;
                     select count(*) from stale_live_rooms;
                     select count(*) from sessions s, booking_window(s.scheduled_at, s.duration_minutes) w";
        act_as(&pool, &format!("greenroom_{service}"), reads).await.unwrap();
        for forbidden in [
            "select grant_service_rights()",
            "select repair_live_rooms()",
            "update settings set value = '1 h'",
        ] {
            assert!(act_as(&pool, &format!("greenroom_{service}"), forbidden).await.is_err(), "{forbidden}");
        }
    }
    let writes = "update community_live_streams
                  set enable_chat = false, enable_polls = true, enable_replay = true, total_messages = 7,
                      co_hosts = '{eve}', metadata = '{\"a\": 1}' where status = 'live'";
    act_as(&pool, "greenroom_legacy", writes).await.unwrap();
    act_as(&pool, "greenroom_legacy", "select * from community_live_streams").await.unwrap();
    assert!(act_as(&pool, "greenroom_legacy", "select app_now()").await.is_err());
}
