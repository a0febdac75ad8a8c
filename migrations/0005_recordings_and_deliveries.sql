-- Recordings, raised hands, and the delivery of notifications.

-- ---------------------------------------------------------------- telling people

-- A notification is expanded once into a delivery for each channel that is set up; what stood before there were
-- deliveries is told by nobody any more.
alter table notifications add column expanded_at timestamptz;
update notifications set expanded_at = app_now();
create index notifications_unexpanded on notifications (created_at) where expanded_at is null;

create table notification_deliveries (
    id              uuid primary key default gen_random_uuid(),
    notification_id uuid not null references notifications on delete cascade,
    channel         text not null constraint notification_deliveries_channel check (channel in ('email', 'webhook')),
    stream_key      text not null,   -- within it and its channel, deliveries are made in the order of seq
    seq             bigint generated always as identity,
    due_at          timestamptz not null default app_now(),
    attempts        integer not null default 0,
    leased_until    timestamptz,
    lease_id        uuid,
    delivered_at    timestamptz,
    dead_at         timestamptz,     -- given up after 72 h: its stream goes on without it
    dropped_at      timestamptz,     -- no longer true, or nobody to tell
    last_error      text,
    stranger        text,            -- of a mail: its address, if nobody has signed in with it
    inviter         text,            -- and the person who named it
    created_at      timestamptz not null default app_now(),
    constraint notification_deliveries_once unique (notification_id, channel)
);
-- What is still to be done, however much has been.
create index notification_deliveries_pending on notification_deliveries (stream_key, channel, seq)
    where delivered_at is null and dead_at is null and dropped_at is null;
create index notification_deliveries_due on notification_deliveries (channel, due_at)
    where delivered_at is null and dead_at is null and dropped_at is null;
create index notification_deliveries_dead on notification_deliveries (channel, created_at desc, id desc)
    where dead_at is not null;
-- What was told long ago is forgotten by its age.
create index notification_deliveries_concluded on notification_deliveries ((coalesce(delivered_at, dropped_at)))
    where coalesce(delivered_at, dropped_at) is not null;
-- How many mails strangers had within an hour.
create index notification_deliveries_by_stranger on notification_deliveries (stranger, created_at)
    where stranger is not null;
create index notification_deliveries_by_inviter on notification_deliveries (inviter, created_at)
    where inviter is not null;

create function notifications_notify() returns trigger
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform pg_notify('notifications', '');
    return null;
end $$;
create trigger notifications_notify after insert on notifications
    for each statement execute function notifications_notify();

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
    file            text not null,     -- where the output has it; contains the id
    size            bigint,            -- bytes
    duration        interval,
    error           text,
    idempotency_key text constraint recordings_key_length check (char_length(idempotency_key) <= 200),
    request_hash    bytea,
    created_at      timestamptz not null default app_now(),
    stop_asked_at   timestamptz,
    started_at      timestamptz,       -- as LiveKit says
    ended_at        timestamptz,
    deleted_at      timestamptz,       -- its file is gone, or about to go
    removal_at      timestamptz,       -- when the next one tries to remove the file
    constraint recordings_idempotency_key unique (started_by, idempotency_key),
    constraint recordings_ended_has_a_time
    check ((status in ('complete', 'failed', 'aborted')) = (ended_at is not null))
);
-- I11: one open recording per room and kind; whatever happens to it, it is closed and another can start.
create unique index recordings_one_open on recordings (room_id, kind) where status in ('starting', 'active', 'ending');
create index recordings_open on recordings (created_at) where status in ('starting', 'active', 'ending');
create index recordings_by_room on recordings (room_id, created_at desc, id desc) where deleted_at is null;
create index recordings_by_age on recordings (ended_at)
    where kind = 'file' and deleted_at is null and ended_at is not null;
create index recordings_streams_over on recordings (ended_at)
    where kind = 'hls' and deleted_at is null and ended_at is not null;
-- What is to be removed, however much is kept.
create index recordings_deleted on recordings (deleted_at) where deleted_at is not null and ended_at is not null;

-- The metadata of a nest's room says whether it is being recorded: it is looked at when that changes.
create function recordings_mark_nest() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.id = new.room_id and r.nest_id is not null;
    return null;
end $$;
revoke execute on function recordings_mark_nest() from public;
create trigger recordings_mark_nest_begun
    after insert on recordings
    for each row
    when (new.kind = 'file')
    execute function recordings_mark_nest();
create trigger recordings_mark_nest_ended
    after update of ended_at on recordings
    for each row
    when (new.kind = 'file' and old.ended_at is null and new.ended_at is not null)
    execute function recordings_mark_nest();

-- ---------------------------------------------------------------- raised hands

alter table live_room_attendance add column hand_raised_at timestamptz;

-- ---------------------------------------------------------------- who may write what

insert into service_grants (service, rights, objects) values
    ('booking', 'insert, update, delete', 'notification_deliveries'),
    ('room_lifecycle', 'insert, update, delete', 'recordings');
select greenroom_grants();
