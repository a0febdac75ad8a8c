//! What must be so when it is quiet (docs/architecture.md): asked of the database and of LiveKit's own list, never of
//! the services. Participants that LiveKit lists although they are gone do not count; those of a room that its store
//! has lost do.

use livekit_dev::LiveKitDev;
use livekit_protocol::{ParticipantInfo, participant_info::State};
use sqlx::PgPool;

/// What is not as it should be.
pub async fn violations(pool: &PgPool, livekit: &LiveKitDev) -> Vec<String> {
    let inside = Inside::of(livekit);
    let found = tokio::join!(
        rooms(pool),
        listing(pool),
        seats(pool, &inside),
        on_livekit(pool, &inside),
        out(pool, &inside),
        rights(pool, &inside)
    );
    [found.0, found.1, found.2, found.3, found.4, found.5].concat()
}

/// LiveKit's rooms, and the people in them.
#[derive(Default)]
struct Inside {
    names: Vec<String>,
    sids: Vec<String>,
    rooms: Vec<String>,
    people: Vec<String>,
    people_sids: Vec<String>,
    /// What they may do there, in the order of `may`, and `on air` if they publish.
    rights: Vec<String>,
}

impl Inside {
    fn of(livekit: &LiveKitDev) -> Self {
        let mut inside = Self::default();
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
                inside.rooms.push(room.name.clone());
                inside.rights.push(may(&one));
                inside.people.push(one.identity);
                inside.people_sids.push(one.sid);
            }
            inside.names.push(room.name);
            inside.sids.push(room.sid);
        }
        inside
    }
}

/// Sources are numbered as in LiveKit's protocol.
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
           union all select 'I3 nobody points to ' || s.id from live_room_sessions s
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

/// I4: the listing says what its definition says, and nobody waits for it.
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

/// I6: seats are those of open sessions, and seats, presence and LiveKit show the same people.
async fn seats(pool: &PgPool, inside: &Inside) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with inside as (
               select * from unnest($1::text[], $2::text[], $3::text[]) as i(room_name, user_id, sid)),
           seated as (
               select k.room_name, a.user_id, a.participant_sid as sid
               from live_room_attendance a
               join live_room_sessions s on s.id = a.session_id
               left join livekit_rooms k on k.live_session_id = a.session_id
               where a.left_at is null and a.lobby_status = 'admitted' and a.joined_at is not null
                 and a.disconnected_at is null),
           joined as (
               select k.room_name, p.user_id, p.participant_sid as sid
               from livekit_participants p join livekit_rooms k on k.id = p.room_id where p.status = 'joined')
           select 'I6 open seat in an ended session: ' || a.user_id as "wrong!"
           from live_room_attendance a join live_room_sessions s on s.id = a.session_id
           where a.left_at is null and s.status in ('ended', 'cancelled')
           union all select 'I6 a seat nobody sits in: ' || t::text
               from (select * from seated except select * from inside) t
           union all select 'I6 inside without a seat: ' || t::text
               from (select * from inside except select * from seated) t
           union all select 'I6 joined and not on LiveKit: ' || t::text
               from (select * from joined except select * from inside) t
           union all select 'I6 on LiveKit and not joined: ' || t::text
               from (select * from inside except select * from joined) t
           union all select 'I6 held for ever: ' || a.user_id
               from live_room_attendance a
               where a.left_at is null and a.held_until < app_now() - interval '5 seconds'
           union all select 'I6 host_present: ' || s.id
               from live_room_sessions s
               join live_rooms r on r.id = s.room_id
               join livekit_rooms k on k.live_session_id = s.id
               join inside i on i.room_name = k.room_name and i.user_id = r.host_user_id
               where not s.host_present"#,
        &inside.rooms,
        &inside.people,
        &inside.people_sids
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I2: no room of ours without an open owner; and every open session has its room recorded.
async fn on_livekit(pool: &PgPool, inside: &Inside) -> Vec<String> {
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
        &inside.names,
        &inside.sids
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// I9: whoever is kicked out of the open session, or banned from its room, is not inside, and his seat is not kept; and
/// after a kick the room is watched as long as an old token may open it.
async fn out(pool: &PgPool, inside: &Inside) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with inside as (select * from unnest($1::text[], $2::text[]) as i(room_name, user_id))
           select 'I9 kicked and inside: ' || i::text as "wrong!"
           from inside i
           join livekit_rooms k on k.room_name = i.room_name
           join livekit_participants p on p.room_id = k.id and p.user_id = i.user_id and p.status = 'kicked'
           union all select 'I9 banned and inside: ' || i::text
           from inside i
           join livekit_rooms k on k.room_name = i.room_name
           join live_room_sessions s on s.id = k.live_session_id
           join live_room_bans b on b.live_room_id = s.room_id and b.user_id = i.user_id
                                and coalesce(b.until > app_now(), true)
           union all select 'I9 out and with a seat: ' || a.user_id || ' ' || a.session_id
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
        &inside.rooms,
        &inside.people
    )
    .fetch_all(pool)
    .await
    .unwrap()
}

/// People may do on LiveKit what the table of rights gives to their seats' roles, whatever their tokens said.
async fn rights(pool: &PgPool, inside: &Inside) -> Vec<String> {
    sqlx::query_scalar!(
        r#"with inside as (
               select * from unnest($1::text[], $2::text[], $3::text[]) as i(room_name, user_id, rights)),
           seated as (
               select k.room_name, a.user_id,
                      case when a.user_id = r.host_user_id or a.role = 'speaker'
                           then 'publish [1, 2, 3, 4], ' else '' end || 'subscribe, data, metadata' as rights
               from live_room_attendance a
               join live_rooms r on r.id = a.live_room_id
               join livekit_rooms k on k.live_session_id = a.session_id)
           select 'may do what he should not, or the other way: ' || i::text || ' instead of ' || s.rights as "wrong!"
           from inside i join seated s on s.room_name = i.room_name and s.user_id = i.user_id
           where s.rights <> i.rights"#,
        &inside.rooms,
        &inside.people,
        &inside.rights
    )
    .fetch_all(pool)
    .await
    .unwrap()
}
