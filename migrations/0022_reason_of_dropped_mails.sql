-- A mail that is dropped because its address got too many has the same reason as in booking's `expand_notifications`.

create or replace function wake_deliveries(p_user text, p_session uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    unproved uuid[];
begin
    -- A delivery that begins to wait at this moment is found below, or it finds this address: `await_address` takes the
    -- same lock exclusively. There are 64 locks for all users, because one transaction may store many addresses.
    perform pg_advisory_xact_lock_shared(hashtext('addresses'), hashtext(p_user) & 63);
    with woken as (
        update notification_deliveries d
        set waits_for = null, due_at = app_now(), created_at = app_now(), last_error = null,
            stranger = a.stranger, inviter = a.inviter
        from notifications n cross join lateral unproved_address(n.user_id, n.session_id) a
        where d.waits_for = p_user and n.id = d.notification_id and (p_session is null or n.session_id = p_session)
        returning d.id, d.stranger)
    select array_agg(id) into unproved from woken where stranger is not null;
    if unproved is null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('expand notifications', 7)); -- two transactions must not count at the same time
    update notification_deliveries d
    set dropped_at = app_now(), last_error = counted.full
    from (select id,
                 case when row_number() over (partition by stranger order by created_at, seq) > 5
                          then 'too many mails to an unverified address'
                      when inviter is not null
                       and row_number() over (partition by inviter order by created_at, seq) > 20
                          then 'too many mails to strangers for one person' end as full
          from notification_deliveries
          where dropped_at is null and created_at > app_now() - interval '1 hour'
            and (stranger in (select stranger from notification_deliveries where id = any(unproved))
                 or inviter in (select inviter from notification_deliveries where id = any(unproved)))) counted
    where d.id = counted.id and d.id = any(unproved) and counted.full is not null;
end $$;
