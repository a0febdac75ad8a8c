-- Stores the locale and the time zone that a user chose. Null keeps a value, and the empty text removes it.
create or replace function set_preferences(p_id text, p_locale text, p_time_zone text) returns void
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into app_users (id, chosen_locale, chosen_time_zone)
    values (p_id, nullif(p_locale, ''), nullif(p_time_zone, ''))
    on conflict (id) do update
    set chosen_locale    = case when p_locale is null then app_users.chosen_locale else excluded.chosen_locale end,
        chosen_time_zone = case when p_time_zone is null then app_users.chosen_time_zone
                                else excluded.chosen_time_zone end;
end $$;
