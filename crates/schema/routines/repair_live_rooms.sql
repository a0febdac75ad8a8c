-- Corrects every live room that was left stuck, and reports what was done: `greenroom repair live-rooms`. Idempotent,
-- and safe beside the running services.
create or replace function repair_live_rooms(
    out sessions bigint, out reset bigint, out pointed bigint, out streams bigint)
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    room uuid;
begin
    select count(*) into sessions from live_room_sessions
    where (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);
    reset := 0;
    pointed := 0;
    for room in select id from stale_live_rooms order by id loop
        if refresh_live_room(room) then
            if exists (select from live_rooms where id = room and status = 'idle') then
                reset := reset + 1;
            else
                pointed := pointed + 1;
            end if;
        end if;
    end loop;
    perform set_config('greenroom.sync', 'on', true);
    with stuck as (
        select c.id, p.started_at, coalesce(p.ended_at, app_now()) as ended_at
        from community_live_streams c
        join live_rooms r on r.id = c.id
        left join live_stream_projection p on p.id = c.id
        where c.status in ('live', 'pending') and coalesce(p.status, 'ended') = 'ended'),
    ended as (
        update community_live_streams c
        set status = 'ended', started_at = stuck.started_at, ended_at = stuck.ended_at, viewer_count = 0
        from stuck where c.id = stuck.id
        returning c.id),
    marked as (
        insert into live_stream_dirty (live_room_id) select id from ended)
    select count(*) into streams from ended;
    perform set_config('greenroom.sync', '', true);
    raise notice 'Ended % stuck sessions', sessions;
    raise notice 'Reset % stuck rooms to idle', reset;
    raise notice 'Pointed % rooms at their open session', pointed;
    raise notice 'Synced % stuck streams to ended', streams;
end $$;
