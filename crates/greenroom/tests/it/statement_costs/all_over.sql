-- Ends everything of fill.sql, as at night. When statistics are gathered now, the planner estimates that the partial
-- indexes of open rows are empty, and therefore cheaper than any other index.
set session_replication_role = replica;
update sessions set status = 'completed';
update session_participants set active = false;
update live_rooms set status = 'idle', current_session_id = null;
update live_room_sessions set status = 'ended', ended_at = now();
update live_room_attendance set left_at = now(), held_until = null;
update community_live_streams set status = 'ended', ended_at = now();
update nests set status = 'ended', ended_at = now();
update livekit_rooms set status = 'ended', ended_at = now();
update livekit_participants set status = 'left', left_at = now();
