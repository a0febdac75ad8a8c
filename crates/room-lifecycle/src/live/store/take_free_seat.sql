with seat as (
    insert into live_room_attendance as a
        (session_id, live_room_id, user_id, role, lobby_status, held_until)
    select s.id, s.room_id, $2, $3, $4, app_now() + make_interval(secs => $6)
    from live_room_sessions s
    where s.id = $1
      and ($5 or (select count(*) from taken_seats t
                  where t.session_id = $1 and t.user_id <> $2) < s.max_participants)
    on conflict (session_id, user_id) do update
    set role = excluded.role, lobby_status = excluded.lobby_status, is_banned = false, left_at = null,
        seated_at = case when a.left_at is null then a.seated_at else excluded.seated_at end,
        hand_raised_at = case when a.left_at is null then a.hand_raised_at end,
        held_until = greatest(excluded.held_until,
                              case when a.left_at is null and a.lobby_status = excluded.lobby_status
                                   then a.held_until end),
        -- a user who comes back counts as a viewer only when observed again
        disconnected_at = case when a.joined_at is not null
                               then coalesce(a.disconnected_at, a.left_at) end
    returning a.role, a.lobby_status),
participant as (
    insert into livekit_participants (room_id, user_id, role, display_name)
    select k.id, $2, participant_role($3), nullif($7, '')
    from seat join livekit_rooms k on k.live_session_id = $1
    on conflict do nothing),
remembered as (select upsert_user($2, $7, $8, $9, $10, $11, $12) is not null from seat)
select seat.role as "role!: SeatRole", seat.lobby_status as "lobby_status!: LobbyStatus"
from seat cross join remembered
