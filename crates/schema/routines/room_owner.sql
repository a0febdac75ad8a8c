-- The owner of a room, by its key and kind. A join with the view `room_owners` is estimated by its whole size, because
-- a union has no statistics; here each branch is one row of one table, found by its primary key (docs/decisions/0019).
-- At most one argument is not null, as in `livekit_rooms`; a null key finds no row.
--
-- Inlined: neither strict, nor with settings, nor security definer. A text, not `begin atomic`: it follows the view when
-- that gets another column.
create or replace function room_owner(p_session_id uuid, p_live_session_id uuid, p_nest_id uuid)
returns setof room_owners
language sql stable parallel safe
as $$
    select * from greenroom.room_owners where kind = 'session' and owner = p_session_id
    union all
    select * from greenroom.room_owners where kind = 'live_session' and owner = p_live_session_id
    union all
    select * from greenroom.room_owners where kind = 'nest' and owner = p_nest_id
$$;
