-- Whether a creator has reached the limit of open bookings, and for how many seconds the pair has to wait (null: not
-- at all).
create or replace function booking_limits(
    p_creator text, p_host text, p_guest text, p_most_open bigint, p_most_per_pair bigint,
    out open_full boolean, out pair_wait bigint)
language plpgsql stable set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    open_full := (select count(*) from (
                      select from sessions where open_creator = p_creator limit p_most_open) open) >= p_most_open;
    pair_wait := (select ceil(extract(epoch from created_at + interval '1 hour' - app_now()))::bigint
                  from sessions
                  where (host_id = p_host and guest_id = p_guest or host_id = p_guest and guest_id = p_host)
                    and created_at > app_now() - interval '1 hour'
                  order by created_at desc offset p_most_per_pair - 1 limit 1);
end $$;
