//! Writes what LiveKit says of recordings. Only open recordings are written, so that of two concurrent writers the
//! second one changes nothing.

use chassis::db::Statement;
use domain::{RecordingId, RecordingKind, RecordingStatus, RoomId};
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

use super::Recording;
use crate::recordings::policy::EMPTY_STREAM_TIMEOUT;

/// An open recording, its room as it was then, and the database's now.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    pub recording: Recording,
    /// The LiveKit name of the recorded generation.
    pub room_name: String,
    /// That generation is still active and its owner is open. For a stream, a participant is in it, or was a moment
    /// ago.
    pub wanted: bool,
    pub now: OffsetDateTime,
}

/// How a recording ended.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub status: RecordingStatus,
    pub error: Option<String>,
    pub egress_id: Option<String>,
    pub size: Option<i64>,
    pub seconds: Option<f64>,
    pub started_at: Option<OffsetDateTime>,
    /// LiveKit began nothing: a retry may use the same idempotency key.
    pub never_begun: bool,
    /// The request that started the recording still waits, and is refused with this end. So there is no notification,
    /// unless another request was answered `starting`.
    pub caller_waits: bool,
}

/// Lists the recordings that LiveKit has not completed.
pub async fn list_open(db: impl PgExecutor<'_>) -> Result<Vec<Open>> {
    let rows = sqlx::query!(
        r#"select c.id, c.room_id, c.generation, c.egress_id, c.started_by, c.kind as "kind: RecordingKind",
                  c.status as "status: RecordingStatus", c.file, c.created_at, c.stop_asked_at, c.started_at,
                  coalesce(n.room_name, r.room_name) as "room_name!",
                  (r.status = 'active' and r.generation = c.generation and coalesce(o.open, false)
                   and (c.kind = 'file'
                        or exists (select from livekit_participants p
                                   where p.room_id = r.id
                                     and (p.status = 'joined'
                                          or p.left_at > app_now() - make_interval(secs => $1))))) as "wanted!",
                  app_now() as "now!"
           from recordings c
           join livekit_rooms r on r.id = c.room_id
           left join lateral room_owner(r.session_id, r.live_session_id, r.nest_id) o on true
           left join livekit_room_names n on n.room_id = c.room_id and n.generation = c.generation
           where c.open_room is not null and c.finished_at is null
           order by c.created_at"#,
        EMPTY_STREAM_TIMEOUT.as_seconds_f64()
    )
    .fetch_all(db)
    .statement("SELECT list_open")
    .await?;
    let open = rows.into_iter().map(|row| Open {
        recording: Recording {
            id: RecordingId(row.id),
            room_id: RoomId(row.room_id),
            generation: row.generation,
            egress_id: row.egress_id,
            started_by: row.started_by,
            kind: row.kind,
            status: row.status,
            file: row.file,
            size: None,
            seconds: None,
            error: None,
            created_at: row.created_at,
            stop_asked_at: row.stop_asked_at,
            started_at: row.started_at,
            ended_at: None,
        },
        room_name: row.room_name,
        wanted: row.wanted,
        now: row.now,
    });
    Ok(open.collect())
}

/// Writes the egress id and status of an open recording. The status only moves forward. `None`: the recording is over,
/// or has another egress id.
pub async fn set_observed(
    db: impl PgExecutor<'_>,
    id: RecordingId,
    egress_id: &str,
    status: RecordingStatus,
    started_at: Option<OffsetDateTime>,
) -> Result<Option<Recording>> {
    let order: [String; 3] = ["starting", "active", "ending"].map(str::to_owned);
    recordings!(
        "with observed as (
             update recordings
             set egress_id = $2, started_at = coalesce(started_at, $4),
                 status = case when array_position($5::text[], $3) > array_position($5, status) then $3
                               else status end
             where id = $1 and status = any($5) and coalesce(egress_id, $2) = $2
             returning *)",
        "observed",
        "",
        id.0,
        egress_id,
        status.as_str(),
        started_at,
        &order as &[String],
    )
    .fetch_optional(db)
    .statement("UPDATE set_observed")
    .await
}

/// Records that LiveKit has completed a recording: its file is looked for from now on. `None`: this was recorded
/// before, or the recording is over.
pub async fn set_finished(db: impl PgExecutor<'_>, id: RecordingId, end: &End) -> Result<Option<Recording>> {
    recordings!(
        "with finished as (
             update recordings
             set status = 'ending', finished_at = app_now(), error = left($2, 500), egress_id = coalesce(egress_id, $3),
                 size = $4, duration = make_interval(secs => $5), started_at = coalesce(started_at, $6)
             where id = $1 and status in ('starting', 'active', 'ending') and finished_at is null
             returning *)",
        "finished",
        "",
        id.0,
        end.error.as_deref(),
        end.egress_id.as_deref(),
        end.size,
        end.seconds,
        end.started_at,
    )
    .fetch_optional(db)
    .statement("UPDATE set_finished")
    .await
}

/// A recording whose file is looked for, and the database's now.
#[derive(Clone, Debug)]
pub struct Awaiting {
    pub recording: Recording,
    pub finished_at: OffsetDateTime,
    pub now: OffsetDateTime,
}

/// Claims recordings whose file is looked for, longest waiting first. A claim excludes other replicas for 5 s, or for a
/// minute if the recording was completed longer than `soon` ago. A claim beyond that was written before the clock was
/// set back.
pub async fn claim_awaiting(db: impl PgExecutor<'_>, soon: Duration, limit: i64) -> Result<Vec<Awaiting>> {
    let rows = sqlx::query!(
        r#"update recordings
           set file_look_at = app_now() + case when finished_at > app_now() - make_interval(secs => $1)
                                               then interval '5 s' else interval '1 min' end
           where id in (select id from recordings
                        where status = 'ending' and finished_at is not null
                          and (file_look_at is null or file_look_at <= app_now()
                               or file_look_at > app_now() + interval '1 min')
                        order by finished_at limit $2 for update skip locked)
           returning id, room_id, generation, egress_id, started_by, kind as "kind: RecordingKind",
                     status as "status: RecordingStatus", file, size, extract(epoch from duration)::float8 as seconds,
                     error, created_at, stop_asked_at, started_at, finished_at as "finished_at!", app_now() as "now!""#,
        soon.as_seconds_f64(),
        limit
    )
    .fetch_all(db)
    .statement("UPDATE claim_awaiting")
    .await?;
    let awaiting = rows.into_iter().map(|row| Awaiting {
        recording: Recording {
            id: RecordingId(row.id),
            room_id: RoomId(row.room_id),
            generation: row.generation,
            egress_id: row.egress_id,
            started_by: row.started_by,
            kind: row.kind,
            status: row.status,
            file: row.file,
            size: row.size,
            seconds: row.seconds,
            error: row.error,
            created_at: row.created_at,
            stop_asked_at: row.stop_asked_at,
            started_at: row.started_at,
            ended_at: None,
        },
        finished_at: row.finished_at,
        now: row.now,
    });
    Ok(awaiting.collect())
}

/// Closes an open recording. Notifies its participants of a file, or its host of a failure. `false`: it was closed
/// before.
///
/// A recording that was stopped before it began is no failure. LiveKit reports it as aborted, like one that it could
/// not begin.
pub async fn set_closed(db: impl PgExecutor<'_>, id: RecordingId, end: &End) -> Result<bool> {
    let closed = sqlx::query_file_scalar!(
        "src/recordings/store/set_closed.sql",
        id.0,
        end.status.as_str(),
        end.error.as_deref(),
        end.egress_id.as_deref(),
        end.size,
        end.seconds,
        end.started_at,
        end.never_begun,
        end.caller_waits,
    )
    .fetch_optional(db)
    .statement("UPDATE set_closed")
    .await?;
    Ok(closed.is_some())
}

/// Lists the egress ids that run in rooms of ours and belong to no open recording. The arguments are the egress ids,
/// their rooms, and the recordings that their paths name.
pub async fn list_strays(
    db: impl PgExecutor<'_>,
    ids: &[String],
    rooms: &[String],
    recordings: &[RecordingId],
) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select e.id as "id!" from unnest($1::text[], $2::text[], $3::uuid[]) as e(id, room, recording)
           where exists (select from livekit_room_names n where n.room_name = e.room)
             and not exists (select from recordings c
                             where c.open_room is not null
                               and (c.egress_id = e.id or (c.egress_id is null and c.id = e.recording)))"#,
        ids,
        rooms,
        recordings as &[RecordingId]
    )
    .fetch_all(db)
    .statement("SELECT list_strays")
    .await
}
