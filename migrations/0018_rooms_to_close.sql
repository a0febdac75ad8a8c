-- Rooms that must go from LiveKit although its store may not know them any more (docs/decisions/0020).

-- Names that a record has retired, written in the same transaction, until their rooms are deleted. Not only what LiveKit
-- lists: after its Redis has lost its data, a room lives on without being listed, and DeleteRoom answers 404.
create table rooms_to_close (
    room_name  text primary key,
    room_id    uuid not null,      -- no foreign key: the room goes even when its record is deleted
    attempts   integer not null default 0,
    not_before timestamptz not null,   -- due for any replica; a claim is a lease
    created_at timestamptz not null default app_now()
);
create index rooms_to_close_due on rooms_to_close (not_before);

alter table livekit_rooms
    -- The first check in which LiveKit's list lacked the room or its participants, while CreateRoom answered with its SID.
    add column unlisted_since timestamptz;

-- The participants of a room that were kicked: few, among many. As in migration 0010: a partial index has a column of
-- its own.
alter table livekit_participants
    add column kicked_room uuid generated always as (case when status = 'kicked' then room_id end) stored;
create index livekit_participants_kicked on livekit_participants (kicked_room) where kicked_room is not null;

insert into service_grants (service, rights, objects) values
    ('room_lifecycle', 'insert, update, delete', 'rooms_to_close');
select greenroom_grants();
