-- The tables of Greenroom: one section for each noun, from bookings to the listing.
--
-- Everything is in the schema `greenroom`, so that it can share a database with other applications. PUBLIC has no
-- right on that schema. Views, functions and triggers are in ../routines, one file each; the functions here are those
-- that columns are computed with.
--
-- Each rule is a named constraint: programs map the name to an error. Times are timestamptz, ids are uuid, and a
-- status is text with a check.
--
-- What is open has a column of its own, which is null in all other rows, and its partial index is on that column
-- (docs/decisions/0019). A partial index is considered by every statement whose conditions imply its predicate. No
-- condition on another column implies that such a column is not null, so only statements that name it use its index.

-- An extension that exists keeps its schema. Both are trusted: the owner of the database may create them.
create extension if not exists btree_gist with schema greenroom; -- equality beside ranges in one index
create extension if not exists pg_trgm with schema greenroom;    -- text search by index

-- Names without a schema are ours; an extension's schema is searched for its operator classes.
select set_config('search_path', concat_ws(', ', 'greenroom', string_agg(distinct quote_ident(n.nspname), ', ')), true)
from pg_extension e join pg_namespace n on n.oid = e.extnamespace
where e.extname in ('btree_gist', 'pg_trgm') and n.nspname <> 'greenroom';

-- ---------------------------------------------------------------- the clock

-- The one clock. Tests and drills move it with `alter database … set greenroom.clock_offset = '1 hour'`.
-- Stable, so that comparisons with it can use an index, although it is evaluated at each call. In plpgsql, which keeps
-- its plan: an SQL function that is not inlined is planned again by every statement that calls it.
create function app_now() returns timestamptz
language plpgsql stable parallel safe
as $$
begin
    return clock_timestamp()
        + coalesce(nullif(current_setting('greenroom.clock_offset', true), ''), '0')::interval;
end $$;

-- ---------------------------------------------------------------- routines

-- Every text of ../routines that was applied, by its SHA-256. The youngest row of a name is in effect; a program
-- starts when all its texts were applied at any time, because migrations and routines only expand.
create table applied_routines (
    name       text not null,
    checksum   bytea not null,
    applied_at timestamptz not null default clock_timestamp(),
    primary key (name, checksum)
);

-- ---------------------------------------------------------------- settings

-- The settings of `greenroom migrate`, for all services and psql. A change applies from the next statement on.
create table settings (
    name       text primary key,
    value      text not null,
    updated_at timestamptz not null default app_now(),
    constraint settings_windows
        check (name not in ('join_opens_before', 'join_closes_after') or isfinite(value::interval))
);
insert into settings (name, value) values ('join_opens_before', '15 min'), ('join_closes_after', '2 h');

-- ---------------------------------------------------------------- users

-- What tokens say of users (written through upsert_user()), and what users chose.
create table app_users (
    id             text primary key constraint app_users_id_length check (octet_length(id) between 1 and 200),
    display_name   text,
    email          text,
    email_verified boolean,   -- null: the identity provider does not say. False: mail counts as mail to a stranger
    avatar_url     text,
    -- The locale is a BCP 47 tag and the time zone an IANA name: the claims of the token, and what the user chose, which
    -- is written through set_preferences().
    locale           text constraint app_users_locale_length check (octet_length(locale) <= 35),
    zoneinfo         text constraint app_users_zoneinfo_length check (octet_length(zoneinfo) <= 64),
    chosen_locale    text constraint app_users_chosen_locale_length check (octet_length(chosen_locale) <= 35),
    chosen_time_zone text constraint app_users_chosen_time_zone_length check (octet_length(chosen_time_zone) <= 64),
    nostr_pubkey   text constraint app_users_nostr_pubkey_key unique,
    live_room_id   uuid constraint app_users_live_room_id_key unique,   -- references live_rooms, which follow below
    seen_at        timestamptz not null default app_now()
);

-- ---------------------------------------------------------------- bookings

create table sessions (
    id               uuid primary key default gen_random_uuid(),
    host_id          text not null
                     constraint sessions_host_id_length check (octet_length(host_id) between 1 and 200),
    guest_id         text not null
                     constraint sessions_guest_id_length check (octet_length(guest_id) between 1 and 200),
    mentor_id        text generated always as (host_id) stored,    -- the names that old clients read
    mentee_id        text generated always as (guest_id) stored,
    created_by       text not null,
    title            text not null constraint sessions_title_length check (char_length(title) between 1 and 200),
    description      text not null default ''
                     constraint sessions_description_length check (char_length(description) <= 5000),
    -- Postgres accepts 'infinity' and the like; programs cannot represent them.
    scheduled_at     timestamptz not null
                     constraint sessions_scheduled_at
                     check (scheduled_at >= '1970-01-01 00:00Z' and scheduled_at < '9000-01-01 00:00Z'),
    duration_minutes integer not null
                     constraint sessions_duration check (duration_minutes between 5 and 720),
    status           text not null default 'scheduled'
                     constraint sessions_status
                     check (status in ('scheduled', 'in_progress', 'completed', 'cancelled', 'no_show')),
    time_zone        text       -- an IANA name; null: not given
                     constraint sessions_time_zone_length check (octet_length(time_zone) between 1 and 64),
    meeting_url      text not null,
    guest_name       text,      -- as the creator named the guest, until the guest signs in
    guest_email      text,
    idempotency_key  text constraint sessions_idempotency_key_length check (char_length(idempotency_key) <= 200),
    request_hash     bytea,
    sequence         integer not null default 0,    -- SEQUENCE of the calendar event
    link_version     integer not null default 1,    -- calendar links of earlier versions are revoked
    cancelled_at     timestamptz,
    cancel_reason    text constraint sessions_cancel_reason_length check (char_length(cancel_reason) <= 1000),
    created_at       timestamptz not null default app_now(),
    updated_at       timestamptz not null default app_now(),
    open_start       timestamptz
                     generated always as (case when status in ('scheduled', 'in_progress')
                                               then scheduled_at end) stored,
    open_creator     text
                     generated always as (case when status in ('scheduled', 'in_progress')
                                               then created_by end) stored,
    constraint sessions_host_is_not_guest check (host_id <> guest_id),
    constraint sessions_idempotency_key unique (created_by, idempotency_key)
);
create index sessions_by_host on sessions (host_id, scheduled_at desc, id desc);
create index sessions_by_guest on sessions (guest_id, scheduled_at desc, id desc);
create index sessions_pair_created on sessions (host_id, guest_id, created_at);
create index sessions_open_by_start on sessions (open_start) where open_start is not null;
create index sessions_open_by_creator on sessions (open_creator) where open_creator is not null;

create table session_participants (
    session_id uuid not null references sessions on delete cascade,
    user_id    text not null,
    role       text not null constraint session_participants_role check (role in ('host', 'guest')),
    slot       tstzrange not null,
    active     boolean not null default true,
    primary key (session_id, user_id),
    -- I7: the active bookings of a user do not overlap, in either role.
    constraint session_participants_no_overlap
        exclude using gist (user_id with =, slot with &&) where (active)
);

-- ---------------------------------------------------------------- notifications

-- What happened, written in the transaction that made it happen.
create table notifications (
    id               uuid primary key default gen_random_uuid(),
    user_id          text,          -- null: for the admins
    kind             text not null,
    session_id       uuid references sessions on delete cascade,
    payload          jsonb not null default '{}',
    dedupe_key       text not null constraint notifications_dedupe_key unique,
    created_at       timestamptz not null default app_now(),
    read_at          timestamptz,
    expanded_at      timestamptz,   -- when it was expanded into a delivery for each channel
    unexpanded_since timestamptz
                     generated always as (case when expanded_at is null then created_at end) stored
);
create index notifications_by_user on notifications (user_id, created_at desc, id desc);
create index notifications_by_session on notifications (session_id);
create index notifications_unexpanded on notifications (unexpanded_since, id) where unexpanded_since is not null;

-- ---------------------------------------------------------------- deliveries

-- One notification on one channel: pending, then delivered, dead (given up after 72 h) or dropped.
create table notification_deliveries (
    id                uuid primary key default gen_random_uuid(),
    notification_id   uuid not null references notifications on delete cascade,
    channel           text not null constraint notification_deliveries_channel check (channel in ('email', 'webhook')),
    stream_key        text not null,   -- within it and its channel, deliveries are made in the order of seq
    seq               bigint generated always as identity,
    due_at            timestamptz not null default app_now(),
    attempts          integer not null default 0,
    leased_until      timestamptz,
    lease_id          uuid,
    delivered_at      timestamptz,
    dead_at           timestamptz,     -- given up: the deliveries behind it in its stream continue
    dropped_at        timestamptz,     -- no longer true, or there is no recipient
    last_error        text,
    stranger          text,            -- of an e-mail: its address, if no user has signed in with it
    inviter           text,            -- the user who named that address
    refused_recipient text,            -- the address that the mail server refused, in lower case; 'admins'
    refused_at        timestamptz,
    waits_for         text,            -- the user whose address is not known; it waits until due_at at most
    waited            boolean not null default false,   -- its text is that of the booking at the time of sending
    created_at        timestamptz not null default app_now(),
    constraint notification_deliveries_once unique (notification_id, channel)
);
-- Pending deliveries, however many were delivered.
create index notification_deliveries_pending on notification_deliveries (stream_key, channel, seq)
    where delivered_at is null and dead_at is null and dropped_at is null;
create index notification_deliveries_due on notification_deliveries (channel, due_at)
    where delivered_at is null and dead_at is null and dropped_at is null;
create index notification_deliveries_oldest on notification_deliveries (channel, seq)
    where delivered_at is null and dead_at is null and dropped_at is null;
create index notification_deliveries_dead on notification_deliveries (channel, created_at desc, id desc)
    where dead_at is not null;
-- Concluded deliveries are deleted by age.
create index notification_deliveries_concluded on notification_deliveries ((coalesce(delivered_at, dropped_at)))
    where coalesce(delivered_at, dropped_at) is not null;
-- Limits: the e-mails of the last hour to an unverified address, and because of one inviter.
create index notification_deliveries_by_stranger on notification_deliveries (stranger, created_at)
    where stranger is not null;
create index notification_deliveries_by_inviter on notification_deliveries (inviter, created_at)
    where inviter is not null;
-- Recipients that were refused lately: after a failure of the mail server, another recipient is tried first.
create index notification_deliveries_refused on notification_deliveries (refused_recipient, refused_at)
    where refused_at is not null;
create index notification_deliveries_waiting on notification_deliveries (waits_for) where waits_for is not null;
create index notification_deliveries_waiting_newest on notification_deliveries (created_at desc, id desc)
    where waits_for is not null;

-- ---------------------------------------------------------------- live rooms

-- The truth about a live room is its one open session. `status`, `current_session_id` and `host_present` are a
-- projection of that session, which refresh_live_room() writes. The database does not forbid other values: old clients
-- write them, and the pass corrects them.
create table live_rooms (
    id                 uuid primary key default gen_random_uuid(),
    host_user_id       text not null constraint live_rooms_host_user_id_key unique
                       constraint live_rooms_host_user_id_length check (octet_length(host_user_id) between 1 and 200),
    title              text not null default '' constraint live_rooms_title_length check (char_length(title) <= 200),
    description        text not null default ''
                       constraint live_rooms_description_length check (char_length(description) <= 5000),
    room_name          text not null
                       constraint live_rooms_room_name_length check (char_length(room_name) between 1 and 200),
    room_slug          text not null constraint live_rooms_room_slug_key unique
                       constraint live_rooms_room_slug_form check (room_slug ~ '^[a-z0-9][a-z0-9-]{0,99}$'),
    cover_image_url    text,
    topic_keys         text[] not null default '{}',
    access_level       text not null default 'public'
                       constraint live_rooms_access_level check (access_level in ('public', 'group')),
    status             text not null default 'idle'
                       constraint live_rooms_status check (status in ('idle', 'scheduled', 'lobby', 'live')),
    current_session_id uuid,        -- references live_room_sessions, which follow below
    host_present       boolean not null default false,
    metadata           jsonb not null default '{}',
    created_at         timestamptz not null default app_now(),
    updated_at         timestamptz not null default app_now()
);
-- Rooms whose projection says that a session is open: the few that a pass compares.
create index live_rooms_busy on live_rooms (id)
    where status <> 'idle' or current_session_id is not null or host_present;
create index live_rooms_current_session on live_rooms (current_session_id) where current_session_id is not null;

alter table app_users add constraint app_users_live_room_id_fkey
    foreign key (live_room_id) references live_rooms on delete set null;

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
                         constraint live_room_sessions_ends_at
                         check (ends_at > starts_at and ends_at < '9000-01-01 00:00Z'),
    started_at           timestamptz,
    ended_at             timestamptz,   -- set by end and by cancel
    end_reason           text           -- null while it is open
                         constraint live_room_sessions_end_reason
                         check (end_reason in ('host', 'empty', 'time', 'missed', 'reset')),
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
    open_room            uuid
                         generated always as (case when status in ('scheduled', 'lobby', 'live')
                                                   then room_id end) stored,
    due_start            timestamptz
                         generated always as (case when status in ('scheduled', 'lobby') then starts_at end) stored,
    constraint live_room_sessions_idempotency_key unique (created_by, idempotency_key),
    constraint live_room_sessions_open_has_no_end_reason
        check (end_reason is null or status in ('ended', 'cancelled'))
);
-- I5: at most one open session for each live room.
create unique index live_room_sessions_one_open on live_room_sessions (open_room) where open_room is not null;
-- Sessions that time moves on: read every second, beside any number of sessions that are live.
create index live_room_sessions_due on live_room_sessions (due_start) where due_start is not null;
create index live_room_sessions_latest
    on live_room_sessions (room_id, coalesce(started_at, starts_at) desc, created_at desc, id desc);
-- Half written by an old client: open with an end, or over without one.
create index live_room_sessions_half_written on live_room_sessions (room_id)
    where (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);

alter table live_rooms add constraint live_rooms_current_session_id_fkey
    foreign key (current_session_id) references live_room_sessions on delete set null;

-- ---------------------------------------------------------------- seats and bans of live rooms

-- A seat: the place of one user in one live session. Open until `left_at` is set; the same seat is opened again when
-- the user comes back.
create table live_room_attendance (
    session_id      uuid not null references live_room_sessions on delete cascade,
    live_room_id    uuid not null references live_rooms on delete cascade,
    user_id         text not null,
    role            text not null default 'guest'
                    constraint live_room_attendance_role check (role in ('host', 'guest', 'speaker')),
    lobby_status    text not null default 'admitted'
                    constraint live_room_attendance_lobby_status
                    check (lobby_status in ('waiting', 'admitted', 'rejected')),
    is_banned       boolean not null default false,           -- a copy of live_room_bans, for old readers
    hand_raised_at  timestamptz,
    seated_at       timestamptz not null default app_now(),   -- when the seat was taken last; the order of the lobby
    held_until      timestamptz,   -- released then, unless the user is observed or asks again; null: observed
    joined_at       timestamptz,   -- when the user was first observed on LiveKit
    left_at         timestamptz,
    disconnected_at timestamptz,
    participant_sid text,
    open_session    uuid generated always as (case when left_at is null then session_id end) stored,
    open_room       uuid generated always as (case when left_at is null then live_room_id end) stored,
    waiting_session uuid
                    generated always as (case when left_at is null and lobby_status = 'waiting'
                                              then session_id end) stored,
    constraint live_room_attendance_session_id_user_id_key unique (session_id, user_id)
);
create index live_room_attendance_open on live_room_attendance (open_room) where open_room is not null;
create index live_room_attendance_seated on live_room_attendance (open_session, lobby_status, seated_at)
    where open_session is not null;
create index live_room_attendance_waiting on live_room_attendance (waiting_session) where waiting_session is not null;
create index live_room_attendance_held on live_room_attendance (held_until)
    where left_at is null and held_until is not null;

create table live_room_bans (
    live_room_id uuid not null references live_rooms on delete cascade,
    user_id      text not null,
    banned_by    text not null,
    until        timestamptz,   -- null: until it is lifted
    created_at   timestamptz not null default app_now(),
    primary key (live_room_id, user_id)
);

-- ---------------------------------------------------------------- nests

-- Open audio rooms of Nostr clients (docs/nests.md).
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
    open_since     timestamptz generated always as (case when status = 'open' then created_at end) stored,
    constraint nests_ended_has_a_time check ((status = 'ended') = (ended_at is not null))
);
create index nests_open on nests (open_since) where open_since is not null;

create table nest_participants (
    nest_id    uuid not null references nests on delete cascade,
    pubkey     text not null constraint nest_participants_pubkey_is_a_key check (pubkey ~ '^[0-9a-f]{64}$'),
    is_admin   boolean not null default false,
    is_speaker boolean not null default false,
    joined_at  timestamptz not null default app_now(),
    primary key (nest_id, pubkey)
);
-- Admins and speakers: the participants that /info lists.
create index nest_participants_named on nest_participants (nest_id) where is_admin or is_speaker;
-- Whether a participant has just joined.
create index nest_participants_recent on nest_participants (nest_id, joined_at);

-- Signed requests that were carried out, and what they were answered: the same request again gets the same answer and
-- changes nothing. A logged table, although its rows matter for minutes only: a crash of Postgres keeps the effects of a
-- request, so it must also keep the row that stops a replay.
create table nostr_seen (
    event_id    bytea not null,
    body_hash   bytea not null,
    pubkey      bytea not null,   -- the key that signed it
    nest_id     uuid,             -- the nest that it names; null: it created one. No foreign key: rows live for minutes
    seq         bigint generated always as identity,   -- of one key in one nest: the order of the changes
    accepted_at timestamptz not null default clock_timestamp(),   -- by the clock that verifies signatures
    status      smallint,         -- the HTTP status; null: not answered yet, or failed, so that it is carried out again
    made_id     uuid,             -- the nest or the recording that it created
    constraint nostr_seen_once primary key (event_id, body_hash)
);
create index nostr_seen_accepted on nostr_seen (accepted_at);
-- The later changes of a key.
create index nostr_seen_of_key on nostr_seen (pubkey, seq);

-- ---------------------------------------------------------------- rooms on LiveKit

-- The record of a room on LiveKit: one for each booking, live session or nest. Its next generation changes the name,
-- the SID and the number in the same row. `confirmed_at` changes often and is in no index.
create table livekit_rooms (
    id               uuid primary key default gen_random_uuid(),
    session_id       uuid constraint livekit_rooms_session_id_key unique references sessions on delete cascade,
    live_session_id  uuid constraint livekit_rooms_live_session_id_key unique
                     references live_room_sessions on delete cascade,
    nest_id          uuid constraint livekit_rooms_nest_id_key unique references nests on delete cascade,
    owner            uuid generated always as (coalesce(session_id, live_session_id, nest_id)) stored
                     constraint livekit_rooms_owner_key unique,
    room_name        text not null constraint livekit_rooms_room_name_key unique,
    room_sid         text,
    generation       integer not null default 1 constraint livekit_rooms_generation check (generation >= 1),
    status           text not null default 'pending'
                     constraint livekit_rooms_status check (status in ('pending', 'active', 'ended', 'failed')),
    ended_reason     text constraint livekit_rooms_ended_reason check (ended_reason in ('host', 'cancelled', 'window')),
    max_participants integer not null constraint livekit_rooms_max_participants check (max_participants > 0),
    made_at          timestamptz,   -- when this generation was created on LiveKit
    expires_at       timestamptz,   -- when LiveKit's own timers end it: the end of its window at that time, and 1 h
    confirmed_at     timestamptz,   -- when it was last observed on LiveKit
    unlisted_since   timestamptz,   -- since when LiveKit's list lacks the room or its participants, although it exists
    closing_at       timestamptz,   -- when an empty room may be ended
    watched_until    timestamptz,   -- until then an old token of a removed participant may open it
    attempts         integer not null default 0,
    next_attempt_at  timestamptz,
    last_error       text,
    created_at       timestamptz not null default app_now(),
    ended_at         timestamptz,
    open_owner       uuid
                     generated always as (case when status <> 'ended'
                                               then coalesce(session_id, live_session_id, nest_id) end) stored,
    constraint livekit_rooms_one_owner check (num_nonnulls(session_id, live_session_id, nest_id) = 1),
    constraint livekit_rooms_active_has_sid check (status <> 'active' or room_sid is not null)
) with (fillfactor = 80);
create index livekit_rooms_open on livekit_rooms (open_owner) where open_owner is not null;
-- The few rooms that are not on LiveKit yet, among all that are open.
create index livekit_rooms_unmade on livekit_rooms (id) where status in ('pending', 'failed');
create index livekit_rooms_watched on livekit_rooms (watched_until) where watched_until is not null;

-- Every name ever used, written by a trigger on livekit_rooms. Without a foreign key: a name stays known when its
-- room is deleted.
create table livekit_room_names (
    room_name  text primary key,
    room_id    uuid not null,
    generation integer not null
);
create index livekit_room_names_by_room on livekit_room_names (room_id, generation);

-- Names that a record has retired, written in the same transaction, until their rooms are deleted on LiveKit
-- (docs/decisions/0020). Not only listed rooms: when Redis has lost its data, a room continues without being listed,
-- and DeleteRoom answers 404.
create table rooms_to_close (
    room_name  text primary key,
    room_id    uuid not null,          -- without a foreign key: the room is deleted even when its record is gone
    attempts   integer not null default 0,
    not_before timestamptz not null,   -- due for any replica; a claim is a lease
    created_at timestamptz not null default app_now()
);
create index rooms_to_close_due on rooms_to_close (not_before);

-- "Check this room": a mark names a room and states no fact.
create table room_marks (
    id         bigint generated always as identity primary key,
    room_id    uuid not null,
    not_before timestamptz not null default app_now()
);
create index room_marks_due on room_marks (not_before);

-- LiveKit's webhooks and our own milestones. Append-only; deleted by age, in batches.
create table livekit_events (
    event_id        text constraint livekit_events_event_id_key primary key,   -- LiveKit's EV_…, or our GR_…
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

-- Which LiveKit this deployment belongs to, and which database this row was written in: a clone or a restored copy
-- must not delete the original's rooms.
create table deployment (
    only_row          boolean primary key default true constraint deployment_only_row check (only_row),
    id                uuid not null default gen_random_uuid(),
    livekit_url       text,
    api_key_id        text,
    database_identity text   -- as database_identity() returned it
);
insert into deployment default values;

-- ---------------------------------------------------------------- participants on LiveKit

-- One row for each user and room, whatever the generation.
create table livekit_participants (
    room_id           uuid not null references livekit_rooms on delete cascade,
    user_id           text not null,
    role              text not null
                      constraint livekit_participants_role
                      check (role in ('host', 'guest', 'speaker', 'viewer', 'admin', 'listener')),
    display_name      text,
    status            text not null default 'invited'
                      constraint livekit_participants_status check (status in ('invited', 'joined', 'left', 'kicked')),
    participant_sid   text,
    joined_at         timestamptz,
    left_at           timestamptz,
    kicked_at         timestamptz,
    absent_since      timestamptz,   -- the first check that did not find them; a second one, 5 s later, decides
    -- Stale participants: LiveKit lists them as active, although the node that had them is gone (docs/decisions/0022).
    alive_at          timestamptz not null default '-infinity',   -- the last event about them, or answered probe
    checked_at        timestamptz not null default '-infinity',   -- the later of alive_at and the last probe
    silent_since      timestamptz,   -- the first probe since alive_at that found no node with them
    ghost_since       timestamptz,   -- since when they count as left, although LiveKit may list participant_sid
    joined_room       uuid generated always as (case when status = 'joined' then room_id end) stored,
    kicked_room       uuid generated always as (case when status = 'kicked' then room_id end) stored,
    joined_checked_at timestamptz generated always as (case when status = 'joined' then checked_at end) stored,
    silent_checked_at timestamptz generated always as (case when silent_since is not null then checked_at end) stored,
    primary key (room_id, user_id)
);
create index livekit_participants_joined on livekit_participants (joined_room) where joined_room is not null;
create index livekit_participants_kicked on livekit_participants (kicked_room) where kicked_room is not null;
-- The participant with the oldest check is probed next.
create index livekit_participants_to_probe on livekit_participants (joined_checked_at)
    where joined_checked_at is not null;
create index livekit_participants_silent on livekit_participants (silent_checked_at)
    where silent_checked_at is not null;

-- One replica at a time probes for stale participants: its lease, and what it knows about LiveKit.
create table ghost_watch (
    only_row        boolean primary key default true constraint ghost_watch_only_row check (only_row),
    holder          uuid,
    leased_until    timestamptz,
    turn_at         timestamptz,   -- when the last turn began: the next one may probe for the time since then
    alarmed_at      timestamptz,   -- a probe found no node: all without a sign of life since then are probed
    answering_since timestamptz    -- since when LiveKit has answered without a failure
);
insert into ghost_watch default values;

-- ---------------------------------------------------------------- recordings

create table recordings (
    id              uuid primary key default gen_random_uuid(),
    room_id         uuid not null references livekit_rooms on delete cascade,
    generation      integer not null,
    egress_id       text constraint recordings_egress_id_key unique,
    started_by      text not null,
    kind            text not null default 'file' constraint recordings_kind check (kind in ('file', 'hls')),
    status          text not null default 'starting'
                    constraint recordings_status
                    check (status in ('starting', 'active', 'ending', 'complete', 'failed', 'aborted')),
    file            text not null,     -- its path in the output; contains the id
    size            bigint,            -- bytes
    duration        interval,
    error           text,
    idempotency_key text constraint recordings_key_length check (char_length(idempotency_key) <= 200),
    request_hash    bytea,
    answered        boolean not null default false,   -- a response said that it starts: a failure notifies the host
    created_at      timestamptz not null default app_now(),
    stop_asked_at   timestamptz,
    started_at      timestamptz,       -- as LiveKit reports it
    finished_at     timestamptz,       -- when LiveKit reported it as complete: `ending` until its file is found
    file_look_at    timestamptz,       -- when its file is looked for next
    ended_at        timestamptz,
    deleted_at      timestamptz,       -- its file is deleted, or about to be
    removal_at      timestamptz,       -- when the next attempt deletes the file
    open_room       uuid
                    generated always as (case when status in ('starting', 'active', 'ending') then room_id end) stored,
    constraint recordings_idempotency_key unique (started_by, idempotency_key),
    constraint recordings_ended_has_a_time
        check ((status in ('complete', 'failed', 'aborted')) = (ended_at is not null))
);
create index recordings_open on recordings (open_room) where open_room is not null;
-- I11: one open recording for each room and kind. When LiveKit has finished one, another can start.
create unique index recordings_one_open on recordings (open_room, kind)
    where open_room is not null and finished_at is null;
create index recordings_awaiting_file on recordings (finished_at)
    where status = 'ending' and finished_at is not null;
create index recordings_by_room on recordings (room_id, created_at desc, id desc) where deleted_at is null;
create index recordings_by_age on recordings (ended_at)
    where kind = 'file' and deleted_at is null and ended_at is not null;
create index recordings_streams_over on recordings (ended_at)
    where kind = 'hls' and deleted_at is null and ended_at is not null;
-- Streams of a nest that failed: counted before the next one starts, beside any number of recordings.
create index recordings_streams_failed on recordings (room_id, ended_at)
    where kind = 'hls' and status in ('failed', 'aborted');
-- Files to delete, however many are kept.
create index recordings_deleted on recordings (deleted_at) where deleted_at is not null and ended_at is not null;

-- ---------------------------------------------------------------- the listing

-- The text that a search is compared with. Declared immutable: array_to_string() is immutable for texts, but declared
-- stable. In plpgsql: an SQL function whose body is less immutable than its declaration is never inlined, and slower.
create function stream_search_text(p_title text, p_description text, p_tags text[]) returns text
language plpgsql immutable parallel safe
as $$
begin
    return lower(concat_ws(E'\n', p_title, p_description, array_to_string(p_tags, ' ')));
end $$;

-- One row for each live room, with the id of that room. Old clients read it, and write the columns that sync does not.
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
    version         bigint not null default 0,        -- the position in the change feed, set by sync
    -- Generated, not written by sync: a row that a legacy client or an operator changes is found by its new text.
    search_text     text not null generated always as (stream_search_text(title, description, tags)) stored
);
create sequence live_stream_version;
-- Pages of the listing: rows for all users, rows for groups, and a host's own rows for groups.
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
-- Every change of a row adds to this index, although its text seldom changes. Additions are collected and merged in
-- batches (fastupdate); a search reads what is not merged yet, which the limit (kB) bounds.
create index community_live_streams_search on community_live_streams using gin (search_text gin_trgm_ops)
    with (fastupdate = on, gin_pending_list_limit = 1024)
    where managed;
-- Texts of one or two characters have no trigram: they are compared with the beginning of titles. `left`: old clients
-- may write titles that are longer than an index entry can be.
create index community_live_streams_by_title on community_live_streams (left(lower(title), 8) text_pattern_ops)
    where managed;

-- "Write this room's row again". Append-only, without a unique key and without a foreign key: a writer never waits for
-- sync, and a mark that is written while sync works is kept.
create table live_stream_dirty (
    id              bigint generated always as identity primary key,
    live_room_id    uuid not null,
    marked_at       timestamptz not null default app_now(),
    attempts        integer not null default 0,
    next_attempt_at timestamptz,
    last_error      text
);
-- Marks whose row could not be written: few, and read with every batch.
create index live_stream_dirty_set_aside on live_stream_dirty (live_room_id, next_attempt_at)
    where next_attempt_at is not null;
