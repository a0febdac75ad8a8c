-- Marks for sync, written in the transaction of each writer, so that sync also follows an UPDATE typed by hand.

-- Rooms that changed.
create or replace function mark_streams_of_rooms() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select id from touched;
    if found then
        perform pg_notify('live_stream_dirty', '');
    end if;
    return null;
end $$;

create or replace trigger live_rooms_insert_mark_stream after insert on live_rooms
    referencing new table as touched for each statement execute function mark_streams_of_rooms();
create or replace trigger live_rooms_update_mark_stream after update on live_rooms
    referencing new table as touched for each statement execute function mark_streams_of_rooms();

-- The rooms of sessions that changed.
create or replace function mark_streams_of_sessions() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select distinct room_id from touched;
    if found then
        perform pg_notify('live_stream_dirty', '');
    end if;
    return null;
end $$;

create or replace trigger live_room_sessions_insert_mark_stream after insert on live_room_sessions
    referencing new table as touched for each statement execute function mark_streams_of_sessions();
create or replace trigger live_room_sessions_update_mark_stream after update on live_room_sessions
    referencing new table as touched for each statement execute function mark_streams_of_sessions();
create or replace trigger live_room_sessions_delete_mark_stream after delete on live_room_sessions
    referencing old table as touched for each statement execute function mark_streams_of_sessions();

-- The rooms of seats that changed. Without NOTIFY, because it serialises commits; sync polls.
create or replace function mark_streams_of_seats() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into live_stream_dirty (live_room_id) select distinct live_room_id from touched;
    return null;
end $$;

create or replace trigger live_room_attendance_insert_mark_stream after insert on live_room_attendance
    referencing new table as touched for each statement execute function mark_streams_of_seats();
create or replace trigger live_room_attendance_update_mark_stream after update on live_room_attendance
    referencing new table as touched for each statement execute function mark_streams_of_seats();
create or replace trigger live_room_attendance_delete_mark_stream after delete on live_room_attendance
    referencing old table as touched for each statement execute function mark_streams_of_seats();
