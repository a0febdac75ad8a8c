-- Booking is one statement and one round trip: what has to happen before its rows are inserted stands here. In
-- plpgsql and volatile: each query in such a function sees what was committed before it began, so that what is
-- counted under the locks is counted as it is.

-- Waits until nobody else books for these people, until the end of the transaction. Sorted, so that two never wait
-- for each other; the exclusion constraint stays the guarantee.
create function lock_people(p_people text[]) returns void
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform pg_advisory_xact_lock(hashtextextended(id, 7))
    from (select distinct id collate "C" as id from unnest(p_people) id order by id) people;
end $$;

-- Whether a creator is at his limit of open bookings, and for how many seconds the pair has to wait (null: not at all).
create function booking_limits(
    p_creator text, p_host text, p_guest text, p_most_open bigint, p_most_per_pair bigint,
    out open_full boolean, out pair_wait bigint)
language plpgsql stable set search_path = pg_catalog, public, pg_temp
as $$
begin
    open_full := (select count(*) from (
                      select from sessions where created_by = p_creator and status in ('scheduled', 'in_progress')
                      limit p_most_open) open) >= p_most_open;
    pair_wait := (select ceil(extract(epoch from created_at + interval '1 hour' - app_now()))::bigint
                  from sessions
                  where (host_id = p_host and guest_id = p_guest or host_id = p_guest and guest_id = p_host)
                    and created_at > app_now() - interval '1 hour'
                  order by created_at desc offset p_most_per_pair - 1 limit 1);
end $$;

-- Locks the two, says whether the creator may book for them now, and then remembers what his token says of him.
-- A creator without a name of his own (a service) is not remembered.
create function admit_booking(
    p_creator text, p_name text, p_email text, p_picture text, p_host text, p_guest text,
    p_limited boolean, p_most_open bigint, p_most_per_pair bigint)
returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    limits record;
begin
    perform lock_people(array[p_host, p_guest]);
    if p_limited then
        limits := booking_limits(p_creator, p_host, p_guest, p_most_open, p_most_per_pair);
        if limits.open_full or limits.pair_wait is not null then
            return false;
        end if;
    end if;
    if p_creator <> '' then
        perform remember_person(p_creator, p_name, p_email, p_picture);
    end if;
    return true;
end $$;
