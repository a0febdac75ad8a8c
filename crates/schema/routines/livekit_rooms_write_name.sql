-- Every name that a record has or had is in livekit_room_names, whichever program writes the record.
create or replace function livekit_rooms_write_name() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
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

create or replace trigger livekit_rooms_insert_name after insert on livekit_rooms
    for each row execute function livekit_rooms_write_name();
create or replace trigger livekit_rooms_update_name after update of room_name, generation on livekit_rooms
    for each row
    when ((old.room_name, old.generation) is distinct from (new.room_name, new.generation))
    execute function livekit_rooms_write_name();
