-- Wakes the workers that deliver notifications. Only for speed: they poll as well.
create or replace function notifications_notify() returns trigger
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform pg_notify('notifications', '');
    return null;
end $$;

create or replace trigger notifications_notify after insert on notifications
    for each statement execute function notifications_notify();
