-- A row of the listing that another program than sync changed is written again.
create or replace function mark_stream() returns trigger
language plpgsql volatile security definer set search_path = pg_catalog, greenroom, pg_temp
as $$
begin
    if tg_op = 'DELETE' then
        insert into live_stream_dirty (live_room_id) values (old.id);
    else
        insert into live_stream_dirty (live_room_id) values (new.id);
    end if;
    perform pg_notify('live_stream_dirty', '');
    return null;
end $$;

create or replace trigger community_live_streams_mark after insert or delete on community_live_streams
    for each row when (coalesce(current_setting('greenroom.sync', true), '') <> 'on')
    execute function mark_stream();
create or replace trigger community_live_streams_update_mark after update on community_live_streams
    for each row when (coalesce(current_setting('greenroom.sync', true), '') <> 'on'
        and (old.id, old.title, old.description, old.tags, old.access_level, old.cover_image_url, old.scheduled_for,
             old.status, old.created_by, old.started_at, old.ended_at, old.viewer_count, old.peak_viewers,
             old.managed, old.version)
            is distinct from
            (new.id, new.title, new.description, new.tags, new.access_level, new.cover_image_url, new.scheduled_for,
             new.status, new.created_by, new.started_at, new.ended_at, new.viewer_count, new.peak_viewers,
             new.managed, new.version))
    execute function mark_stream();
