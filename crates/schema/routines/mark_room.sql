-- Has a room checked, now or not before a time, whatever crashes next. Wakes the service for speed; it polls as well.
-- The table is qualified instead of a `set search_path`, which costs each call.
create or replace function mark_room(p_room_id uuid, p_not_before timestamptz default app_now()) returns void
language plpgsql volatile
as $$
begin
    insert into greenroom.room_marks (room_id, not_before) values (p_room_id, p_not_before);
    perform pg_notify('room_marks', '');
end $$;
