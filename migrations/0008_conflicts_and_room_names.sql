-- Conflicts of bookings are found before anything is inserted, and the names of rooms are written by a trigger.

-- ---------------------------------------------------------------- bookings

-- Whether the host or the guest has another active booking in that slot. The exclusion constraint
-- session_participants_no_overlap stays the guarantee; a refusal by it is a failed statement, which Postgres logs with
-- the whole statement. Under lock_people() this function gives the same answer without one.
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

-- Locks the two people and returns whether the creator may book them in this slot now; then stores what the creator's
-- token says of them. A creator without an id (a service) is not stored. Each query of a volatile function has a
-- snapshot of its own, so that everything committed before the locks were granted is visible. `admit_booking` is the
-- form of the previous version, which looks for no conflict.
create function admit_new_booking(
    p_creator text, p_name text, p_email text, p_picture text, p_host text, p_guest text, p_key text,
    p_scheduled_at timestamptz, p_minutes integer, p_limited boolean, p_most_open bigint, p_most_per_pair bigint)
returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    limits record;
begin
    perform lock_people(array[p_host, p_guest]);
    -- A repeated request must not be refused for the slot of the booking that it made.
    if p_key is not null
       and exists (select from sessions where created_by = p_creator and idempotency_key = p_key) then
        return false;
    end if;
    if p_limited then
        limits := booking_limits(p_creator, p_host, p_guest, p_most_open, p_most_per_pair);
        if limits.open_full or limits.pair_wait is not null then
            return false;
        end if;
    end if;
    if is_slot_taken(p_host, p_guest, p_scheduled_at, p_minutes, null) then
        return false;
    end if;
    if p_creator <> '' then
        perform remember_person(p_creator, p_name, p_email, p_picture);
    end if;
    return true;
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
