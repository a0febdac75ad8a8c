with connected as (
    select * from unnest($1::text[], $2::text[], $3::text[]) as i(room_name, user_id, sid)),
seated as (
    select k.room_name, a.user_id, a.participant_sid as sid
    from live_room_attendance a
    join live_room_sessions s on s.id = a.session_id
    left join livekit_rooms k on k.live_session_id = a.session_id
    where a.left_at is null and a.lobby_status = 'admitted' and a.joined_at is not null
      and a.disconnected_at is null),
joined as (
    select k.room_name, p.user_id, p.participant_sid as sid
    from livekit_participants p join livekit_rooms k on k.id = p.room_id where p.status = 'joined')
select 'I6 open seat in an ended session: ' || a.user_id as "wrong!"
from live_room_attendance a join live_room_sessions s on s.id = a.session_id
where a.left_at is null and s.status in ('ended', 'cancelled')
union all select 'I6 a seat without a participant: ' || t::text
    from (select * from seated except select * from connected) t
union all select 'I6 on LiveKit without a seat: ' || t::text
    from (select * from connected except select * from seated) t
union all select 'I6 joined and not on LiveKit: ' || t::text
    from (select * from joined except select * from connected) t
union all select 'I6 on LiveKit and not joined: ' || t::text
    from (select * from connected except select * from joined) t
union all select 'I6 held for ever: ' || a.user_id
    from live_room_attendance a
    where a.left_at is null and a.held_until < app_now() - interval '5 seconds'
union all select 'I6 host_present: ' || s.id
    from live_room_sessions s
    join live_rooms r on r.id = s.room_id
    join livekit_rooms k on k.live_session_id = s.id
    join connected i on i.room_name = k.room_name and i.user_id = r.host_user_id
    where not s.host_present
