-- Whether the identity provider has verified a person's address, and pictures that no page should load.

-- null: it does not say. An address that is not verified counts as a stranger's.
alter table app_users add column email_verified boolean;

-- Upserts a person; writes nothing when nothing changed, so that hot paths may call it. Empty texts mean "not given"
-- and keep the stored value. `email_verified` belongs to the address: a new address takes the given value, also null;
-- the same address keeps the stored value when none is given.
create function remember_person(p_id text, p_name text, p_email text, p_picture text, p_email_verified boolean)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    insert into app_users (id, display_name, email, avatar_url, email_verified)
    values (p_id, nullif(p_name, ''), nullif(p_email, ''), nullif(p_picture, ''),
            case when p_email <> '' then p_email_verified end)
    on conflict (id) do update
    set display_name   = coalesce(excluded.display_name, app_users.display_name),
        email          = coalesce(excluded.email, app_users.email),
        avatar_url     = coalesce(excluded.avatar_url, app_users.avatar_url),
        email_verified = case when excluded.email is null then app_users.email_verified
                              when lower(excluded.email) is distinct from lower(app_users.email)
                                  then excluded.email_verified
                              else coalesce(excluded.email_verified, app_users.email_verified) end,
        seen_at        = app_now()
    where (coalesce(excluded.display_name, app_users.display_name),
           coalesce(excluded.email, app_users.email),
           coalesce(excluded.avatar_url, app_users.avatar_url),
           case when excluded.email is null then app_users.email_verified
                when lower(excluded.email) is distinct from lower(app_users.email) then excluded.email_verified
                else coalesce(excluded.email_verified, app_users.email_verified) end)
          is distinct from (app_users.display_name, app_users.email, app_users.avatar_url, app_users.email_verified);
end $$;
revoke execute on function remember_person(text, text, text, text, boolean) from public;

-- For programs of the version before, which do not know whether an address is verified.
create or replace function remember_person(p_id text, p_name text, p_email text, p_picture text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, public, pg_temp
as $$
begin
    perform remember_person(p_id, p_name, p_email, p_picture, null::boolean);
end $$;

-- Locks the two people and returns whether the creator may book them in this slot now; then stores what the creator's
-- token says of them. A creator without an id (a service) is not stored. Each query of a volatile function has a
-- snapshot of its own, so that everything committed before the locks were granted is visible. `admit_booking` is the
-- form of the previous version, which looks for no conflict.
create function admit_new_booking(
    p_creator text, p_name text, p_email text, p_picture text, p_email_verified boolean, p_host text, p_guest text,
    p_key text, p_scheduled_at timestamptz, p_minutes integer, p_limited boolean, p_most_open bigint,
    p_most_per_pair bigint)
returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    limits record;
begin
    perform lock_people(array[p_host, p_guest]);
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
        perform remember_person(p_creator, p_name, p_email, p_picture, p_email_verified);
    end if;
    return true;
end $$;

-- Where mails to a person go: an address that is not verified comes after the one that a booking has for its guest.
create function mail_address(email text, email_verified boolean, guest_email text) returns text
language sql immutable parallel safe
return case when email_verified is false then coalesce(guest_email, email) else coalesce(email, guest_email) end;

-- The address of a mail to this person about this booking, if nothing says that it is theirs: they never signed in with
-- it, or the identity provider has not verified it. And the person because of whom it is sent.
create or replace function unproved_address(p_user text, p_session uuid, out stranger text, out inviter text)
language plpgsql stable set search_path = pg_catalog, public, pg_temp
as $$
begin
    select lower(mail_address(u.email, u.email_verified, case when s.guest_id = p_user then s.guest_email end)),
           case when s.id is null then p_user when s.created_by in (s.host_id, s.guest_id) then s.created_by end
    into stranger, inviter
    from (select p_user as id) person
    left join app_users u on u.id = person.id
    left join sessions s on s.id = p_session
    where u.email is null or u.email_verified is false;
    if stranger is null then
        inviter := null;
    end if;
end $$;
-- What is sent with a person's name to other people's browsers is an https URL; tokens bring the next one.
update app_users set avatar_url = null
where avatar_url !~* '^https://[^/?#@[:space:]]+([/?#]|$)' or octet_length(avatar_url) > 2048
   or avatar_url ~* '^https://([^/?#:]*[.])?(localhost|local)[.]?([:/?#]|$)'
   or avatar_url ~ '^https://(\[|[0-9.]+([:/?#]|$))';
update live_rooms set cover_image_url = null
where cover_image_url !~* '^https://[^/?#@[:space:]]+([/?#]|$)' or octet_length(cover_image_url) > 2048
   or cover_image_url ~* '^https://([^/?#:]*[.])?(localhost|local)[.]?([:/?#]|$)'
   or cover_image_url ~ '^https://(\[|[0-9.]+([:/?#]|$))';
-- An address that no mail can reach would hide the one that a booking has for its guest.
update app_users set email = null where email !~ '^[^@[:space:],;<>]+@[^@[:space:],;<>]+[.][^@[:space:],;<>]+$';

insert into service_grants (service, rights, objects) values
    ('booking', 'execute', 'function remember_person(text, text, text, text, boolean)'),
    ('room_lifecycle', 'execute', 'function remember_person(text, text, text, text, boolean)'),
    ('token', 'execute', 'function remember_person(text, text, text, text, boolean)');
select greenroom_grants();
