//! The SQL of a room's participants, as checks of LiveKit and its events show them.

use chassis::db::Statement;
use domain::{ParticipantStatus, Role, RoomId};
use sqlx::{PgExecutor, Result};
use time::{Duration, OffsetDateTime};

/// One check of a room: its active participants by participant SID, and when the check began.
#[derive(Debug)]
pub struct PresenceCheck<'a> {
    pub room: RoomId,
    /// The generation of the checked room. A check of an earlier one says nothing about the current participants.
    pub generation: i32,
    pub identities: &'a [String],
    pub sids: &'a [String],
    pub at: OffsetDateTime,
    /// LiveKit counts more participants than it listed. Then an unlisted participant has left only if an event says so.
    pub is_partial: bool,
}

/// Updates `livekit_participants` from a check. Listed participants have joined. An unlisted participant has left if an
/// earlier check, at least 5 s before, missed it too, or if a `left` event of its current SID arrived. A stale
/// participant counts as left until it is listed under another SID.
pub async fn set_presence(db: impl PgExecutor<'_>, check: &PresenceCheck<'_>) -> Result<u64> {
    let done = sqlx::query_file!(
        "src/rooms/store/set_presence.sql",
        check.room.0,
        check.identities,
        check.sids,
        check.at,
        check.generation,
        check.is_partial
    )
    .execute(db)
    .statement("UPDATE set_presence")
    .await?;
    Ok(done.rows_affected())
}

/// Sets participants to left that are still joined in an ended room: a check and the room's end ran concurrently.
pub async fn set_left_with_room(db: impl PgExecutor<'_>) -> Result<u64> {
    let done = sqlx::query!(
        "update livekit_participants p
         set status = 'left', absent_since = null,
             left_at = coalesce((select r.ended_at from livekit_rooms r where r.id = p.room_id), app_now())
         where p.joined_room is not null
           -- a subquery per participant: as a join, the planner may begin with every room that ever ended
           and (select r.status from livekit_rooms r where r.id = p.room_id) = 'ended'"
    )
    .execute(db)
    .statement("UPDATE set_left_with_room")
    .await?;
    Ok(done.rows_affected())
}

/// A participant as the parties of a booking see it.
#[derive(Debug)]
pub struct Participant {
    pub user_id: String,
    pub name: Option<String>,
    pub role: Role,
    pub status: ParticipantStatus,
    pub joined_at: Option<OffsetDateTime>,
    pub left_at: Option<OffsetDateTime>,
}

pub async fn list_participants(db: impl PgExecutor<'_>, room: RoomId) -> Result<Vec<Participant>> {
    sqlx::query_as!(
        Participant,
        r#"select p.user_id, coalesce(u.display_name, p.display_name) as name,
                  p.role as "role: Role", p.status as "status: ParticipantStatus", p.joined_at, p.left_at
           from livekit_participants p left join app_users u on u.id = p.user_id
           where p.room_id = $1 order by p.role desc, p.user_id"#,
        room.0
    )
    .fetch_all(db)
    .statement("SELECT list_participants")
    .await
}

/// Kicks a participant permanently, watches the room as long as a token may be valid, and marks it. Idempotent: the
/// time of the first kick stays, so that a join since then still counts. A joined participant has left at exactly the
/// time of the kick; [`awaits_removal`] uses this. The room is locked before the participant, as everywhere.
pub async fn set_kicked(
    db: impl PgExecutor<'_>,
    room: RoomId,
    user: &str,
    watch: OffsetDateTime,
) -> Result<bool> {
    let kicked = sqlx::query_scalar!(
        r#"with watched as (
               update livekit_rooms r set watched_until = greatest(r.watched_until, $3)
               where r.id = $1
                 and exists (select from livekit_participants p where p.room_id = r.id and p.user_id = $2)
               returning r.id, app_now() as now),
           kicked as (
               update livekit_participants p
               set status = 'kicked', kicked_at = coalesce(p.kicked_at, watched.now),
                   left_at = coalesce(p.left_at, watched.now), absent_since = null
               from watched where p.room_id = watched.id and p.user_id = $2
               returning p.room_id)
           select mark_room(room_id) is not null as "marked!" from kicked"#,
        room.0,
        user,
        watch
    )
    .fetch_optional(db)
    .statement("UPDATE set_kicked")
    .await?;
    Ok(kicked.is_some())
}

/// A participant who must not be in a room.
#[derive(Debug)]
pub struct Excluded {
    pub user_id: String,
    /// When LiveKit reported that the participant came back (by SID). `None`: it did not, or it reported a departure
    /// after that.
    pub rejoined_since: Option<OffsetDateTime>,
}

/// Lists users who were kicked from the room, or are banned from its live room. One scan reads all events of each user,
/// because an old token lets them come back any number of times. A stay without an end is over if a later one has
/// ended, or if the participant was removed after it began. LiveKit has one participant per identity in a room, and a
/// crash ends stays without an event.
pub async fn list_excluded(db: impl PgExecutor<'_>, room: RoomId) -> Result<Vec<Excluded>> {
    sqlx::query_file_as!(Excluded, "src/rooms/store/list_excluded.sql", room.0)
        .fetch_all(db)
        .statement("SELECT list_excluded")
        .await
}

/// Records that LiveKit has removed this participant, under the last observed SID. Stays that began before `at` are
/// over.
pub async fn insert_removed(
    db: impl PgExecutor<'_>,
    room: RoomId,
    user: &str,
    at: OffsetDateTime,
) -> Result<()> {
    sqlx::query!(
        "insert into livekit_events (event_id, room_id, event_type, identity, participant_sid, received_at)
         select 'GR_' || gen_random_uuid(), room_id, 'participant_removed', user_id, participant_sid, $3
         from livekit_participants where room_id = $1 and user_id = $2 and participant_sid is not null",
        room.0,
        user,
        at
    )
    .execute(db)
    .statement("INSERT insert_removed")
    .await
    .map(drop)
}

/// Whether a kicked or banned participant may still be on LiveKit: it was in the room when it was kicked within the
/// last minute, or it is joined and banned, and LiveKit has not reported its departure since.
pub async fn awaits_removal(db: impl PgExecutor<'_>, room: RoomId) -> Result<bool> {
    sqlx::query_scalar!(
        r#"with excluded as (
               select p.user_id, p.participant_sid from livekit_participants p
               where p.kicked_room = $1 and p.joined_at is not null
                 and p.left_at >= p.kicked_at and p.kicked_at > app_now() - interval '1 minute'
               union all
               select p.user_id, p.participant_sid
               from livekit_rooms r
               join live_room_sessions s on s.id = r.live_session_id
               join current_bans b on b.live_room_id = s.room_id
               join livekit_participants p on p.room_id = r.id and p.user_id = b.user_id and p.status = 'joined'
               where r.id = $1)
           select exists (
               select from excluded x
               where not exists (select from livekit_events e
                                 where e.room_id = $1 and e.identity = x.user_id
                                   and e.participant_sid = x.participant_sid
                                   and e.event_type in ('participant_left', 'participant_connection_aborted',
                                                        'participant_removed'))) as "awaits!""#,
        room.0
    )
    .fetch_one(db)
    .statement("SELECT awaits_removal")
    .await
}

/// Lists active rooms that are watched: an old token may still open them.
pub async fn list_watched(db: impl PgExecutor<'_>) -> Result<Vec<RoomId>> {
    sqlx::query_scalar!(
        r#"select id as "id: RoomId" from livekit_rooms where watched_until > app_now() and status = 'active'"#
    )
        .fetch_all(db)
        .statement("SELECT list_watched")
        .await
}

/// How many participants a list of a room lacks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Joined, and no event says that they left.
    pub joined: i64,
    /// Of those, the ones that were lacking at `since` too.
    pub lasting: i64,
    /// Left or removed a moment ago: LiveKit's number may still count them.
    pub left: i64,
}

/// Compares a list of a room with the recorded participants.
pub async fn find_lacking(
    db: impl PgExecutor<'_>,
    room: RoomId,
    identities: &[String],
    since: Option<OffsetDateTime>,
) -> Result<Lacking> {
    sqlx::query_as!(
        Lacking,
        r#"with lacking as (
               select q.absent_since from livekit_participants q
               where q.joined_room = $1 and q.user_id <> all($2)
                 and not exists (select from livekit_events e
                                 where e.room_id = $1 and e.identity = q.user_id
                                   and e.participant_sid = q.participant_sid
                                   and e.event_type in ('participant_left', 'participant_connection_aborted')))
           select count(*) as "joined!", count(*) filter (where absent_since <= $3) as "lasting!",
                  (select count(*) from livekit_participants p
                   where p.room_id = $1 and p.left_at > app_now() - interval '7 seconds'
                     and (p.status = 'left'
                          or p.status = 'kicked'
                             and exists (select from livekit_events e
                                         where e.room_id = $1 and e.identity = p.user_id
                                           and e.participant_sid = p.participant_sid
                                           and e.event_type in ('participant_left', 'participant_removed',
                                                                'participant_connection_aborted')))) as "left!"
           from lacking"#,
        room.0,
        identities,
        since
    )
    .fetch_one(db)
    .statement("SELECT find_lacking")
    .await
}

/// Whether an event says that a participant joined the room of this SID, and no event says that the participant left.
pub async fn was_entered(db: impl PgExecutor<'_>, room: RoomId, room_sid: &str) -> Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (
               select from livekit_events e
               where e.room_id = $1 and e.room_sid = $2 and e.event_type = 'participant_joined'
                 and not exists (select from livekit_events l
                                 where l.room_id = $1 and l.identity = e.identity
                                   and l.participant_sid = e.participant_sid
                                   and l.event_type in ('participant_left', 'participant_connection_aborted',
                                                        'participant_removed'))) as "entered!""#,
        room.0,
        room_sid
    )
    .fetch_one(db)
    .statement("SELECT was_entered")
    .await
}

/// Lists the participant SIDs of a room's stale participants.
pub async fn list_stale_sids(db: impl PgExecutor<'_>, room: RoomId) -> Result<Vec<String>> {
    sqlx::query_scalar!(
        r#"select participant_sid as "sid!" from livekit_participants
           where room_id = $1 and ghost_since is not null and participant_sid is not null"#,
        room.0
    )
    .fetch_all(db)
    .statement("SELECT list_stale_sids")
    .await
}

/// Extends the watch of a room in which a participant had more rights on LiveKit than recorded: the old token may be
/// used again.
pub async fn set_watched(db: impl PgExecutor<'_>, room: RoomId, watch: Duration) -> Result<()> {
    sqlx::query!(
        "update livekit_rooms set watched_until = greatest(watched_until, app_now() + make_interval(secs => $2))
         where id = $1",
        room.0,
        watch.as_seconds_f64()
    )
    .execute(db)
    .statement("UPDATE set_watched")
    .await
    .map(drop)
}
