//! The invariants that must hold when no fault is active (docs/architecture.md). They are checked in the database and
//! in LiveKit's own list, never through the services. Stale participants in LiveKit's list do not count. Participants
//! of a room that LiveKit's store has lost do count.

use livekit_dev::LiveKitDev;
use livekit_protocol::{ParticipantInfo, participant_info::State};
use sqlx::PgPool;

/// The violations that are found.
pub async fn violations(pool: &PgPool, livekit: &LiveKitDev) -> Vec<String> {
    let connected = Connected::of(livekit);
    let found = tokio::join!(
        rooms(pool),
        listing(pool),
        seats(pool, &connected),
        on_livekit(pool, &connected),
        exclusions(pool, &connected),
        rights(pool, &connected)
    );
    [found.0, found.1, found.2, found.3, found.4, found.5].concat()
}

/// LiveKit's rooms and the participants connected to them. The last four lists have one item for each participant.
#[derive(Default)]
struct Connected {
    names: Vec<String>,
    sids: Vec<String>,
    rooms: Vec<String>,
    identities: Vec<String>,
    participant_sids: Vec<String>,
    /// The participant's permissions, in the order of `may`, and `on air` if they publish without permission.
    rights: Vec<String>,
}

impl Connected {
    fn of(livekit: &LiveKitDev) -> Self {
        let mut connected = Self::default();
        let (listed, mut rooms) = (livekit.rooms(), livekit.living_rooms());
        rooms.retain(|room| !listed.iter().any(|other| other.name == room.name));
        rooms.extend(listed.iter().cloned());
        for room in rooms {
            let shown = listed.contains(&room).then(|| livekit.participants(&room.name));
            let active = |one: &ParticipantInfo| one.state() == State::Active;
            for one in livekit.connected(&room.name).into_iter().filter(active) {
                if shown.as_ref().is_some_and(|shown| !shown.iter().any(|other| other.sid == one.sid)) {
                    continue;
                }
                connected.rooms.push(room.name.clone());
                connected.rights.push(may(&one));
                connected.identities.push(one.identity);
                connected.participant_sids.push(one.sid);
            }
            connected.names.push(room.name);
            connected.sids.push(room.sid);
        }
        connected
    }
}

/// A participant's permissions as text. Sources have the numbers of LiveKit's protocol.
fn may(one: &ParticipantInfo) -> String {
    let allowed = one.permission.clone().unwrap_or_default();
    let mut sources = allowed.can_publish_sources;
    sources.sort_unstable();
    let facts = [
        (allowed.can_publish, format!("publish {sources:?}")),
        (allowed.can_subscribe, "subscribe".to_owned()),
        (allowed.can_publish_data, "data".to_owned()),
        (allowed.can_update_metadata, "metadata".to_owned()),
        (!allowed.can_publish && !one.tracks.is_empty(), "on air".to_owned()),
    ];
    facts.into_iter().filter(|(is_so, _)| *is_so).map(|(_, what)| what).collect::<Vec<_>>().join(", ")
}

/// I3, I5: nothing is stuck, and at most one session is open.
async fn rooms(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar!(
        r#"select 'I3 stuck: ' || r.id || ' ' || r.status as "wrong!" from live_rooms r
           where r.status in ('lobby', 'scheduled', 'live')
             and (r.current_session_id is null
                  or not exists (select from live_room_sessions s
                                 where s.id = r.current_session_id and s.room_id = r.id
                                   and s.status not in ('ended', 'cancelled')))
           union all select 'I3 unsettled: ' || id from stale_live_rooms
           union all select 'I3 no room points to ' || s.id from live_room_sessions s
           where s.status in ('scheduled', 'lobby', 'live')
             and not exists (select from live_rooms r where r.current_session_id = s.id and r.status = s.status)
           union all select 'I3 half written: ' || s.id from live_room_sessions s
           where (s.status in ('scheduled', 'lobby', 'live')) = (s.ended_at is not null)
           union all select 'I5 several open sessions in ' || room_id from live_room_sessions
           where status in ('scheduled', 'lobby', 'live') group by room_id having count(*) > 1
           union all select 'I5 several rooms of ' || host_user_id from live_rooms
           group by host_user_id having count(*) > 1"#
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I4: the listing equals its definition, and no mark is left.
async fn listing(pool: &PgPool) -> Vec<String> {
    sqlx::query_scalar!(
        r#"select 'I4 should be listed: ' || p::text as "wrong!" from (
               select * from live_stream_projection
               except
               select c.id, c.title, c.description, c.tags, c.access_level, c.cover_image_url, c.scheduled_for,
                      c.status, c.created_by, c.started_at, c.ended_at, c.viewer_count, c.peak_viewers
               from community_live_streams c where c.managed) p
           union all select 'I4 never given: version ' || version || ' of ' || id from community_live_streams
           where version > (select last_value from live_stream_version)
           union all select 'I4 dirty: ' || live_room_id || coalesce(' ' || last_error, '') from live_stream_dirty"#
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I6: open seats belong to open sessions, and seats, presence and LiveKit show the same participants.
async fn seats(pool: &PgPool, connected: &Connected) -> Vec<String> {
    sqlx::query_file_scalar!(
        "tests/it/model/seats.sql",
        &connected.rooms,
        &connected.identities,
        &connected.participant_sids
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I2: no room of ours is without an open owner, and every open session has an active room.
async fn on_livekit(pool: &PgPool, connected: &Connected) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with listed as (select * from unnest($1::text[], $2::text[]) as l(name, sid))
           select 'I2 on LiveKit without an open owner: ' || l.name as "wrong!" from listed l
           where not exists (select from livekit_rooms k join room_owners o on o.owner = k.owner and o.open
                             where k.room_name = l.name and k.status = 'active' and k.room_sid = l.sid)
           union all select 'no active room for ' || s.id || ' ' || s.status || coalesce(', it is ' || k.status, '')
           from live_room_sessions s left join livekit_rooms k on k.live_session_id = s.id
           where (s.status in ('lobby', 'live')) <> coalesce(k.status = 'active', false)
           union all select 'due for long: ' || s.id || ' ' || s.status from live_room_sessions s
           where s.status in ('scheduled', 'lobby') and s.starts_at < app_now() - interval '5 seconds'"#,
        &connected.names,
        &connected.sids
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I9: users who are kicked from the open session, or banned from its room, are not connected and have no seat. After a
/// kick the room is watched as long as an old token may open it.
async fn exclusions(pool: &PgPool, connected: &Connected) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with connected as (select * from unnest($1::text[], $2::text[]) as i(room_name, user_id))
           select 'I9 kicked and on LiveKit: ' || i::text as "wrong!"
           from connected i
           join livekit_rooms k on k.room_name = i.room_name
           join livekit_participants p on p.room_id = k.id and p.user_id = i.user_id and p.status = 'kicked'
           union all select 'I9 banned and on LiveKit: ' || i::text
           from connected i
           join livekit_rooms k on k.room_name = i.room_name
           join live_room_sessions s on s.id = k.live_session_id
           join live_room_bans b on b.live_room_id = s.room_id and b.user_id = i.user_id
                                and coalesce(b.until > app_now(), true)
           union all select 'I9 kicked or banned and with a seat: ' || a.user_id || ' ' || a.session_id
           from live_room_attendance a
           join live_room_sessions s on s.id = a.session_id and s.status in ('lobby', 'live')
           left join livekit_rooms k on k.live_session_id = a.session_id
           left join livekit_participants p on p.room_id = k.id and p.user_id = a.user_id and p.status = 'kicked'
           left join live_room_bans b on b.live_room_id = a.live_room_id and b.user_id = a.user_id
                                     and coalesce(b.until > app_now(), true)
           where a.left_at is null and a.lobby_status = 'admitted' and (p.user_id is not null or b.user_id is not null)
           union all select 'I9 not watched: ' || k.room_name
           from livekit_rooms k
           where k.status = 'active' and coalesce(k.watched_until < app_now(), true)
             and exists (select from livekit_participants p
                         where p.room_id = k.id and p.status = 'kicked'
                           and p.kicked_at > app_now() - interval '1 hour')"#,
        &connected.rooms,
        &connected.identities
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// Participants have on LiveKit the permissions of their seats' roles, whatever their tokens contain.
async fn rights(pool: &PgPool, connected: &Connected) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with connected as (
               select * from unnest($1::text[], $2::text[], $3::text[]) as i(room_name, user_id, rights)),
           seated as (
               select k.room_name, a.user_id,
                      case when a.user_id = r.host_user_id or a.role = 'speaker'
                           then 'publish [1, 2, 3, 4], ' else '' end || 'subscribe, data, metadata' as rights
               from live_room_attendance a
               join live_rooms r on r.id = a.live_room_id
               join livekit_rooms k on k.live_session_id = a.session_id)
           select 'wrong permissions on LiveKit: ' || i::text || ' instead of ' || s.rights as "wrong!"
           from connected i join seated s on s.room_name = i.room_name and s.user_id = i.user_id
           where s.rights <> i.rights"#,
        &connected.rooms,
        &connected.identities,
        &connected.rights
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
