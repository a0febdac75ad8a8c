//! Reading the listing: pages for clients, changes for the feed.

use chassis::page::Cursor;
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::viewer::Viewer;

/// A row of the listing, and who of a group may read it.
#[derive(Clone, Debug)]
pub struct Row {
    pub id: Uuid,
    pub title: String,
    pub description: String,
    pub stream_type: String,
    pub tags: Vec<String>,
    pub access_level: String,
    pub cover_image_url: String,
    pub co_hosts: Vec<String>,
    pub scheduled_for: OffsetDateTime,
    pub status: String,
    pub enable_chat: bool,
    pub enable_polls: bool,
    pub enable_replay: bool,
    pub created_by: String,
    pub started_at: Option<OffsetDateTime>,
    pub ended_at: Option<OffsetDateTime>,
    pub viewer_count: i32,
    pub peak_viewers: i32,
    pub total_messages: i32,
    pub metadata: String,
    pub version: i64,
    /// `metadata.groups` of the live room; of public rows not looked up.
    pub groups: Option<Value>,
}

/// `select` rows `$rest`: the one list of a row's columns. Hands may type times that no program can read, and
/// legacy clients may write texts of any size: neither may keep the other rows from being read.
macro_rules! rows {
    ($rest:tt $(+ $more:tt)*, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            Row,
            r#"select c.id, c.title, c.description, c.stream_type, c.tags, c.access_level,
                      coalesce(c.cover_image_url, '') as "cover_image_url!",
                      array_remove(c.co_hosts[1:100], null) as "co_hosts!",
                      greatest(least(c.scheduled_for, '9000-01-01 00:00Z'), '1970-01-01 00:00Z') as "scheduled_for!",
                      c.status, c.enable_chat, c.enable_polls, c.enable_replay,
                      coalesce(c.created_by, '') as "created_by!",
                      case when c.started_at between '1970-01-01 00:00Z' and '9000-01-01 00:00Z' then c.started_at end as started_at,
                      case when c.ended_at between '1970-01-01 00:00Z' and '9000-01-01 00:00Z' then c.ended_at end as ended_at,
                      c.viewer_count, c.peak_viewers, c.total_messages,
                      case when octet_length(c.metadata::text) <= 16384 then c.metadata::text else '{}' end as "metadata!",
                      c.version,
                      case when c.access_level <> 'public' then
                          (select r.metadata -> 'groups' from live_rooms r where r.id = c.id) end as groups
               from community_live_streams c
               "# + $rest $(+ $more)*,
            $($argument),+
        )
    };
}

/// `rows!` of a page: the text that is looked for, after the cursor; `$status` narrows them. What is public, what the
/// viewer has himself and what his groups may read are each walked along an index of their own, which has nothing
/// else: who is in no group never meets the rows of groups.
macro_rules! page {
    ($status:tt, $viewer:expr, $filter:expr, $limit:expr $(, $argument:expr)?) => {
        page!(
            @ "and (c.scheduled_for, c.id) < (coalesce($1::timestamptz, '9000-01-01 00:00Z'), coalesce($2::uuid, $3))
               and ($7::text is null or c.title ilike $7 or c.description ilike $7
                    or array_to_string(c.tags, ' ') ilike $7) ",
            $status,
            " order by c.scheduled_for desc, c.id desc limit $8",
            $viewer, $filter, $limit $(, $argument)?
        )
    };
    (@ $narrowed:tt, $status:tt, $limited:tt, $viewer:expr, $filter:expr, $limit:expr $(, $argument:expr)?) => {
        rows!(
            "where c.id = any(array(
                 select c.id from (
                     (select c.id, c.scheduled_for from community_live_streams c
                      where c.managed and c.access_level = 'public' "
            + $narrowed + $status + $limited
            + ")     union all
                     (select c.id, c.scheduled_for from community_live_streams c
                      where c.managed and c.access_level <> 'public' and c.created_by = $4 "
            + $narrowed + $status + $limited
            + ")     union all
                     (select c.id, c.scheduled_for from community_live_streams c
                      where ($5 or cardinality($6::text[]) > 0)
                        and c.managed and c.access_level <> 'public' and c.created_by is distinct from $4
                        and may_read_live_room(c.access_level, c.created_by,
                                               (select r.metadata from live_rooms r where r.id = c.id), $4, $5, $6) "
            + $narrowed + $status + $limited
            + ")) c " + $limited
            + ")) order by c.scheduled_for desc, c.id desc",
            $filter.after.map(|cursor| cursor.at),
            $filter.after.map(|cursor| cursor.id),
            Uuid::max(),
            $viewer.user,
            $viewer.is_admin,
            &$viewer.groups,
            $filter.pattern,
            $limit
            $(, $argument)?
        )
    };
}

/// Which rows a page has.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<&'static str>,
    /// For `ilike`.
    pub pattern: Option<String>,
    pub after: Option<Cursor>,
}

/// What the viewer may see, latest start first. Two statements, each along its own indexes: the plan is made without
/// looking at the arguments.
pub async fn list_streams(
    executor: impl PgExecutor<'_>,
    viewer: &Viewer,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    match filter.status {
        Some(status) => page!("and c.status = $9", viewer, filter, limit, status).fetch_all(executor).await,
        None => page!("", viewer, filter, limit).fetch_all(executor).await,
    }
}

/// Rows whose version is greater than `after`, in the order of their versions. Whoever draws versions does so alone
/// until he has committed: what is visible has no gap that is filled later.
pub async fn list_changes(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<Row>, sqlx::Error> {
    rows!(
        "where c.managed and c.version > $1 and c.version <= (select last_value from live_stream_version)
         order by c.version limit $2",
        after,
        limit
    )
    .fetch_all(executor)
    .await
}

/// The greatest version that can be seen now.
pub async fn find_position(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce((select version from community_live_streams
                            where managed and version <= (select last_value from live_stream_version)
                            order by version desc limit 1), 0) as "position!""#
    )
    .fetch_one(executor)
    .await
}

/// How many rows have changed after a version, counted up to one more than `most`.
pub async fn count_changes(executor: impl PgExecutor<'_>, after: i64, most: i64) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select count(*) as "count!" from (
               select from community_live_streams
               where managed and version > $1 and version <= (select last_value from live_stream_version)
               order by version limit $2::bigint + 1) missed"#,
        after,
        most
    )
    .fetch_one(executor)
    .await
}
