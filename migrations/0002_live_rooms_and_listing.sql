-- Live rooms, their sessions and seats, and the listing that old clients read (docs/architecture.md).
--
-- The truth about a live room is its one open session. Its status, pointer and host_present are a projection that
-- settle_live_room() writes; its row of community_live_streams is a projection that sync writes. Both are computed
-- anew from the truth whenever anything changed, so that healing and writing are the same act.

-- ---------------------------------------------------------------- live rooms

create table live_rooms (
    id                 uuid primary key default gen_random_uuid(),
    host_user_id       text not null constraint live_rooms_host_user_id_key unique
                       constraint live_rooms_host_user_id_length check (octet_length(host_user_id) between 1 and 200),
    title              text not null default '' constraint live_rooms_title_length check (char_length(title) <= 200),
    description        text not null default ''
                       constraint live_rooms_description_length check (char_length(description) <= 5000),
    room_name          text not null constraint live_rooms_room_name_length check (char_length(room_name) between 1 and 200),
    room_slug          text not null constraint live_rooms_room_slug_key unique
                       constraint live_rooms_room_slug_form check (room_slug ~ '^[a-z0-9][a-z0-9-]{0,99}$'),
    cover_image_url    text,
    topic_keys         text[] not null default '{}',
    access_level       text not null default 'public'
                       constraint live_rooms_access_level check (access_level in ('public', 'group')),
    status             text not null default 'idle'
                       constraint live_rooms_status check (status in ('idle', 'scheduled', 'lobby', 'live')),
    current_session_id uuid,
    host_present       boolean not null default false,
    metadata           jsonb not null default '{}',
    created_at         timestamptz not null default app_now(),
    updated_at         timestamptz not null default app_now()
);
-- Rooms that say that something is going on: the few that a pass has to compare.
create index live_rooms_busy on live_rooms (id)
    where status <> 'idle' or current_session_id is not null or host_present;

create table live_room_sessions (
    id                   uuid primary key default gen_random_uuid(),
    room_id              uuid not null references live_rooms on delete cascade,
    session_title        text constraint live_room_sessions_title_length check (char_length(session_title) <= 200),
    topic_keys           text[] not null default '{}',
    status               text not null
                         constraint live_room_sessions_status
                         check (status in ('scheduled', 'lobby', 'live', 'ended', 'cancelled')),
    access_level         text not null default 'public'
                         constraint live_room_sessions_access_level check (access_level in ('public', 'group')),
    starts_at            timestamptz not null default app_now()
                         constraint live_room_sessions_starts_at
                         check (starts_at >= '1970-01-01 00:00Z' and starts_at < '9000-01-01 00:00Z'),
    ends_at              timestamptz
                         constraint live_room_sessions_ends_at check (ends_at > starts_at and ends_at < '9000-01-01 00:00Z'),
    started_at           timestamptz,
    ended_at             timestamptz,
    lobby_open_at        timestamptz,   -- when the lobby opens, or was opened
    lobby_buffer_minutes integer not null default 15
                         constraint live_room_sessions_lobby_buffer check (lobby_buffer_minutes between 0 and 1440),
    auto_admit           boolean not null default true,
    max_participants     integer not null default 100
                         constraint live_room_sessions_max_participants check (max_participants between 1 and 10000),
    host_present         boolean not null default false,
    peak_viewers         integer not null default 0,
    created_by           text not null,
    idempotency_key      text constraint live_room_sessions_key_length check (char_length(idempotency_key) <= 200),
    request_hash         bytea,
    created_at           timestamptz not null default app_now(),
    updated_at           timestamptz not null default app_now(),
    constraint live_room_sessions_idempotency_key unique (created_by, idempotency_key)
);
-- I5: at most one open session per live room.
create unique index live_room_sessions_one_open on live_room_sessions (room_id)
    where status in ('scheduled', 'lobby', 'live');
create index live_room_sessions_latest
    on live_room_sessions (room_id, coalesce(started_at, starts_at) desc, created_at desc, id desc);
create index live_room_sessions_open on live_room_sessions (starts_at) where status in ('scheduled', 'lobby', 'live');
-- What time moves on: looked through every second, beside any number of sessions that are live.
create index live_room_sessions_due on live_room_sessions (starts_at) where status in ('scheduled', 'lobby');
-- Half written by a legacy client: open with an end, or over without one.
create index live_room_sessions_half_written on live_room_sessions (room_id)
    where (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);

alter table live_rooms add constraint live_rooms_current_session_id_fkey
    foreign key (current_session_id) references live_room_sessions on delete set null;
create index live_rooms_current_session on live_rooms (current_session_id) where current_session_id is not null;

create table live_room_attendance (
    session_id      uuid not null references live_room_sessions on delete cascade,
    live_room_id    uuid not null references live_rooms on delete cascade,
    user_id         text not null,
    role            text not null default 'guest'
                    constraint live_room_attendance_role check (role in ('host', 'guest', 'speaker')),
    lobby_status    text not null default 'admitted'
                    constraint live_room_attendance_lobby_status check (lobby_status in ('waiting', 'admitted', 'rejected')),
    is_banned       boolean not null default false,
    seated_at       timestamptz not null default app_now(),   -- when the seat was taken last; the lobby's order
    held_until      timestamptz,   -- not on LiveKit now: released then; renewed by who waits. Null while there
    joined_at       timestamptz,   -- when first seen on LiveKit
    left_at         timestamptz,
    disconnected_at timestamptz,
    participant_sid text,
    constraint live_room_attendance_session_id_user_id_key unique (session_id, user_id)
);
create index live_room_attendance_open on live_room_attendance (live_room_id) where left_at is null;
create index live_room_attendance_seated on live_room_attendance (session_id, lobby_status, seated_at) where left_at is null;
create index live_room_attendance_held on live_room_attendance (held_until) where left_at is null and held_until is not null;
create index live_room_attendance_waiting on live_room_attendance (session_id) where left_at is null and lobby_status = 'waiting';

create table live_room_bans (
    live_room_id uuid not null references live_rooms on delete cascade,
    user_id      text not null,
    banned_by    text not null,
    until        timestamptz,
    created_at   timestamptz not null default app_now(),
    primary key (live_room_id, user_id)
);

-- Who may read a live room, its session and its stream: the only definition. `p_access` is the open session's level,
-- or the room's when nothing is on; `p_groups` is what the room's metadata names.
create function may_read_live_room(p_access text, p_host text, p_metadata jsonb, p_user text, p_admin boolean,
                                   p_user_groups text[]) returns boolean
language sql immutable parallel safe
return p_access = 'public' or p_admin or p_host = p_user or coalesce(p_metadata -> 'groups' ?| p_user_groups, false);

-- Makes one room's projection equal to its open session, repairs sessions that were half written, and closes the
-- seats of sessions that are over. Locks the room first, as everything does (room, session, seats). True: something
-- was changed. Called in every transaction that changes a session, in go live, and by the pass.
create function settle_live_room(p_room_id uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    room live_rooms;
    open_session live_room_sessions;
    touched bigint;
    changed boolean := false;
begin
    select * into room from live_rooms where id = p_room_id for no key update;
    if not found then
        return false;
    end if;
    update live_room_sessions
    set status = case when status in ('scheduled', 'lobby', 'live') then 'ended' else status end,
        ended_at = coalesce(ended_at, greatest(app_now(), starts_at)), updated_at = app_now()
    where room_id = p_room_id and (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);
    get diagnostics touched = row_count;
    changed := changed or touched > 0;
    update live_room_attendance a
    set left_at = app_now(), disconnected_at = null, held_until = null
    from live_room_sessions s
    where a.live_room_id = p_room_id and a.left_at is null and s.id = a.session_id
      and s.status in ('ended', 'cancelled');
    get diagnostics touched = row_count;
    changed := changed or touched > 0;
    select * into open_session from live_room_sessions
    where room_id = p_room_id and status in ('scheduled', 'lobby', 'live');
    if (room.status, room.current_session_id, room.host_present)
       is distinct from
       (coalesce(open_session.status, 'idle'), open_session.id, coalesce(open_session.host_present, false)) then
        update live_rooms
        set status = coalesce(open_session.status, 'idle'), current_session_id = open_session.id,
            host_present = coalesce(open_session.host_present, false), updated_at = app_now()
        where id = p_room_id;
        changed := true;
    end if;
    return changed;
end $$;

-- Live rooms that settling would change: what the pass heals. Each branch starts from a partial index.
create view unsettled_live_rooms as
select r.id
from live_rooms r
left join live_room_sessions s on s.room_id = r.id and s.status in ('scheduled', 'lobby', 'live')
where (r.status <> 'idle' or r.current_session_id is not null or r.host_present)
  and (r.status, r.current_session_id, r.host_present)
      is distinct from (coalesce(s.status, 'idle'), s.id, coalesce(s.host_present, false))
union
select s.room_id
from live_room_sessions s
join live_rooms r on r.id = s.room_id
where s.status in ('scheduled', 'lobby', 'live') and r.current_session_id is distinct from s.id
union
select s.room_id from live_room_sessions s
where (s.status in ('scheduled', 'lobby', 'live')) = (s.ended_at is not null)
union
select a.live_room_id
from live_room_attendance a
where a.left_at is null
  and not exists (select from live_room_sessions s
                  where s.id = a.session_id and s.status in ('scheduled', 'lobby', 'live'));

-- ---------------------------------------------------------------- a person's room

alter table app_users
    add column live_room_id uuid constraint app_users_live_room_id_key unique
    references live_rooms on delete set null;

create function live_rooms_tell_host() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into app_users (id, live_room_id) values (new.host_user_id, new.id)
    on conflict (id) do update set live_room_id = excluded.live_room_id;
    return null;
end $$;
revoke execute on function live_rooms_tell_host() from public;
create trigger live_rooms_tell_host after insert on live_rooms
    for each row execute function live_rooms_tell_host();

-- ---------------------------------------------------------------- their rooms on LiveKit

alter table livekit_rooms
    add column live_session_id uuid constraint livekit_rooms_live_session_id_key unique
    references live_room_sessions on delete cascade;
alter table livekit_rooms
    add column owner uuid generated always as (coalesce(session_id, live_session_id)) stored,
    drop constraint livekit_rooms_one_owner,
    add constraint livekit_rooms_one_owner check (num_nonnulls(session_id, live_session_id) = 1),
    add constraint livekit_rooms_owner_key unique (owner);
drop index livekit_rooms_open;
create index livekit_rooms_open on livekit_rooms (owner) where status in ('pending', 'active', 'failed');

alter table livekit_participants
    drop constraint livekit_participants_role,
    add constraint livekit_participants_role check (role in ('host', 'guest', 'speaker', 'viewer'));

-- A live session has a room from the opening of its lobby on. Without an end it is open for as long as it lasts:
-- its window reaches a day further than any look at it.
drop view room_owners;

-- The window again, as two functions of one value each: a view whose branches have one table each is searched by the
-- owner's index, one with a lateral function in it is computed whole.
create function booking_opens_at(scheduled_at timestamptz) returns timestamptz
language sql stable parallel safe
return scheduled_at - coalesce(nullif(current_setting('greenroom.join_opens_before', true), ''), '15 min')::interval;
create function booking_closes_at(scheduled_at timestamptz, duration_minutes integer) returns timestamptz
language sql stable parallel safe
return greatest(
    scheduled_at + coalesce(nullif(current_setting('greenroom.join_closes_after', true), ''), '2 h')::interval,
    scheduled_at + make_interval(mins => duration_minutes + 15));
create or replace function booking_window(scheduled_at timestamptz, duration_minutes integer)
returns table (opens_at timestamptz, closes_at timestamptz)
language sql stable parallel safe
begin atomic
    select booking_opens_at(scheduled_at), booking_closes_at(scheduled_at, duration_minutes);
end;

create view room_owners as
select s.id as owner,
       'session' as kind,
       s.status in ('scheduled', 'in_progress')
           and app_now() < booking_closes_at(s.scheduled_at, s.duration_minutes) as open,
       booking_opens_at(s.scheduled_at) as opens_at,
       booking_closes_at(s.scheduled_at, s.duration_minutes) as closes_at,
       case when s.status = 'cancelled' then 'cancelled'
            when app_now() >= booking_closes_at(s.scheduled_at, s.duration_minutes) then 'window'
            when s.status in ('completed', 'no_show') then 'host'
       end as ended_reason,
       2 as capacity,
       s.meeting_url
from sessions s
union all
select l.id,
       'live_session',
       l.status in ('lobby', 'live'),
       coalesce(least(l.lobby_open_at, l.started_at), l.starts_at),
       greatest(l.ends_at, app_now() + interval '1 day'),
       case l.status when 'ended' then 'host' when 'cancelled' then 'cancelled' end,
       l.max_participants,
       null
from live_room_sessions l;

-- A live session that changes has its room looked at, whoever writes it and whatever crashes next.
create function live_room_sessions_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.live_session_id = new.id;
    return null;
end $$;
revoke execute on function live_room_sessions_mark_room() from public;
create trigger live_room_sessions_mark_room
    after update of status on live_room_sessions
    for each row
    when (old.status is distinct from new.status)
    execute function live_room_sessions_mark_room();

-- ---------------------------------------------------------------- the listing

-- Legacy: one row per live room, read by old clients, which also write some of its columns.
create table community_live_streams (
    id              uuid primary key,
    title           text not null default '',
    description     text not null default '',
    stream_type     text not null default 'audio',
    tags            text[] not null default '{}',
    access_level    text not null default 'public',
    cover_image_url text,
    co_hosts        text[] not null default '{}',
    scheduled_for   timestamptz,
    status          text not null default 'pending'
                    constraint community_live_streams_status check (status in ('pending', 'live', 'ended')),
    enable_chat     boolean not null default true,
    enable_polls    boolean not null default false,
    enable_replay   boolean not null default false,
    created_by      text,
    started_at      timestamptz,
    ended_at        timestamptz,
    viewer_count    integer not null default 0,
    peak_viewers    integer not null default 0,
    total_messages  integer not null default 0,
    metadata        jsonb not null default '{}',
    managed         boolean not null default false,   -- sync has written this row
    version         bigint not null default 0         -- the change feed's position, set by sync
);
create sequence live_stream_version;
-- Pages: what everybody may read, what groups may read, and the rows of groups that are one's own.
create index community_live_streams_public_by_status
    on community_live_streams (status, scheduled_for desc, id desc) where managed and access_level = 'public';
create index community_live_streams_public_by_start
    on community_live_streams (scheduled_for desc, id desc) where managed and access_level = 'public';
create index community_live_streams_group_by_status
    on community_live_streams (status, scheduled_for desc, id desc) where managed and access_level <> 'public';
create index community_live_streams_group_by_start
    on community_live_streams (scheduled_for desc, id desc) where managed and access_level <> 'public';
create index community_live_streams_group_by_host
    on community_live_streams (created_by, scheduled_for desc, id desc) where managed and access_level <> 'public';
create index community_live_streams_by_version on community_live_streams (version) where managed;

-- What the listing should say: the only definition of "aligned" (I4).
create view live_stream_projection as
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
            where a.session_id = s.id and a.left_at is null and a.lobby_status = 'admitted'
              and a.joined_at is not null and a.disconnected_at is null and a.role <> 'host')
       else 0 end as viewer_count,
       s.peak_viewers
from live_rooms r
left join live_room_sessions o on o.room_id = r.id and o.status in ('scheduled', 'lobby', 'live')
-- The open one, else the latest: each found by an index, for a room may have thousands of sessions.
cross join lateral (
    select o.* where o.id is not null
    union all
    (select l.* from live_room_sessions l where l.room_id = r.id and o.id is null
     order by coalesce(l.started_at, l.starts_at) desc, l.created_at desc, l.id desc
     limit 1)) s;

-- The rows that are not as they should be, as they should be: what sync writes and what the comparison counts. A
-- version that the sequence has not given was typed by hand, and would hide every later one from the change feed.
create view unaligned_live_streams as
select p.*
from live_stream_projection p
left join community_live_streams c on c.id = p.id
where (p.id, p.title, p.description, p.tags, p.access_level, p.cover_image_url, p.scheduled_for, p.status,
       p.created_by, p.started_at, p.ended_at, p.viewer_count, p.peak_viewers)
      is distinct from
      (c.id, c.title, c.description, c.tags, c.access_level, c.cover_image_url, c.scheduled_for, c.status,
       c.created_by, c.started_at, c.ended_at, c.viewer_count, c.peak_viewers)
   or not c.managed
   or c.version not between 1 and (select last_value from live_stream_version);

-- "Make this room's row anew": append-only, no unique key, no foreign key. A writer never waits for sync, and a mark
-- made while sync works survives.
create table live_stream_dirty (
    id              bigint generated always as identity primary key,
    live_room_id    uuid not null,
    marked_at       timestamptz not null default app_now(),
    attempts        integer not null default 0,
    next_attempt_at timestamptz,
    last_error      text
);
-- Marks whose row could not be written: few, and asked for with every batch.
create index live_stream_dirty_set_aside on live_stream_dirty (live_room_id, next_attempt_at)
    where next_attempt_at is not null;

create function mark_streams_of_rooms() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select id from touched;
    if found then
        perform pg_notify('live_stream_dirty', '');
    end if;
    return null;
end $$;
create trigger live_rooms_insert_mark_stream after insert on live_rooms
    referencing new table as touched for each statement execute function mark_streams_of_rooms();
create trigger live_rooms_update_mark_stream after update on live_rooms
    referencing new table as touched for each statement execute function mark_streams_of_rooms();

create function mark_streams_of_sessions() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select distinct room_id from touched;
    if found then
        perform pg_notify('live_stream_dirty', '');
    end if;
    return null;
end $$;
create trigger live_room_sessions_insert_mark_stream after insert on live_room_sessions
    referencing new table as touched for each statement execute function mark_streams_of_sessions();
create trigger live_room_sessions_update_mark_stream after update on live_room_sessions
    referencing new table as touched for each statement execute function mark_streams_of_sessions();
create trigger live_room_sessions_delete_mark_stream after delete on live_room_sessions
    referencing old table as touched for each statement execute function mark_streams_of_sessions();

-- No NOTIFY for seats: it serialises commits, and sync polls.
create function mark_streams_of_seats() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select distinct live_room_id from touched;
    return null;
end $$;
create trigger live_room_attendance_insert_mark_stream after insert on live_room_attendance
    referencing new table as touched for each statement execute function mark_streams_of_seats();
create trigger live_room_attendance_update_mark_stream after update on live_room_attendance
    referencing new table as touched for each statement execute function mark_streams_of_seats();
create trigger live_room_attendance_delete_mark_stream after delete on live_room_attendance
    referencing old table as touched for each statement execute function mark_streams_of_seats();

-- Whoever but sync writes what sync keeps has the row made anew.
create function mark_stream() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        insert into live_stream_dirty (live_room_id) values (old.id);
    else
        insert into live_stream_dirty (live_room_id) values (new.id);
    end if;
    perform pg_notify('live_stream_dirty', '');
    return null;
end $$;
create trigger community_live_streams_mark after insert or delete on community_live_streams
    for each row when (coalesce(current_setting('greenroom.sync', true), '') <> 'on')
    execute function mark_stream();
create trigger community_live_streams_update_mark after update on community_live_streams
    for each row when (coalesce(current_setting('greenroom.sync', true), '') <> 'on'
        and (old.id, old.title, old.description, old.tags, old.access_level, old.cover_image_url, old.scheduled_for,
             old.status, old.created_by, old.started_at, old.ended_at, old.viewer_count, old.peak_viewers,
             old.managed, old.version)
            is distinct from
            (new.id, new.title, new.description, new.tags, new.access_level, new.cover_image_url, new.scheduled_for,
             new.status, new.created_by, new.started_at, new.ended_at, new.viewer_count, new.peak_viewers,
             new.managed, new.version))
    execute function mark_stream();

revoke execute on function mark_streams_of_rooms(), mark_streams_of_sessions(), mark_streams_of_seats(), mark_stream()
    from public;

-- ---------------------------------------------------------------- clean-up

-- Brings every live room that the replaced systems left stuck into order, and says what it did. Safe at any time,
-- beside the running services, and again: the second run finds nothing.
create function repair_live_rooms(out sessions bigint, out reset bigint, out pointed bigint, out streams bigint)
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    room uuid;
begin
    select count(*) into sessions from live_room_sessions
    where (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);
    reset := 0;
    pointed := 0;
    for room in select id from unsettled_live_rooms order by id loop
        if settle_live_room(room) then
            if exists (select from live_rooms where id = room and status = 'idle') then
                reset := reset + 1;
            else
                pointed := pointed + 1;
            end if;
        end if;
    end loop;
    perform set_config('greenroom.sync', 'on', true);
    with stuck as (
        select c.id, p.started_at, coalesce(p.ended_at, app_now()) as ended_at
        from community_live_streams c
        join live_rooms r on r.id = c.id
        left join live_stream_projection p on p.id = c.id
        where c.status in ('live', 'pending') and coalesce(p.status, 'ended') = 'ended'),
    ended as (
        update community_live_streams c
        set status = 'ended', started_at = stuck.started_at, ended_at = stuck.ended_at, viewer_count = 0
        from stuck where c.id = stuck.id
        returning c.id),
    marked as (
        insert into live_stream_dirty (live_room_id) select id from ended)
    select count(*) into streams from ended;
    perform set_config('greenroom.sync', '', true);
    raise notice 'Ended % stuck sessions', sessions;
    raise notice 'Reset % stuck rooms to idle', reset;
    raise notice 'Pointed % rooms at their open session', pointed;
    raise notice 'Synced % stuck streams to ended', streams;
end $$;
revoke execute on function repair_live_rooms() from public;
select repair_live_rooms();

-- ---------------------------------------------------------------- who may write what

create or replace function greenroom_grants() returns void
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    service text;
    writes constant jsonb := '{
        "booking": ["sessions", "session_participants", "notifications"],
        "room_lifecycle": ["livekit_rooms", "livekit_room_names", "livekit_participants", "livekit_events",
                           "room_marks", "deployment",
                           "live_rooms", "live_room_sessions", "live_room_attendance", "live_room_bans"],
        "token": [],
        "sync": ["community_live_streams", "live_stream_dirty"]}';
    tbl text;
begin
    for service in select jsonb_object_keys(writes) loop
        continue when not exists (select from pg_roles where rolname = 'greenroom_' || service);
        execute format('grant usage on schema public to %I', 'greenroom_' || service);
        execute format('grant select on all tables in schema public to %I', 'greenroom_' || service);
        for tbl in select jsonb_array_elements_text(writes -> service) loop
            execute format('grant insert, update, delete on %I to %I', tbl, 'greenroom_' || service);
        end loop;
    end loop;
    if exists (select from pg_roles where rolname = 'greenroom_booking') then
        grant execute on function remember_person(text, text, text, text) to greenroom_booking;
    end if;
    if exists (select from pg_roles where rolname = 'greenroom_room_lifecycle') then
        grant insert on notifications to greenroom_room_lifecycle;
        grant execute on function remember_person(text, text, text, text) to greenroom_room_lifecycle;
    end if;
    if exists (select from pg_roles where rolname = 'greenroom_token') then
        grant execute on function remember_person(text, text, text, text) to greenroom_token;
    end if;
    if exists (select from pg_roles where rolname = 'greenroom_sync') then
        grant usage, select on sequence live_stream_version to greenroom_sync;
    end if;
    if exists (select from pg_roles where rolname = 'greenroom_legacy') then
        grant usage on schema public to greenroom_legacy;
        grant select on community_live_streams to greenroom_legacy;
        grant update (enable_chat, enable_polls, enable_replay, total_messages, co_hosts, metadata)
            on community_live_streams to greenroom_legacy;
    end if;
end $$;
select greenroom_grants();
