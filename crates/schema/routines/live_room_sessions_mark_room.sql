-- The room of a live session that changes its status is checked, whichever program writes the session.
create or replace function live_room_sessions_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.live_session_id = new.id;
    return null;
end $$;

create or replace trigger live_room_sessions_mark_room
    after update of status on live_room_sessions
    for each row
    when (old.status is distinct from new.status)
    execute function live_room_sessions_mark_room();
