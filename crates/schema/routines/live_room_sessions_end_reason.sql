-- A session that ends without a reason was ended by its host: old clients do not write the column. A session that is
-- open again has none.
create or replace function live_room_sessions_end_reason() returns trigger
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    if new.status in ('scheduled', 'lobby', 'live') then
        new.end_reason := null;
    elsif old.status in ('scheduled', 'lobby', 'live') and new.end_reason is null then
        new.end_reason := 'host';
    end if;
    return new;
end $$;

create or replace trigger live_room_sessions_end_reason
    before update of status on live_room_sessions
    for each row
    when (old.status is distinct from new.status)
    execute function live_room_sessions_end_reason();
