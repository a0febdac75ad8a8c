-- A recording that LiveKit calls complete waits, as `ending`, until its file was found in the output.

alter table recordings
    add column finished_at  timestamptz,   -- when LiveKit said that it is complete: its file is looked for from then on
    add column file_look_at timestamptz;   -- when its file is looked for next

-- LiveKit is done with it: it holds its room no longer, and another recording can start.
drop index recordings_one_open;
create unique index recordings_one_open on recordings (open_room, kind)
    where open_room is not null and finished_at is null;
create index recordings_awaiting_file on recordings (finished_at)
    where status = 'ending' and finished_at is not null;

-- A nest's metadata says whether it is being recorded: not any more once LiveKit is done.
drop trigger recordings_mark_nest_ended on recordings;
create trigger recordings_mark_nest_ended
    after update of ended_at, finished_at on recordings
    for each row
    when (new.kind = 'file' and old.ended_at is null and old.finished_at is null
          and (new.ended_at is not null or new.finished_at is not null))
    execute function recordings_mark_nest();

select greenroom_grants();
