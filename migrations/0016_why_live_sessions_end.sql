-- Why a live session ended. Null while it is open, and for sessions that ended before this column existed: their
-- reason is not known, and a wrong one would be worse than none.

alter table live_room_sessions
    add column end_reason text
        constraint live_room_sessions_end_reason check (end_reason in ('host', 'empty', 'time', 'missed', 'reset')),
    add constraint live_room_sessions_open_has_no_end_reason
        check (end_reason is null or status in ('ended', 'cancelled'));

-- Writers that do not know the column end sessions for their host: old clients, and old replicas during a deployment.
create function live_room_sessions_end_reason() returns trigger
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
begin
    if new.status in ('scheduled', 'lobby', 'live') then
        new.end_reason := null;
    elsif old.status in ('scheduled', 'lobby', 'live') and new.end_reason is null then
        new.end_reason := 'host';
    end if;
    return new;
end $$;
revoke execute on function live_room_sessions_end_reason() from public;
create trigger live_room_sessions_end_reason
    before update of status on live_room_sessions
    for each row
    when (old.status is distinct from new.status)
    execute function live_room_sessions_end_reason();

-- As before; a session that was half written and is ended here gets the reason `reset`.
create or replace function settle_live_room(p_room_id uuid) returns boolean
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
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

select greenroom_grants();
