-- Lets a claimed delivery wait for the address of its user, or makes it due immediately when the address became known
-- meanwhile. False: another worker has the lease.
create or replace function await_address(p_delivery uuid, p_lease uuid, p_user text, p_until timestamptz, p_why text)
returns boolean
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    is_known boolean;
begin
    perform pg_advisory_xact_lock(hashtext('addresses'), hashtext(p_user) & 63);
    -- A statement of its own: it sees what was committed before the lock was granted.
    select coalesce(u.email, case when n.user_id = s.guest_id then s.guest_email end) is not null into is_known
    from notification_deliveries d
    join notifications n on n.id = d.notification_id
    left join sessions s on s.id = n.session_id
    left join app_users u on u.id = n.user_id
    where d.id = p_delivery;
    update notification_deliveries
    set waits_for = case when not is_known then p_user end,
        waited = true,
        due_at = case when is_known then app_now() else p_until end,
        attempts = attempts - 1,
        last_error = left(p_why, 500),
        leased_until = null, lease_id = null
    where id = p_delivery and lease_id = p_lease;
    return found;
end $$;
