-- Admitted seats of one of our rooms on LiveKit that differ from what LiveKit shows, or whose users have no participant
-- record yet (`unknown`). Only while its live session can be joined. Inlined.
--
-- A participant that the last check missed does not get a seat back. A seat that was released more than `p_leave_grace`
-- seconds ago, not given up, is taken again as soon as its user is observed (`present`). This never holds for users who
-- are kicked or banned (`is_out`).
create or replace function seat_changes(p_room_id uuid, p_leave_grace double precision)
returns table (room_id uuid, session_id uuid, user_id text, role text, participant_sid text, joined_at timestamptz,
               present boolean, is_out boolean, unknown boolean)
language sql stable parallel safe
begin atomic
    select k.id, a.session_id, a.user_id, a.role, p.participant_sid, p.joined_at, i.present, i.is_out,
           p.user_id is null
    from livekit_rooms k
    join live_room_sessions s on s.id = k.live_session_id and s.status in ('lobby', 'live')
    join live_room_attendance a on a.session_id = s.id and a.lobby_status = 'admitted'
    left join livekit_participants p on p.room_id = k.id and p.user_id = a.user_id
    left join current_bans b on b.live_room_id = a.live_room_id and b.user_id = a.user_id
    cross join lateral (
        select b.user_id is not null or p.status is not distinct from 'kicked' as is_out,
               coalesce(p.status = 'joined' and b.user_id is null
                        and (p.absent_since is null
                             or a.left_at is null and a.disconnected_at is null), false) as present) i
    where k.id = p_room_id
      and case when i.present and a.left_at is null
               then a.joined_at is null or a.held_until is not null or a.disconnected_at is not null
                    or a.participant_sid is distinct from p.participant_sid
               when i.present
               then a.held_until is not null or a.left_at <= app_now() - make_interval(secs => p_leave_grace)
               else a.left_at is null and (a.held_until is null or p.user_id is null or i.is_out) end;
end;
