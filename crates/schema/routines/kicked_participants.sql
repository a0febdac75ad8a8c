-- Users who were kicked out of a room: the only definition. What other services than room-lifecycle read of it.
create or replace view kicked_participants as
select r.session_id, r.live_session_id, r.nest_id, r.id as room_id, p.user_id, p.kicked_at
from livekit_rooms r
join livekit_participants p on p.room_id = r.id
where p.status = 'kicked';
