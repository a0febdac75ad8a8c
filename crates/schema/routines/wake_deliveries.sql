-- Deliveries that wait for this user's address (of this booking; null: of any booking) are due now. They count as
-- created now: for the 72 h of attempts, and for the e-mails of an hour to an unverified address.
create or replace function wake_deliveries(p_user text, p_session uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    limited uuid[];
begin
    -- A delivery that begins to wait at this moment is found below, or finds this address: await_address() takes the
    -- lock exclusively. 64 locks serve all users, because one transaction may write the addresses of many.
    perform pg_advisory_xact_lock_shared(hashtext('addresses'), hashtext(p_user) & 63);
    with woken as (
        update notification_deliveries d
        set waits_for = null, due_at = app_now(), created_at = app_now(), last_error = null,
            stranger = a.stranger, inviter = a.inviter
        from notifications n cross join lateral unverified_address(n.user_id, n.session_id) a
        where d.waits_for = p_user and n.id = d.notification_id and (p_session is null or n.session_id = p_session)
        returning d.id, d.stranger)
    select array_agg(id) into limited from woken where stranger is not null;
    if limited is null then
        return;
    end if;
    perform pg_advisory_xact_lock(hashtextextended('expand notifications', 7)); -- two must not count at the same time
    update notification_deliveries d
    set dropped_at = app_now(), last_error = counted.refusal
    from (select id,
                 mail_refusal(
                     row_number() over (partition by stranger order by created_at, seq),
                     case when inviter is not null then
                         row_number() over (partition by inviter order by created_at, seq) end) as refusal
          from notification_deliveries
          where dropped_at is null and created_at > app_now() - interval '1 hour'
            and (stranger in (select stranger from notification_deliveries where id = any(limited))
                 or inviter in (select inviter from notification_deliveries where id = any(limited)))) counted
    where d.id = counted.id and d.id = any(limited) and counted.refusal is not null;
end $$;
