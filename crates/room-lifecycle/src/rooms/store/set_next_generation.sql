with owner as (
    select o.owner
    from livekit_rooms k cross join lateral room_owner(k.session_id, k.live_session_id, k.nest_id) o
    where k.id = $1 and o.open),
bumped as (
    update livekit_rooms r
    set generation = r.generation + 1, room_name = $4, room_sid = null, status = 'pending',
        confirmed_at = null, made_at = null, expires_at = null, closing_at = null, ended_at = null,
        ended_reason = null, attempts = 0, next_attempt_at = null, last_error = null,
        unlisted_since = null
    from owner o
    where r.id = $1 and r.generation = $2 and r.status = $3 and o.owner = r.owner
      -- checked again: meanwhile another room with this name may have been created or adopted
      and r.room_sid is not distinct from $5
    returning r.id, r.room_name),
participants as (
    update livekit_participants p
    set status = 'left', left_at = app_now(), absent_since = null
    from bumped where p.joined_room = bumped.id),
closing as ( -- other replicas wait: the one that retired the name closes the room first
    insert into rooms_to_close (room_name, room_id, not_before)
    select $7, id, app_now() + interval '2 seconds' from bumped where $8
    on conflict (room_name) do nothing)
insert into livekit_events (event_id, room_id, room_sid, event_type, payload)
select 'GR_' || gen_random_uuid(), id, $5, 'room_retired',
       jsonb_build_object('why', $6::text, 'name', $7::text, 'next', room_name)
from bumped
