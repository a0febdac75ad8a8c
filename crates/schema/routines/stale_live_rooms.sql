-- Live rooms that refresh_live_room() would change. Each branch starts from a partial index.
create or replace view stale_live_rooms as
-- A room that says that a session is open, and whose open session says something else.
select r.id
from live_rooms r
left join live_room_sessions s on s.open_room = r.id
where (r.status <> 'idle' or r.current_session_id is not null or r.host_present)
  and (r.status, r.current_session_id, r.host_present)
      is distinct from (coalesce(s.status, 'idle'), s.id, coalesce(s.host_present, false))
union
-- An open session that its room does not name.
select s.room_id
from live_room_sessions s
join live_rooms r on r.id = s.open_room
where r.current_session_id is distinct from s.id
union
-- A session that is open with an end, or over without one.
select s.room_id from live_room_sessions s
where (s.status in ('scheduled', 'lobby', 'live')) = (s.ended_at is not null)
union
-- An open seat of a session that is over.
select a.open_room as id
from live_room_attendance a
where a.open_room is not null
  and not exists (select from live_room_sessions s
                  where s.id = a.session_id and s.status in ('scheduled', 'lobby', 'live'));
