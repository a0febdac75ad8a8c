-- Stores what a token says of a user. Writes nothing when nothing changed, so that hot paths may call it. Empty texts
-- mean "not given" and keep the stored value. `email_verified` belongs to the address: a new address takes the given
-- value, also null; the same address keeps the stored value when none is given.
create or replace function upsert_user(
    p_id text, p_name text, p_email text, p_avatar_url text, p_email_verified boolean, p_locale text, p_zoneinfo text)
returns void
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into app_users (id, display_name, email, avatar_url, email_verified, locale, zoneinfo)
    values (p_id, nullif(p_name, ''), nullif(p_email, ''), nullif(p_avatar_url, ''),
            case when p_email <> '' then p_email_verified end, nullif(p_locale, ''), nullif(p_zoneinfo, ''))
    on conflict (id) do update
    set display_name   = coalesce(excluded.display_name, app_users.display_name),
        email          = coalesce(excluded.email, app_users.email),
        avatar_url     = coalesce(excluded.avatar_url, app_users.avatar_url),
        email_verified = case when excluded.email is null then app_users.email_verified
                              when lower(excluded.email) is distinct from lower(app_users.email)
                                  then excluded.email_verified
                              else coalesce(excluded.email_verified, app_users.email_verified) end,
        locale         = coalesce(excluded.locale, app_users.locale),
        zoneinfo       = coalesce(excluded.zoneinfo, app_users.zoneinfo),
        seen_at        = app_now()
    where (coalesce(excluded.display_name, app_users.display_name),
           coalesce(excluded.email, app_users.email),
           coalesce(excluded.avatar_url, app_users.avatar_url),
           case when excluded.email is null then app_users.email_verified
                when lower(excluded.email) is distinct from lower(app_users.email) then excluded.email_verified
                else coalesce(excluded.email_verified, app_users.email_verified) end,
           coalesce(excluded.locale, app_users.locale),
           coalesce(excluded.zoneinfo, app_users.zoneinfo))
          is distinct from (app_users.display_name, app_users.email, app_users.avatar_url, app_users.email_verified,
                            app_users.locale, app_users.zoneinfo);
end $$;
