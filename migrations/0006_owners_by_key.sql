-- Keeps the estimated cost of statements independent of the number of stored rows: with a growing estimate the planner
-- chooses other plans, and JIT (docs/decisions/0019-estimates-do-not-grow.md).

-- The owner of a room, by its key and kind. A join with the view `room_owners` is estimated by its whole size, because
-- a union has no statistics; here each branch is one row of one table, found by its primary key. At most one argument
-- is not null, as in `livekit_rooms`; a null key is not looked for. Inlined where it is called: neither strict, nor
-- with settings, nor security definer. The view stays the only definition.
create function room_owner(p_session_id uuid, p_live_session_id uuid, p_nest_id uuid) returns setof room_owners
language sql stable parallel safe
as $$
    select * from room_owners where kind = 'session' and owner = p_session_id
    union all
    select * from room_owners where kind = 'live_session' and owner = p_live_session_id
    union all
    select * from room_owners where kind = 'nest' and owner = p_nest_id
$$;
revoke execute on function room_owner(uuid, uuid, uuid) from public;

-- The few rooms that LiveKit has not made yet, among all that are open.
create index livekit_rooms_unmade on livekit_rooms (id) where status in ('pending', 'failed');

-- The name that a room had in a generation that is being recorded.
create index livekit_room_names_by_room on livekit_room_names (room_id, generation);

-- Streams of a nest that failed: counted before the next one is begun, beside any number of recordings.
create index recordings_streams_failed on recordings (room_id, ended_at)
    where kind = 'hls' and status in ('failed', 'aborted');

insert into service_grants (service, rights, objects) values
    ('room_lifecycle', 'execute', 'function room_owner(uuid, uuid, uuid)');
select greenroom_grants();
