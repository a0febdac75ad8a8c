-- A mail to a person whose address is not known waits until it is, at most until the end of the booking (due_at).

alter table notification_deliveries
    add column waits_for text,                        -- this person's address is not known
    add column waited boolean not null default false; -- its text is that of the booking as it is when it is sent
create index notification_deliveries_waiting on notification_deliveries (waits_for) where waits_for is not null;
create index notification_deliveries_waiting_newest on notification_deliveries (created_at desc, id desc)
    where waits_for is not null;

-- The address that a booking has for its guest, if they never signed in with one, and the person who gave it.
create function unproved_address(p_user text, p_session uuid, out stranger text, out inviter text)
language plpgsql stable set search_path = pg_catalog, public, pg_temp
as $$
begin
    select lower(s.guest_email), case when s.created_by in (s.host_id, s.guest_id) then s.created_by end
    into stranger, inviter
    from sessions s left join app_users u on u.id = s.guest_id
    where s.id = p_session and s.guest_id = p_user and s.guest_email is not null and u.email is null;
end $$;
revoke execute on function unproved_address(text, uuid) from public;

-- What waits for this person (about this booking; null: about any) is due now. It counts as made now: for the 72 h of
-- attempts, and for the mails of an hour to an address that no person signed in with (as in `expand_notifications`).
create function wake_deliveries(p_user text, p_session uuid) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
declare
    unproved uuid[];
begin
    -- A delivery that begins to wait at this moment is found below, or finds this address: `await_address` takes the
    -- lock exclusively. 64 locks serve all people, because one transaction may write the addresses of many.
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
    perform pg_advisory_xact_lock(hashtextextended('expand notifications', 7)); -- two must not count at the same time
    update notification_deliveries d
    set dropped_at = app_now(), last_error = counted.full
    from (select id,
                 case when row_number() over (partition by stranger order by created_at, seq) > 5
                          then 'too many mails to an address that nobody signed in with'
                      when inviter is not null
                       and row_number() over (partition by inviter order by created_at, seq) > 20
                          then 'too many mails to strangers for one person' end as full
          from notification_deliveries
          where dropped_at is null and created_at > app_now() - interval '1 hour'
            and (stranger in (select stranger from notification_deliveries where id = any(unproved))
                 or inviter in (select inviter from notification_deliveries where id = any(unproved)))) counted
    where d.id = counted.id and d.id = any(unproved) and counted.full is not null;
end $$;
revoke execute on function wake_deliveries(text, uuid) from public;

-- Has a claimed delivery wait, or makes it due at once when the address became known meanwhile. False: the lease went
-- to another worker.
create function await_address(p_delivery uuid, p_lease uuid, p_user text, p_until timestamptz, p_why text)
returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    is_known boolean;
begin
    perform pg_advisory_xact_lock(hashtext('addresses'), hashtext(p_user) & 63);
    -- A statement of its own: it sees what was committed before the lock was free.
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
revoke execute on function await_address(uuid, uuid, text, timestamptz, text) from public;

create function app_users_wake_deliveries() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform wake_deliveries(new.id, null);
    return null;
end $$;
revoke execute on function app_users_wake_deliveries() from public;
create trigger app_users_address_told
    after insert on app_users
    for each row
    when (new.email is not null)
    execute function app_users_wake_deliveries();
create trigger app_users_address_changed
    after update of email on app_users
    for each row
    when (new.email is not null and new.email is distinct from old.email)
    execute function app_users_wake_deliveries();

-- A booking that is given its guest's address, and one that is cancelled: the worker sends, or drops.
create function sessions_wake_deliveries() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform wake_deliveries(person, new.id)
    from unnest(array[new.host_id, new.guest_id]) person
    order by person;
    return null;
end $$;
revoke execute on function sessions_wake_deliveries() from public;
create trigger sessions_guest_reachable
    after update of guest_email on sessions
    for each row
    when (new.guest_email is not null and new.guest_email is distinct from old.guest_email)
    execute function sessions_wake_deliveries();
create trigger sessions_cancelled
    after update of status on sessions
    for each row
    when (new.status = 'cancelled' and old.status <> 'cancelled')
    execute function sessions_wake_deliveries();

insert into service_grants (service, rights, objects) values
    ('booking', 'execute', 'function await_address(uuid, uuid, text, timestamptz, text)');
select greenroom_grants();
