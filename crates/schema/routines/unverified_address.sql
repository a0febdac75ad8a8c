-- The address of an e-mail to this user about this booking, if nothing says that it belongs to the user: they never
-- signed in with it, or the identity provider has not verified it. And the user who caused it.
create or replace function unverified_address(p_user text, p_session uuid, out stranger text, out inviter text)
language plpgsql stable set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    select lower(mail_address(u.email, u.email_verified, case when s.guest_id = p_user then s.guest_email end)),
           case when s.id is null then p_user when s.created_by in (s.host_id, s.guest_id) then s.created_by end
    into stranger, inviter
    from (select p_user as id) recipient
    left join app_users u on u.id = recipient.id
    left join sessions s on s.id = p_session
    where u.email is null or u.email_verified is false;
    if stranger is null then
        inviter := null;
    end if;
end $$;
