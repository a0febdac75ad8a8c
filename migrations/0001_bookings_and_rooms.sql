-- Bookings, their LiveKit rooms, and what the services need to agree on them (docs/architecture.md).
-- Each rule is a named constraint: the name is what code maps to an error.

create extension if not exists btree_gist;

-- The one clock. Tests and drills move it with `alter database … set greenroom.clock_offset = '1 hour'`.
-- Marked stable so that comparisons with it can use an index; it is evaluated where it stands. In plpgsql, which
-- keeps its plan: an SQL function that is not inlined is parsed and planned anew by every statement that calls it.
create function app_now() returns timestamptz
language plpgsql stable parallel safe
as $$
begin
    return clock_timestamp()
        + coalesce(nullif(current_setting('greenroom.clock_offset', true), ''), '0')::interval;
end $$;

-- ---------------------------------------------------------------- people

create table app_users (
    id           text primary key constraint app_users_id_length check (octet_length(id) between 1 and 200),
    display_name text,
    email        text,
    avatar_url   text,
    nostr_pubkey text constraint app_users_nostr_pubkey_key unique,
    seen_at      timestamptz not null default app_now()
);

-- Upserts a person; writes nothing when nothing changed, so that it may stand on hot paths.
-- Empty texts mean "not told" and keep what is known.
create function remember_person(p_id text, p_name text, p_email text, p_picture text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into app_users (id, display_name, email, avatar_url)
    values (p_id, nullif(p_name, ''), nullif(p_email, ''), nullif(p_picture, ''))
    on conflict (id) do update
    set display_name = coalesce(excluded.display_name, app_users.display_name),
        email        = coalesce(excluded.email, app_users.email),
        avatar_url   = coalesce(excluded.avatar_url, app_users.avatar_url),
        seen_at      = app_now()
    where (coalesce(excluded.display_name, app_users.display_name),
           coalesce(excluded.email, app_users.email),
           coalesce(excluded.avatar_url, app_users.avatar_url))
          is distinct from (app_users.display_name, app_users.email, app_users.avatar_url);
end $$;
revoke execute on function remember_person(text, text, text, text) from public;

-- ---------------------------------------------------------------- bookings

create table sessions (
    id               uuid primary key default gen_random_uuid(),
    host_id          text not null constraint sessions_host_id_length check (octet_length(host_id) between 1 and 200),
    guest_id         text not null constraint sessions_guest_id_length check (octet_length(guest_id) between 1 and 200),
    mentor_id        text generated always as (host_id) stored,
    mentee_id        text generated always as (guest_id) stored,
    created_by       text not null,
    title            text not null constraint sessions_title_length check (char_length(title) between 1 and 200),
    description      text not null default ''
                     constraint sessions_description_length check (char_length(description) <= 5000),
    -- 'infinity' and the like are times to Postgres, and to no program that reads them.
    scheduled_at     timestamptz not null
                     constraint sessions_scheduled_at
                     check (scheduled_at >= '1970-01-01 00:00Z' and scheduled_at < '9000-01-01 00:00Z'),
    duration_minutes integer not null
                     constraint sessions_duration check (duration_minutes between 5 and 720),
    status           text not null default 'scheduled'
                     constraint sessions_status
                     check (status in ('scheduled', 'in_progress', 'completed', 'cancelled', 'no_show')),
    meeting_url      text not null,
    guest_name       text,
    guest_email      text,
    idempotency_key  text constraint sessions_idempotency_key_length check (char_length(idempotency_key) <= 200),
    request_hash     bytea,
    sequence         integer not null default 0,
    link_version     integer not null default 1,
    created_at       timestamptz not null default app_now(),
    updated_at       timestamptz not null default app_now(),
    cancelled_at     timestamptz,
    cancel_reason    text constraint sessions_cancel_reason_length check (char_length(cancel_reason) <= 1000),
    constraint sessions_host_is_not_guest check (host_id <> guest_id),
    constraint sessions_idempotency_key unique (created_by, idempotency_key)
);
create index sessions_by_host on sessions (host_id, scheduled_at desc, id desc);
create index sessions_by_guest on sessions (guest_id, scheduled_at desc, id desc);
create index sessions_pair_created on sessions (host_id, guest_id, created_at);
create index sessions_open_by_creator on sessions (created_by) where status in ('scheduled', 'in_progress');
create index sessions_open_by_start on sessions (scheduled_at) where status in ('scheduled', 'in_progress');

create table session_participants (
    session_id uuid not null references sessions on delete cascade,
    user_id    text not null,
    role       text not null constraint session_participants_role check (role in ('host', 'guest')),
    slot       tstzrange not null,
    active     boolean not null default true,
    primary key (session_id, user_id),
    -- I7: nobody has two overlapping active bookings, in either role.
    constraint session_participants_no_overlap
        exclude using gist (user_id with =, slot with &&) where (active)
);

-- When a booking can be joined: the only definition. `greenroom migrate` stores the settings
-- JOIN_OPENS_BEFORE and JOIN_CLOSES_AFTER in the database, so that all services and psql agree.
create function booking_window(scheduled_at timestamptz, duration_minutes integer)
returns table (opens_at timestamptz, closes_at timestamptz)
language sql stable parallel safe
begin atomic
    select scheduled_at - coalesce(nullif(current_setting('greenroom.join_opens_before', true), ''), '15 min')::interval,
           greatest(
               scheduled_at + coalesce(nullif(current_setting('greenroom.join_closes_after', true), ''), '2 h')::interval,
               scheduled_at + make_interval(mins => duration_minutes + 15));
end;

-- What happened, written in the transaction that made it happen. user_id null: for the admins.
create table notifications (
    id         uuid primary key default gen_random_uuid(),
    user_id    text,
    kind       text not null,
    session_id uuid references sessions on delete cascade,
    payload    jsonb not null default '{}',
    dedupe_key text not null constraint notifications_dedupe_key unique,
    created_at timestamptz not null default app_now(),
    read_at    timestamptz
);
create index notifications_by_user on notifications (user_id, created_at desc, id desc);
create index notifications_by_session on notifications (session_id);

-- ---------------------------------------------------------------- rooms on LiveKit

create table livekit_rooms (
    id               uuid primary key default gen_random_uuid(),
    session_id       uuid constraint livekit_rooms_session_id_key unique references sessions on delete cascade,
    room_name        text not null constraint livekit_rooms_room_name_key unique,
    room_sid         text,
    generation       integer not null default 1 constraint livekit_rooms_generation check (generation >= 1),
    status           text not null default 'pending'
                     constraint livekit_rooms_status check (status in ('pending', 'active', 'ended', 'failed')),
    ended_reason     text constraint livekit_rooms_ended_reason check (ended_reason in ('host', 'cancelled', 'window')),
    max_participants integer not null constraint livekit_rooms_max_participants check (max_participants > 0),
    made_at          timestamptz,   -- when this generation was made on LiveKit
    expires_at       timestamptz,   -- when LiveKit's own timers would end it: the window it was made for, and 1 h
    confirmed_at     timestamptz,   -- when it was last seen there; in no index
    closing_at       timestamptz,
    watched_until    timestamptz,
    attempts         integer not null default 0,
    next_attempt_at  timestamptz,
    last_error       text,
    created_at       timestamptz not null default app_now(),
    ended_at         timestamptz,
    constraint livekit_rooms_one_owner check (num_nonnulls(session_id) = 1),
    constraint livekit_rooms_active_has_sid check (status <> 'active' or room_sid is not null)
) with (fillfactor = 80);
create index livekit_rooms_open on livekit_rooms (session_id) where status in ('pending', 'active', 'failed');
create index livekit_rooms_watched on livekit_rooms (watched_until) where watched_until is not null;

-- Every name ever used, written with the intent; no foreign key: a name stays known when its room is gone.
create table livekit_room_names (
    room_name  text primary key,
    room_id    uuid not null,
    generation integer not null
);

create table livekit_participants (
    room_id         uuid not null references livekit_rooms on delete cascade,
    user_id         text not null,
    role            text not null constraint livekit_participants_role check (role in ('host', 'guest')),
    display_name    text,
    status          text not null default 'invited'
                    constraint livekit_participants_status check (status in ('invited', 'joined', 'left', 'kicked')),
    participant_sid text,
    joined_at       timestamptz,
    left_at         timestamptz,
    kicked_at       timestamptz,
    absent_since    timestamptz,   -- the first look that did not find him; the second one, 5 s later, believes it
    primary key (room_id, user_id)
);
create index livekit_participants_joined on livekit_participants (room_id) where status = 'joined';

-- LiveKit's webhooks and our own milestones; append-only, removed by age in batches.
create table livekit_events (
    event_id        text constraint livekit_events_event_id_key primary key,
    room_id         uuid,
    room_sid        text,
    event_type      text not null,
    identity        text,
    participant_sid text,
    payload         jsonb not null default '{}',
    received_at     timestamptz not null default app_now()
);
create index livekit_events_by_room on livekit_events (room_id, received_at);
create index livekit_events_by_participant on livekit_events (room_id, identity) where identity is not null;
create index livekit_events_by_age on livekit_events (received_at);

-- "Look at this room": names a room and states no fact.
create table room_marks (
    id         bigint generated always as identity primary key,
    room_id    uuid not null,
    not_before timestamptz not null default app_now()
);
create index room_marks_due on room_marks (not_before);

create function mark_room(p_room_id uuid, p_not_before timestamptz default app_now()) returns void
language plpgsql volatile
as $$
begin
    insert into room_marks (room_id, not_before) values (p_room_id, p_not_before);
    perform pg_notify('room_marks', '');
end $$;

-- Which LiveKit this deployment belongs to, and which database it was written in: a clone or a restored copy
-- must not delete the original's rooms.
create table deployment (
    only_row          boolean primary key default true constraint deployment_only_row check (only_row),
    id                uuid not null default gen_random_uuid(),
    livekit_url       text,
    api_key_id        text,
    database_identity text
);

-- Differs between a database and its copy in the same cluster (oid) or in another one (system identifier);
-- the same after a failover to a replica.
create function database_identity() returns text
language sql stable
return (select system_identifier::text from pg_control_system())
    || '/' || (select oid::text from pg_database where datname = current_database());
insert into deployment default values;

-- Who owns rooms, whether they are open now and until when: the only definition, for token, passes,
-- EnsureRoom and diagnosis alike.
create view room_owners as
select s.id as owner,
       s.status in ('scheduled', 'in_progress') and app_now() < w.closes_at as open,
       w.opens_at,
       w.closes_at,
       case when s.status = 'cancelled' then 'cancelled'
            when app_now() >= w.closes_at then 'window'
            when s.status in ('completed', 'no_show') then 'host'
       end as ended_reason
from sessions s
cross join lateral booking_window(s.scheduled_at, s.duration_minutes) w;

-- A booking that moves, ends or is cancelled has its room looked at, whoever writes it and whatever crashes next.
create function sessions_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.session_id = new.id;
    return null;
end $$;
revoke execute on function sessions_mark_room() from public;
create trigger sessions_mark_room
    after update of status, scheduled_at, duration_minutes on sessions
    for each row
    when ((old.status, old.scheduled_at, old.duration_minutes)
          is distinct from (new.status, new.scheduled_at, new.duration_minutes))
    execute function sessions_mark_room();

-- Somebody joined: the booking may be in progress now. Only a nudge; the pass reads what is so.
create function livekit_participants_notify() returns trigger
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform pg_notify('attendance', '');
    return null;
end $$;
create trigger livekit_participants_notify
    after update of status on livekit_participants
    for each row
    when (new.status = 'joined' and old.status <> 'joined')
    execute function livekit_participants_notify();

-- ---------------------------------------------------------------- who may write what

-- The table of docs/architecture.md. Repeatable: each migration replaces it by the whole table and calls it,
-- `greenroom migrate` calls it again, for roles that were made later. Roles that do not exist are passed over.
create function greenroom_grants() returns void
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    service text;
    writes constant jsonb := '{
        "booking": ["sessions", "session_participants", "notifications"],
        "room_lifecycle": ["livekit_rooms", "livekit_room_names", "livekit_participants", "livekit_events",
                           "room_marks", "deployment"],
        "token": [],
        "sync": []}';
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
    end if;
    if exists (select from pg_roles where rolname = 'greenroom_token') then
        grant execute on function remember_person(text, text, text, text) to greenroom_token;
    end if;
end $$;
revoke execute on function greenroom_grants() from public;
select greenroom_grants();
