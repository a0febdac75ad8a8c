-- A participant joined: the booking may be in progress now. Only a nudge; the pass reads the facts.
create or replace function livekit_participants_notify() returns trigger
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform pg_notify('attendance', '');
    return null;
end $$;

create or replace trigger livekit_participants_notify
    after update of status on livekit_participants
    for each row
    when (new.status = 'joined' and old.status <> 'joined')
    execute function livekit_participants_notify();
