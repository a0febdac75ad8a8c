-- Whether the host or the guest has another active booking in that slot. The exclusion constraint
-- session_participants_no_overlap remains the guarantee; a refusal by it is a failed statement, which Postgres logs
-- with the whole statement. Under lock_users() this function gives the same answer without one.
create or replace function is_slot_taken(
    p_host text, p_guest text, p_scheduled_at timestamptz, p_minutes integer, p_except uuid)
returns boolean
language plpgsql stable set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    requested constant tstzrange := tstzrange(p_scheduled_at, p_scheduled_at + make_interval(mins => p_minutes));
begin
    return exists (select from session_participants
                   where user_id = p_host and slot && requested and active and session_id is distinct from p_except)
        or exists (select from session_participants
                   where user_id = p_guest and slot && requested and active and session_id is distinct from p_except);
end $$;
