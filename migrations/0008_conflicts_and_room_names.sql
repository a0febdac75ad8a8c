-- Conflicts of bookings are found before anything is inserted, and the names of rooms are written by a trigger.

-- ---------------------------------------------------------------- bookings

-- Whether the host or the guest has another active booking in that slot. The exclusion constraint
-- session_participants_no_overlap stays the guarantee; a refusal by it is a failed statement, which Postgres logs with
-- the whole statement. Under lock_people() this function gives the same answer without one (`admit_new_booking` of 0014).
create function is_slot_taken(
    p_host text, p_guest text, p_scheduled_at timestamptz, p_minutes integer, p_except uuid)
returns boolean
language plpgsql stable set search_path = pg_catalog, public, pg_temp
as $$
declare
    wanted constant tstzrange := tstzrange(p_scheduled_at, p_scheduled_at + make_interval(mins => p_minutes));
begin
    return exists (select from session_participants
                   where user_id = p_host and slot && wanted and active and session_id is distinct from p_except)
        or exists (select from session_participants
                   where user_id = p_guest and slot && wanted and active and session_id is distinct from p_except);
end $$;

-- ---------------------------------------------------------------- names of rooms

-- Every name that a record has or had is in livekit_room_names, whichever program writes the record.
create function livekit_rooms_write_name() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into livekit_room_names (room_name, room_id, generation)
    values (new.room_name, new.id, new.generation)
    on conflict (room_name) do update
    set room_id = excluded.room_id, generation = excluded.generation
    where (livekit_room_names.room_id, livekit_room_names.generation)
          is distinct from (excluded.room_id, excluded.generation);
    return null;
end $$;
revoke execute on function livekit_rooms_write_name() from public;
create trigger livekit_rooms_insert_name after insert on livekit_rooms
    for each row execute function livekit_rooms_write_name();
create trigger livekit_rooms_update_name after update of room_name, generation on livekit_rooms
    for each row
    when ((old.room_name, old.generation) is distinct from (new.room_name, new.generation))
    execute function livekit_rooms_write_name();

insert into livekit_room_names (room_name, room_id, generation)
select room_name, id, generation from livekit_rooms
on conflict (room_name) do update
set room_id = excluded.room_id, generation = excluded.generation
where (livekit_room_names.room_id, livekit_room_names.generation)
      is distinct from (excluded.room_id, excluded.generation);

select greenroom_grants();
