-- The room of a booking that moves, ends or is cancelled is checked, whichever program writes the booking.
create or replace function sessions_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.session_id = new.id;
    return null;
end $$;

create or replace trigger sessions_mark_room
    after update of status, scheduled_at, duration_minutes on sessions
    for each row
    when ((old.status, old.scheduled_at, old.duration_minutes)
          is distinct from (new.status, new.scheduled_at, new.duration_minutes))
    execute function sessions_mark_room();
