-- Makes the projection of a live room equal to its open session, ends sessions that were half written, and closes the
-- seats of sessions that are over. Locks the room first, then sessions and seats, as everything does. True: something
-- was changed. Called in every transaction that changes a session, in go live, and by the pass.
create or replace function refresh_live_room(p_room_id uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    room live_rooms;
    open_session live_room_sessions;
    touched bigint;
    changed boolean := false;
begin
    select * into room from live_rooms where id = p_room_id for no key update;
    if not found then
        return false;
    end if;
    update live_room_sessions
    set status = case when status in ('scheduled', 'lobby', 'live') then 'ended' else status end,
        ended_at = coalesce(ended_at, greatest(app_now(), starts_at)),
        end_reason = coalesce(end_reason, 'reset'), updated_at = app_now()
    where room_id = p_room_id and (status in ('scheduled', 'lobby', 'live')) = (ended_at is not null);
    get diagnostics touched = row_count;
    changed := changed or touched > 0;
    update live_room_attendance a
    set left_at = app_now(), disconnected_at = null, held_until = null
    from live_room_sessions s
    where a.open_room = p_room_id and s.id = a.session_id
      and s.status in ('ended', 'cancelled');
    get diagnostics touched = row_count;
    changed := changed or touched > 0;
    select * into open_session from live_room_sessions
    where open_room = p_room_id;
    if (room.status, room.current_session_id, room.host_present)
       is distinct from
       (coalesce(open_session.status, 'idle'), open_session.id, coalesce(open_session.host_present, false)) then
        update live_rooms
        set status = coalesce(open_session.status, 'idle'), current_session_id = open_session.id,
            host_present = coalesce(open_session.host_present, false), updated_at = app_now()
        where id = p_room_id;
        changed := true;
    end if;
    return changed;
end $$;
