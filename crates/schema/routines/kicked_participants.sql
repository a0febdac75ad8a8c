-- Users who were kicked out of a room: the only definition, and what other services than room-lifecycle read of it.
-- A left join, although every participant has a room: a statement that joins by `room_id` does not read the room again.
create or replace view kicked_participants as
select r.session_id, r.live_session_id, r.nest_id, p.room_id, p.user_id, p.kicked_at
from livekit_participants p
left join livekit_rooms r on r.id = p.room_id
where p.status = 'kicked';
