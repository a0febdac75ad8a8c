-- A booking was given its guest's address, or was cancelled: the worker sends what waited, or drops it.
create or replace function sessions_wake_deliveries() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform wake_deliveries(party, new.id)
    from unnest(array[new.host_id, new.guest_id]) party
    order by party;
    return null;
end $$;

create or replace trigger sessions_guest_reachable
    after update of guest_email on sessions
    for each row
    when (new.guest_email is not null and new.guest_email is distinct from old.guest_email)
    execute function sessions_wake_deliveries();
create or replace trigger sessions_cancelled
    after update of status on sessions
    for each row
    when (new.status = 'cancelled' and old.status <> 'cancelled')
    execute function sessions_wake_deliveries();
