-- What is open has its own columns, and the partial indexes of it are on these. A partial index is chosen for every
-- statement whose conditions imply its predicate. While nothing is open it counts as empty, so that reading all of it
-- seems cheaper than any key; the plan is kept, and later each statement about one row reads everything that is open (docs/decisions/0019-estimates-do-not-grow.md). No condition on other columns implies that one of these is not
-- null: only statements that ask for them use their indexes.

-- All at once, before anything is done: what writes them meanwhile waits.
lock table sessions, live_room_sessions, live_room_attendance, livekit_rooms, livekit_participants, nests, recordings,
    notifications in access exclusive mode;

drop index sessions_open_by_creator;
drop index sessions_open_by_start;
drop index live_room_sessions_one_open;
drop index live_room_sessions_open;
drop index live_room_sessions_due;
drop index live_room_attendance_open;
drop index live_room_attendance_seated;
drop index live_room_attendance_waiting;
drop index livekit_rooms_open;
drop index livekit_participants_joined;
drop index nests_open;
drop index recordings_one_open;
drop index recordings_open;
drop index notifications_unexpanded;

alter table sessions
    add column open_start timestamptz
        generated always as (case when status in ('scheduled', 'in_progress') then scheduled_at end) stored,
    add column open_creator text
        generated always as (case when status in ('scheduled', 'in_progress') then created_by end) stored;
create index sessions_open_by_start on sessions (open_start) where open_start is not null;
create index sessions_open_by_creator on sessions (open_creator) where open_creator is not null;

alter table live_room_sessions
    add column open_room uuid
        generated always as (case when status in ('scheduled', 'lobby', 'live') then room_id end) stored,
    add column due_start timestamptz
        generated always as (case when status in ('scheduled', 'lobby') then starts_at end) stored;
-- I5: at most one open session per live room.
create unique index live_room_sessions_one_open on live_room_sessions (open_room) where open_room is not null;
-- What time moves on: looked through every second, beside any number of sessions that are live.
create index live_room_sessions_due on live_room_sessions (due_start) where due_start is not null;

alter table live_room_attendance
    add column open_session uuid generated always as (case when left_at is null then session_id end) stored,
    add column open_room uuid generated always as (case when left_at is null then live_room_id end) stored,
    add column waiting_session uuid
        generated always as (case when left_at is null and lobby_status = 'waiting' then session_id end) stored;
create index live_room_attendance_open on live_room_attendance (open_room) where open_room is not null;
create index live_room_attendance_seated on live_room_attendance (open_session, lobby_status, seated_at)
    where open_session is not null;
create index live_room_attendance_waiting on live_room_attendance (waiting_session) where waiting_session is not null;

alter table livekit_rooms
    add column open_owner uuid
        generated always as (case when status <> 'ended' then coalesce(session_id, live_session_id, nest_id) end) stored;
create index livekit_rooms_open on livekit_rooms (open_owner) where open_owner is not null;

alter table livekit_participants
    add column joined_room uuid generated always as (case when status = 'joined' then room_id end) stored;
create index livekit_participants_joined on livekit_participants (joined_room) where joined_room is not null;

alter table nests
    add column open_since timestamptz generated always as (case when status = 'open' then created_at end) stored;
create index nests_open on nests (open_since) where open_since is not null;

alter table recordings
    add column open_room uuid
        generated always as (case when status in ('starting', 'active', 'ending') then room_id end) stored;
-- I11: one open recording per room and kind; whatever happens to it, it is closed and another can start.
create unique index recordings_one_open on recordings (open_room, kind) where open_room is not null;
create index recordings_open on recordings (open_room) where open_room is not null;

alter table notifications
    add column unexpanded_since timestamptz
        generated always as (case when expanded_at is null then created_at end) stored;
create index notifications_unexpanded on notifications (unexpanded_since, id) where unexpanded_since is not null;

-- Whether a creator is at their limit of open bookings, and for how many seconds the pair has to wait (null: not at all).
create or replace function booking_limits(
    p_creator text, p_host text, p_guest text, p_most_open bigint, p_most_per_pair bigint,
    out open_full boolean, out pair_wait bigint)
language plpgsql stable set search_path = pg_catalog, public, pg_temp
as $$
begin
    open_full := (select count(*) from (
                      select from sessions where open_creator = p_creator limit p_most_open) open) >= p_most_open;
    pair_wait := (select ceil(extract(epoch from created_at + interval '1 hour' - app_now()))::bigint
                  from sessions
                  where (host_id = p_host and guest_id = p_guest or host_id = p_guest and guest_id = p_host)
                    and created_at > app_now() - interval '1 hour'
                  order by created_at desc offset p_most_per_pair - 1 limit 1);
end $$;

-- Live rooms that settling would change: what the pass heals. Each branch starts from a partial index.
create or replace view unsettled_live_rooms as
select r.id
from live_rooms r
left join live_room_sessions s on s.open_room = r.id
where (r.status <> 'idle' or r.current_session_id is not null or r.host_present)
  and (r.status, r.current_session_id, r.host_present)
      is distinct from (coalesce(s.status, 'idle'), s.id, coalesce(s.host_present, false))
union
select s.room_id
from live_room_sessions s
join live_rooms r on r.id = s.open_room
where r.current_session_id is distinct from s.id
union
select s.room_id from live_room_sessions s
where (s.status in ('scheduled', 'lobby', 'live')) = (s.ended_at is not null)
union
select a.open_room as id
from live_room_attendance a
where a.open_room is not null
  and not exists (select from live_room_sessions s
                  where s.id = a.session_id and s.status in ('scheduled', 'lobby', 'live'));

-- What the listing should say: the only definition of "aligned" (I4).
create or replace view live_stream_projection as
select r.id,
       coalesce(nullif(s.session_title, ''), nullif(r.title, ''), r.room_name) as title,
       r.description,
       case when s.topic_keys <> '{}' then s.topic_keys else r.topic_keys end as tags,
       s.access_level,
       r.cover_image_url,
       s.starts_at as scheduled_for,
       case when s.status = 'scheduled' then 'pending'
            when s.status in ('lobby', 'live') then 'live'
            else 'ended'
       end as status,
       r.host_user_id as created_by,
       case when s.status = 'scheduled' then null
            when s.status in ('lobby', 'live') then coalesce(s.started_at, s.lobby_open_at, s.created_at)
            else s.started_at
       end as started_at,
       case when s.status in ('ended', 'cancelled') then s.ended_at end as ended_at,
       case when s.status in ('lobby', 'live') then
           (select count(*)::integer from live_room_attendance a
            where a.open_session = s.id and a.lobby_status = 'admitted'
              and a.joined_at is not null and a.disconnected_at is null and a.role <> 'host')
       else 0 end as viewer_count,
       s.peak_viewers
from live_rooms r
-- The open one, else the latest: each found by an index, for a room may have thousands of sessions. (`limit`: as a plain
-- join, the planner may read all that are open.)
left join lateral (select * from live_room_sessions where open_room = r.id limit 1) o on true
cross join lateral (
    select o.* where o.id is not null
    union all
    (select l.* from live_room_sessions l where l.room_id = r.id and o.id is null
     order by coalesce(l.started_at, l.starts_at) desc, l.created_at desc, l.id desc
     limit 1)) s;

-- The new columns have no statistics yet: without them almost every row would count as open. Empty tables stay without:
-- the planner takes them for small then, and not for empty.
do $$
declare
    filled text;
    has_rows boolean;
begin
    foreach filled in array array['sessions', 'live_room_sessions', 'live_room_attendance', 'livekit_rooms',
                                  'livekit_participants', 'nests', 'recordings', 'notifications'] loop
        execute format('select exists (select from %I)', filled) into has_rows;
        if has_rows then
            execute format('analyze %I', filled);
        end if;
    end loop;
end $$;

select greenroom_grants();
