-- Waits until no other transaction books for these users, and locks them until the end of the transaction. Sorted, so
-- that two transactions cannot wait for each other. The exclusion constraint remains the guarantee.
create or replace function lock_users(p_users text[]) returns void
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(id, 7))
    from (select distinct id collate "C" as id from unnest(p_users) id order by id) users;
end $$;
