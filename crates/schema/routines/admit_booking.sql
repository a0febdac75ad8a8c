-- Locks the two users and returns whether the creator may book them in this slot now; then stores what the creator's
-- token says of the creator. A creator without an id (a service) is not stored.
--
-- A booking is one statement and one round trip, so what must happen before its rows are inserted is here. Volatile
-- and in plpgsql: each query has its own snapshot and sees everything that was committed before the locks were granted.
create or replace function admit_booking(
    p_creator text, p_name text, p_email text, p_avatar_url text, p_email_verified boolean, p_locale text,
    p_zoneinfo text, p_host text, p_guest text, p_key text, p_scheduled_at timestamptz, p_minutes integer,
    p_limited boolean, p_most_open bigint, p_most_per_pair bigint)
returns boolean
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    limits record;
begin
    perform lock_users(array[p_host, p_guest]);
    -- A repeated request must not be refused for the slot of the booking that it made.
    if p_key is not null
       and exists (select from sessions where created_by = p_creator and idempotency_key = p_key) then
        return false;
    end if;
    if p_limited then
        limits := booking_limits(p_creator, p_host, p_guest, p_most_open, p_most_per_pair);
        if limits.open_full or limits.pair_wait is not null then
            return false;
        end if;
    end if;
    if is_slot_taken(p_host, p_guest, p_scheduled_at, p_minutes, null) then
        return false;
    end if;
    if p_creator <> '' then
        perform upsert_user(p_creator, p_name, p_email, p_avatar_url, p_email_verified, p_locale, p_zoneinfo);
    end if;
    return true;
end $$;
