with room as ( -- locks the room before its participants, as everywhere
    select id from livekit_rooms
    where id = $1 and generation = $5 and status = 'active' for no key update),
observed as (
    select * from unnest($2::text[], $3::text[]) as s(user_id, sid)),
present as (
    update livekit_participants p
    set status = 'joined', participant_sid = observed.sid, joined_at = coalesce(p.joined_at, app_now()),
        left_at = null, absent_since = null, ghost_since = null,
        silent_since = case when p.participant_sid = observed.sid then p.silent_since end
    from observed, room
    where p.room_id = room.id and p.user_id = observed.user_id and p.status <> 'kicked'
      and (p.ghost_since is null or p.participant_sid is distinct from observed.sid)
      and (p.status <> 'joined' or p.participant_sid is distinct from observed.sid
           or p.absent_since is not null)
    returning p.user_id)
update livekit_participants p
set absent_since = least(p.absent_since, $4::timestamptz),
    status = case when gone.sure then 'left' else p.status end,
    left_at = case when gone.sure then app_now() else p.left_at end
from (select q.user_id,
             (not $6 and q.absent_since <= $4::timestamptz - interval '5 seconds')
             or exists (select from livekit_events e
                        where e.room_id = $1 and e.identity = q.user_id
                          and e.participant_sid = q.participant_sid
                          and e.event_type in ('participant_left', 'participant_connection_aborted')) as sure
      from livekit_participants q
      where q.joined_room = $1
        and not exists (select from observed where observed.user_id = q.user_id)) gone, room
where p.room_id = room.id and p.user_id = gone.user_id
  -- checked again: a concurrent kick may have committed while this statement waited for the row
  and p.status = 'joined'
  and (gone.sure or p.absent_since is null or p.absent_since > $4)
