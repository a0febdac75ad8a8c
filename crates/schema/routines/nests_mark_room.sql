-- The room of a nest that ends is checked, whichever program writes the nest.
create or replace function nests_mark_room() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.nest_id = new.id;
    return null;
end $$;

create or replace trigger nests_mark_room
    after update of status on nests
    for each row
    when (old.status is distinct from new.status)
    execute function nests_mark_room();
