select p.user_id,
       (select min(stay.joined) filter (
                   where not stay.gone
                     and stay.joined > all (array[stay.last_over, stay.last_removed]) is not false)
        from (select stay.joined, stay.gone,
                     max(stay.joined) filter (where stay.gone) over () as last_over,
                     max(stay.removed) over () as last_removed
              from (select min(e.received_at) filter (where e.event_type = 'participant_joined'
                                                        and e.received_at > since.at
                                                        and e.room_sid = r.room_sid) as joined,
                           max(e.received_at) filter (
                               where e.event_type = 'participant_removed') as removed,
                           bool_or(e.participant_sid is not null
                                   and e.event_type in ('participant_left',
                                                        'participant_connection_aborted',
                                                        'participant_removed')) as gone
                    from livekit_events e
                    where e.room_id = p.room_id and e.identity = p.user_id
                    group by e.participant_sid) stay) stay) as rejoined_since
from livekit_participants p
join livekit_rooms r on r.id = p.room_id
left join live_room_sessions s on s.id = r.live_session_id
left join current_bans b on b.live_room_id = s.room_id and b.user_id = p.user_id
cross join lateral (
    select coalesce(case when p.status = 'kicked' then p.kicked_at end, b.created_at) as at) since
where p.room_id = $1 and (p.status = 'kicked' or b.user_id is not null)
