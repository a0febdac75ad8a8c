-- Nests: open audio rooms of Nostr clients (docs/nests.md). Their rooms on LiveKit have the same records, passes and
-- generations as all others.

create table nests (
    id             uuid primary key default gen_random_uuid(),
    created_by     text not null constraint nests_created_by_is_a_key check (created_by ~ '^[0-9a-f]{64}$'),
    relays         text[] not null default '{}'
                   constraint nests_relays check (cardinality(relays) <= 20),
    hls_stream     boolean not null default false,
    guests_allowed boolean not null default true,
    status         text not null default 'open' constraint nests_status check (status in ('open', 'ended')),
    created_at     timestamptz not null default app_now(),
    ended_at       timestamptz,
    constraint nests_ended_has_a_time check ((status = 'ended') = (ended_at is not null))
);
create index nests_open on nests (created_at) where status = 'open';

create table nest_participants (
    nest_id    uuid not null references nests on delete cascade,
    pubkey     text not null constraint nest_participants_pubkey_is_a_key check (pubkey ~ '^[0-9a-f]{64}$'),
    is_admin   boolean not null default false,
    is_speaker boolean not null default false,
    joined_at  timestamptz not null default app_now(),
    primary key (nest_id, pubkey)
);
-- Those who are more than listeners: all that /info names.
create index nest_participants_named on nest_participants (nest_id) where is_admin or is_speaker;
-- Whether somebody has just joined.
create index nest_participants_recent on nest_participants (nest_id, joined_at);

-- Signed requests that were carried out: each is accepted once. Logged, although it matters for minutes: a crash of
-- Postgres, which keeps their effects, must not let them be carried out again.
create table nostr_seen (
    event_id   bytea not null,
    body_hash  bytea not null,
    expires_at timestamptz not null,
    constraint nostr_seen_once primary key (event_id, body_hash)
);
create index nostr_seen_expired on nostr_seen (expires_at);

-- ---------------------------------------------------------------- their rooms on LiveKit

alter table livekit_rooms
    add column nest_id uuid constraint livekit_rooms_nest_id_key unique references nests on delete cascade,
    drop constraint livekit_rooms_one_owner,
    add constraint livekit_rooms_one_owner check (num_nonnulls(session_id, live_session_id, nest_id) = 1);
-- The expression of a generated column cannot be changed in place; its indexes go with it.
alter table livekit_rooms drop column owner;
alter table livekit_rooms
    add column owner uuid generated always as (coalesce(session_id, live_session_id, nest_id)) stored,
    add constraint livekit_rooms_owner_key unique (owner);
create index livekit_rooms_open on livekit_rooms (owner) where status in ('pending', 'active', 'failed');

alter table livekit_participants
    drop constraint livekit_participants_role,
    add constraint livekit_participants_role
    check (role in ('host', 'guest', 'speaker', 'viewer', 'admin', 'listener'));

-- A nest is open until its host or emptiness ends it: its window reaches a day further than any look at it.
-- 45 people, and LiveKit's fence of 5 around them, are the 50 that clients know.
create or replace view room_owners as
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
from live_room_sessions l
union all
select n.id,
       'nest',
       n.status = 'open',
       n.created_at,
       app_now() + interval '1 day',
       case n.status when 'ended' then 'host' end,
       45,
       null
from nests n;

create function nests_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.nest_id = new.id;
    return null;
end $$;
revoke execute on function nests_mark_room() from public;
create trigger nests_mark_room
    after update of status on nests
    for each row
    when (old.status is distinct from new.status)
    execute function nests_mark_room();

-- ---------------------------------------------------------------- who may write what

-- The rights of the roles `greenroom_<service>`, as GRANT words them: what a migration makes, it adds here, and calls the
-- function. `greenroom migrate` calls it again, for roles that were made later; roles that do not exist are passed over.
-- Who drops or renames a thing changes its rows here; a right that is taken back needs a `revoke` as well.
create table service_grants (
    service text not null,
    rights  text not null,
    objects text not null,
    primary key (service, rights, objects)
);
insert into service_grants (service, rights, objects) values
    ('booking', 'usage', 'schema public'),
    ('booking', 'select', 'all tables in schema public'),
    ('booking', 'insert, update, delete', 'sessions, session_participants, notifications'),
    ('booking', 'execute', 'function remember_person(text, text, text, text)'),
    ('room_lifecycle', 'usage', 'schema public'),
    ('room_lifecycle', 'select', 'all tables in schema public'),
    ('room_lifecycle', 'insert, update, delete',
     'livekit_rooms, livekit_room_names, livekit_participants, livekit_events, room_marks, deployment'),
    ('room_lifecycle', 'insert, update, delete',
     'live_rooms, live_room_sessions, live_room_attendance, live_room_bans'),
    ('room_lifecycle', 'insert, update, delete', 'nests, nest_participants, nostr_seen'),
    ('room_lifecycle', 'insert', 'notifications'),
    ('room_lifecycle', 'execute', 'function remember_person(text, text, text, text)'),
    ('token', 'usage', 'schema public'),
    ('token', 'select', 'all tables in schema public'),
    ('token', 'execute', 'function remember_person(text, text, text, text)'),
    ('sync', 'usage', 'schema public'),
    ('sync', 'select', 'all tables in schema public'),
    ('sync', 'insert, update, delete', 'community_live_streams, live_stream_dirty'),
    ('sync', 'usage, select', 'sequence live_stream_version'),
    ('legacy', 'usage', 'schema public'),
    ('legacy', 'select', 'community_live_streams'),
    ('legacy', 'update (enable_chat, enable_polls, enable_replay, total_messages, co_hosts, metadata)',
     'community_live_streams');

create or replace function greenroom_grants() returns void
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    given record;
begin
    for given in
        select g.rights, g.objects, r.rolname
        from service_grants g join pg_roles r on r.rolname = 'greenroom_' || g.service
    loop
        execute format('grant %s on %s to %I', given.rights, given.objects, given.rolname);
    end loop;
end $$;
select greenroom_grants();
