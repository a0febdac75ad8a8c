-- Inserts $stored open bookings, live sessions and nests, each with its room, its participants and its other rows.
-- Triggers and checks of foreign keys are off, because they would take longer than everything else. Times are now(),
-- which is cheaper than app_now().
set session_replication_role = replica;

insert into app_users (id, display_name, email, seen_at)
select 'user-' || i, 'Name ' || i, 'user-' || i || '@example.org', now() from generate_series(1, $stored) i;

insert into sessions (host_id, guest_id, created_by, title, scheduled_at, duration_minutes, meeting_url, created_at,
                      updated_at)
select 'user-' || i, 'guest-' || i, 'user-' || i, 'Lesson ' || i, now() + make_interval(mins => i % 1000), 60,
       'https://app.example.org/meeting/' || i, now(), now()
from generate_series(1, $stored) i;

-- The slots of most bookings are inactive: writing the index of the exclusion constraint takes long.
insert into session_participants (session_id, user_id, role, slot, active)
select s.id, p.user_id, p.role, tstzrange(s.scheduled_at, s.scheduled_at + interval '1 hour'),
       s.scheduled_at < now() + interval '50 minutes'
from sessions s cross join lateral (values (s.host_id, 'host'), (s.guest_id, 'guest')) p (user_id, role);

with ids as materialized (
    select gen_random_uuid() as room, gen_random_uuid() as session, i from generate_series(1, $stored) i),
rooms as (
    insert into live_rooms (id, host_user_id, title, room_name, room_slug, topic_keys, status, current_session_id, created_at,
                            updated_at)
    select room, 'user-' || i, 'Live ' || i, 'Live ' || i, 'live-' || i, '{talk,evening}', 'live', session, now(), now()
    from ids)
insert into live_room_sessions (id, room_id, status, starts_at, started_at, created_by, created_at, updated_at)
select session, room, 'live', now(), now(), 'user-' || i, now(), now() from ids;
-- One participant in a hundred has not joined yet: their seats are held.
insert into live_room_attendance (session_id, live_room_id, user_id, joined_at, held_until)
select id, room_id, created_by, case when held then null else now() end,
       case when held then now() + interval '30 seconds' end
from (select *, hashtext(created_by) % 100 = 0 as held from live_room_sessions) s;
insert into live_room_bans (live_room_id, user_id, banned_by) select id, 'banned', host_user_id from live_rooms;
insert into community_live_streams (id, title, description, tags, access_level, scheduled_for, status, created_by,
                                    started_at, managed, version)
select id, title, description, topic_keys, 'public', now(), 'live', host_user_id, now(), true,
       nextval('live_stream_version')
from live_rooms;

insert into nests (created_by) select md5(i::text) || md5('n' || i) from generate_series(1, $stored) i;
insert into nest_participants (nest_id, pubkey, is_admin, is_speaker) select id, created_by, true, true from nests;
insert into nostr_seen (event_id, body_hash, pubkey, status, made_id)
select sha256(id::text::bytea), sha256(id::text::bytea), decode(created_by, 'hex'), 200, id from nests;

insert into livekit_rooms (session_id, live_session_id, nest_id, room_name, room_sid, status, max_participants, made_at,
                           confirmed_at, expires_at, created_at)
select o.session_id, o.live_session_id, o.nest_id, o.room_name, 'RM_' || o.room_name, 'active', 7, now(), now(),
       now() + interval '3 hours', now()
from (select id as session_id, null::uuid as live_session_id, null::uuid as nest_id, 'session-' || id as room_name
      from sessions
      union all select null, id, null, 'live-' || id from live_room_sessions
      union all select null, null, id, 'nest-' || id from nests) o;
insert into livekit_room_names (room_name, room_id, generation) select room_name, id, 1 from livekit_rooms;
insert into livekit_participants (room_id, user_id, role, status, joined_at)
select r.id, s.host_id, 'host', 'joined', now() from livekit_rooms r join sessions s on s.id = r.session_id
union all
select r.id, a.user_id, 'host', 'joined', now()
from livekit_rooms r join live_room_attendance a on a.session_id = r.live_session_id
union all
select r.id, p.pubkey, 'admin', 'joined', now() from livekit_rooms r join nest_participants p on p.nest_id = r.nest_id;
insert into livekit_events (event_id, room_id, event_type, identity)
select 'EV_' || id, id, 'participant_joined', 'user-1' from livekit_rooms where session_id is not null;
insert into recordings (room_id, generation, egress_id, started_by, status, file, ended_at)
select id, 1, 'EG_' || id, 'user-1', 'complete', room_name, now() from livekit_rooms where session_id is not null;

insert into notifications (user_id, kind, session_id, dedupe_key, expanded_at)
select user_id, 'booking_created', session_id, session_id || user_id, now() from session_participants
where role = 'host';
insert into notification_deliveries (notification_id, channel, stream_key, delivered_at)
select id, 'email', session_id || user_id, now() from notifications;

set default_statistics_target = 20;
analyze;
