-- What the seats of live sessions count as: the only definitions. Each is a plain view over one table, so that a
-- statement with `where session_id = …` reads the index live_room_attendance_seated, as if it named the table.
-- `left_at is null`, not `open_session is not null`: the latter would let statements without a session read the whole
-- index (docs/decisions/0019).

-- Seats that take one of the places of a session: admitted, and not released. The host needs no place.
create or replace view taken_seats as
select open_session as session_id, live_room_id, user_id, held_until
from live_room_attendance
where left_at is null and lobby_status = 'admitted' and role <> 'host'
  and (held_until is null or held_until > app_now());

-- Seats of users who wait in the lobby and still ask. `waiting_session` is the same as `session_id`; statements over
-- all sessions name it, for its index.
create or replace view waiting_seats as
select open_session as session_id, waiting_session, live_room_id, user_id, seated_at
from live_room_attendance
where left_at is null and lobby_status = 'waiting'
  and (held_until is null or held_until > app_now());

-- Admitted seats of users who are about to come: not observed on LiveKit yet, or disconnected a moment ago.
create or replace view reserved_seats as
select open_session as session_id, live_room_id, user_id, held_until
from live_room_attendance
where left_at is null and lobby_status = 'admitted' and held_until > app_now();

-- Seats whose users are connected. Viewers are those whose role is not `host`.
create or replace view connected_seats as
select open_session as session_id, live_room_id, user_id, role
from live_room_attendance
where left_at is null and lobby_status = 'admitted' and joined_at is not null and disconnected_at is null;
