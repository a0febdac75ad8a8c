with asked as ( -- `skip locked`: waiting could deadlock with a statement that waits for one of these rows
    select p.room_id, p.user_id, p.ghost_since, t.answer,
           exists (select from livekit_events e
                   where e.room_id = p.room_id and e.identity = p.user_id
                     and e.received_at >= p.silent_since) as heard,
           exists (select from livekit_events e
                   where e.room_id = p.room_id and e.identity = p.user_id
                     and e.received_at >= $4) as heard_meanwhile
    from unnest($1::uuid[], $2::text[], $3::text[]) as t(room_id, user_id, answer)
    join livekit_participants p on p.room_id = t.room_id and p.user_id = t.user_id
    for no key update of p skip locked),
written as (
    update livekit_participants p
    set checked_at = $4,
        alive_at = case a.answer when 'alive' then least(greatest(p.alive_at, $4), app_now())
                                 else p.alive_at end,
        ghost_since = case a.answer when 'alive' then null else p.ghost_since end,
        silent_since = case when a.answer = 'alive' then null
                            when a.answer = 'unknown' or p.ghost_since is not null
                            then least(p.silent_since, $4) -- `least`: the clock may have been set back
                            when a.heard_meanwhile then null
                            when p.silent_since <= $4 and not a.heard then p.silent_since
                            else $4 end
    from asked a
    where p.room_id = a.room_id and p.user_id = a.user_id)
select mark_room(room_id) is not null as "marked!"
from asked where ghost_since is not null and answer = 'alive'
