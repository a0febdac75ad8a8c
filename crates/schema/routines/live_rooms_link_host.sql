-- Stores a new live room in the row of its host (`app_users.live_room_id`).
create or replace function live_rooms_link_host() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    insert into app_users (id, live_room_id) values (new.host_user_id, new.id)
    on conflict (id) do update set live_room_id = excluded.live_room_id;
    return null;
end $$;

create or replace trigger live_rooms_link_host after insert on live_rooms
    for each row execute function live_rooms_link_host();
