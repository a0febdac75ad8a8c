-- When the lobby of a live session opens, or was opened. Inlined.
create or replace function lobby_opens_at(live_session live_room_sessions) returns timestamptz
language sql stable parallel safe
return coalesce(live_session.lobby_open_at,
                live_session.starts_at - make_interval(mins => live_session.lobby_buffer_minutes));

-- Whether a live session should be in its next state by now: its lobby open, or live. False without a session.
-- Inlined. Statements that look for due sessions also name `due_start`, for its index.
create or replace function is_live_session_due(live_session live_room_sessions) returns boolean
language sql stable parallel safe
return coalesce(live_session.status in ('scheduled', 'lobby') and live_session.starts_at <= app_now()
                or live_session.status = 'scheduled' and lobby_opens_at(live_session) <= app_now(),
                false);
