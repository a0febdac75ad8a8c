-- The address of a user became known: deliveries that waited for it are due.
create or replace function app_users_wake_deliveries() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform wake_deliveries(new.id, null);
    return null;
end $$;

create or replace trigger app_users_address_added
    after insert on app_users
    for each row
    when (new.email is not null)
    execute function app_users_wake_deliveries();
create or replace trigger app_users_address_changed
    after update of email on app_users
    for each row
    when (new.email is not null and new.email is distinct from old.email)
    execute function app_users_wake_deliveries();
