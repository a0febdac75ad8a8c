-- The numbers of one live session: users who wait, users who are connected, and raised hands. One row, also without a
-- session. Inlined: one scan of the session's open seats.
create or replace function seat_counts(p_session_id uuid)
returns table (waiting bigint, connected bigint, hands_raised bigint)
language sql stable parallel safe
begin atomic
    select count(*) filter (where a.lobby_status = 'waiting'
                              and (a.held_until is null or a.held_until > app_now())),
           count(*) filter (where a.lobby_status = 'admitted' and a.joined_at is not null
                              and a.disconnected_at is null),
           count(a.hand_raised_at)
    from live_room_attendance a
    where a.open_session = p_session_id;
end;
