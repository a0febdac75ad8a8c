-- The metadata of a nest's room says whether it is being recorded: the room is checked when that changes.
create or replace function recordings_mark_nest() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform mark_room(r.id) from livekit_rooms r where r.id = new.room_id and r.nest_id is not null;
    return null;
end $$;

create or replace trigger recordings_mark_nest_started
    after insert on recordings
    for each row
    when (new.kind = 'file')
    execute function recordings_mark_nest();
create or replace trigger recordings_mark_nest_ended
    after update of ended_at, finished_at on recordings
    for each row
    when (new.kind = 'file' and old.ended_at is null and old.finished_at is null
          and (new.ended_at is not null or new.finished_at is not null))
    execute function recordings_mark_nest();
