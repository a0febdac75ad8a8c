//! Reading the listing: pages for clients, changes for the feed.

use chassis::db::Statement;
use domain::{AccessLevel, Reader, StreamStatus, page::Cursor};
use serde_json::Value;
use sqlx::PgExecutor;
use time::OffsetDateTime;
use uuid::Uuid;

/// A row of the listing, and the groups that may read it.
#[derive(Clone, Debug)]
pub struct StreamRow {
    pub id: Uuid,
    pub title: String,
    pub description: String,
    pub stream_type: String,
    pub tags: Vec<String>,
    pub access_level: String,
    pub cover_image_url: String,
    pub co_hosts: Vec<String>,
    pub scheduled_for: OffsetDateTime,
    pub status: StreamStatus,
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
    /// `metadata.groups` of the live room; not read for public rows.
    pub groups: Option<Value>,
}

impl StreamRow {
    /// Returns the access level. Legacy clients may write other texts until sync corrects them; these count as `group`.
    #[must_use]
    pub fn access_level(&self) -> AccessLevel {
        // An unknown text must not make a row public.
        self.access_level.parse().unwrap_or(AccessLevel::Group)
    }
}

/// `select` with the columns of a row, followed by `$rest`. An operator may write times that no program can read, and
/// legacy clients may write texts of any size. The expressions limit both, so that the other rows can be read.
macro_rules! rows {
    ($rest:tt $(+ $more:tt)*, $($argument:expr),+ $(,)?) => {
        sqlx::query_as!(
            StreamRow,
            r#"select c.id, c.title, c.description, c.stream_type, c.tags, c.access_level,
                      coalesce(c.cover_image_url, '') as "cover_image_url!",
                      array_remove(c.co_hosts[1:100], null) as "co_hosts!",
                      greatest(least(c.scheduled_for, '9000-01-01 00:00Z'), '1970-01-01 00:00Z') as "scheduled_for!",
                      c.status as "status: domain::StreamStatus", c.enable_chat, c.enable_polls, c.enable_replay,
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

/// `rows!` of a page: the rows after the cursor, latest start first. There are three sources: public rows, the reader's
/// own rows, and rows that their groups may read. Each source has a partial index of its own. So pages of readers
/// without groups do not read the rows of groups. `$matching` filters the sources; `$found` may add a `with`, and
/// `$few` a fourth source.
macro_rules! page {
    ($found:tt, $matching:tt, $few:tt, $reader:expr, $filter:expr, $limit:expr $(, $argument:expr)*) => {
        page!(
            @ $found, $matching, $few,
            " and (c.scheduled_for, c.id) < (coalesce($1::timestamptz, '9000-01-01 00:00Z'), coalesce($2::uuid, $3))
              order by c.scheduled_for desc, c.id desc limit $7",
            $reader, $filter, $limit $(, $argument)*
        )
    };
    (@ [$($found:tt)+], [$($matching:tt)+], [$($few:tt)+], $after:tt,
     $reader:expr, $filter:expr, $limit:expr $(, $argument:expr)*) => {
        rows!(
            "where c.id = any(array( "
            + $($found)+
            + " select c.id from (
                     (select c.id, c.scheduled_for from community_live_streams c
                      where c.managed and c.access_level = 'public' "
            + $($matching)+ + $after
            + ")     union all
                     (select c.id, c.scheduled_for from community_live_streams c
                      where c.managed and c.access_level <> 'public' and c.created_by = $4 "
            + $($matching)+ + $after
            + ")     union all
                     (select c.id, c.scheduled_for from community_live_streams c
                      where ($5 or cardinality($6::text[]) > 0)
                        and c.managed and c.access_level <> 'public' and c.created_by is distinct from $4
                        and may_read_live_room(c.access_level, c.created_by,
                                               (select r.metadata from live_rooms r where r.id = c.id), $4, $5, $6) "
            + $($matching)+ + $after
            + ") " + $($few)+
            + ") c where true " + $after
            + ")) order by c.scheduled_for desc, c.id desc",
            // Without a cursor the bounds in `$after` are the latest time and the greatest id, so the
            // statement has one form.
            $filter.after.map(|cursor| cursor.at),
            $filter.after.map(|cursor| cursor.id),
            // Ids of the same time are read in descending order, so the greatest id means "from the
            // beginning".
            Uuid::max(),
            $reader.user_id,
            $reader.is_privileged,
            $reader.groups,
            $limit
            $(, $argument)*
        )
    };
}

/// `page!` of the rows for which `$matches` is true, a condition with an index. If at most 1,000 rows match
/// (`few.are`), they are read by that index and sorted. If more match, the rows are read in their order, because the
/// page fills soon.
macro_rules! search {
    ($matches:tt, $status:tt, $reader:expr, $filter:expr, $limit:expr $(, $argument:expr)+) => {
        page!(
            ["with found as materialized (
                  select c.id, c.scheduled_for, c.access_level, c.created_by from community_live_streams c
                  where c.managed and " + $matches + $status + " limit 1001),
              few as materialized (select count(*) <= 1000 as are from found) "],
            ["and not (select few.are from few) and " + $matches + $status],
            ["union all
              (select c.id, c.scheduled_for from found c
               where (select few.are from few)
                 and may_read_live_room(c.access_level, c.created_by,
                                        case when c.access_level <> 'public' then
                                            (select r.metadata from live_rooms r where r.id = c.id) end,
                                        $4, $5, $6))"],
            $reader, $filter, $limit $(, $argument)+
        )
    };
}

/// The filter of a page.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub status: Option<StreamStatus>,
    pub search: Option<Search>,
    pub after: Option<Cursor>,
}

/// A search of rows, without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Search {
    /// A pattern for `like`; title, description or tags match it.
    Text(String),
    /// The beginning of the title.
    Title(String),
}

impl Search {
    /// The index of the whole text needs trigrams, which a shorter text does not have.
    const SHORTEST_TEXT: usize = 3;

    /// Returns the search for a query; none for a query without a visible character.
    #[must_use]
    pub fn of(query: &str) -> Option<Self> {
        let query = query.trim();
        // Counted in characters, because trigrams are made of characters.
        match query.chars().count() {
            0 => None,
            count if count < Self::SHORTEST_TEXT => Some(Self::Title(query.to_owned())),
            _ => Some(Self::Text(containing(query))),
        }
    }
}

/// Returns a pattern for `like` that matches texts containing `text`. Its `%`, `_` and `\` are literal.
fn containing(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len() + 2);
    pattern.push('%');
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Lists the rows that the reader may read, latest start first. Each kind of filter has its own statement with its own
/// indexes, because the plan does not depend on the arguments.
pub async fn list_streams(
    executor: impl PgExecutor<'_>,
    reader: Reader<'_>,
    filter: &Filter,
    limit: i64,
) -> Result<Vec<StreamRow>, sqlx::Error> {
    match (&filter.search, filter.status.map(StreamStatus::as_str)) {
        // One statement for each combination: a generic plan cannot skip a filter that is null.
        (None, None) => {
            page!([""], [""], [""], reader, filter, limit)
                .fetch_all(executor)
                .statement("SELECT list_streams")
                .await
        }
        (None, Some(status)) => {
            page!([""], ["and c.status = $8"], [""], reader, filter, limit, status)
                .fetch_all(executor)
                .statement("SELECT list_streams")
                .await
        }
        (Some(search), _) => search_streams(executor, reader, filter, limit, search).await,
    }
}

async fn search_streams(
    executor: impl PgExecutor<'_>,
    reader: Reader<'_>,
    filter: &Filter,
    limit: i64,
    search: &Search,
) -> Result<Vec<StreamRow>, sqlx::Error> {
    match (search, filter.status.map(StreamStatus::as_str)) {
        (Search::Text(pattern), None) => {
            search!("c.search_text like lower($8::text) ", "", reader, filter, limit, pattern)
                .fetch_all(executor)
                .statement("SELECT search_streams")
                .await
        }
        (Search::Text(pattern), Some(status)) => {
            search!(
                "c.search_text like lower($8::text) ",
                "and c.status = $9",
                reader,
                filter,
                limit,
                pattern,
                status
            )
            .fetch_all(executor)
            .statement("SELECT search_streams")
            .await
        }
        // chr(1114111) is the last character: it makes the upper bound of all titles with this beginning.
        (Search::Title(beginning), None) => {
            search!(
                "left(lower(c.title), 8) ~>=~ lower($8::text)
                 and left(lower(c.title), 8) ~<~ (lower($8::text) || chr(1114111)) ",
                "",
                reader,
                filter,
                limit,
                beginning
            )
            .fetch_all(executor)
            .statement("SELECT search_streams")
            .await
        }
        (Search::Title(beginning), Some(status)) => {
            search!(
                "left(lower(c.title), 8) ~>=~ lower($8::text)
                 and left(lower(c.title), 8) ~<~ (lower($8::text) || chr(1114111)) ",
                "and c.status = $9",
                reader,
                filter,
                limit,
                beginning,
                status
            )
            .fetch_all(executor)
            .statement("SELECT search_streams")
            .await
        }
    }
}

/// Lists the rows whose version is greater than `after`, in the order of their versions. One transaction at a time
/// draws versions, until it has committed. So the visible versions have no gap that is filled later.
pub async fn list_changes(
    executor: impl PgExecutor<'_>,
    after: i64,
    limit: i64,
) -> Result<Vec<StreamRow>, sqlx::Error> {
    rows!(
        "where c.managed and c.version > $1 and c.version <= (select last_value from live_stream_version)
         order by c.version limit $2",
        after,
        limit
    )
    .fetch_all(executor)
    .statement("SELECT list_changes")
    .await
}

/// Returns the greatest version that is visible now.
pub async fn find_position(executor: impl PgExecutor<'_>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select coalesce((select version from community_live_streams
                            where managed and version <= (select last_value from live_stream_version)
                            order by version desc limit 1), 0) as "position!""#
    )
    .fetch_one(executor)
    .statement("SELECT find_position")
    .await
}

/// Counts the rows that changed after a version, up to one more than `most`.
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
    .statement("SELECT count_changes")
    .await
}
