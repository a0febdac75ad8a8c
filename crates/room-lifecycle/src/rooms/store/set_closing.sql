with owners as ( -- open, and no user is about to join
    select s.id, coalesce(s.started_at, s.lobby_open_at, s.starts_at) as started_at, s.ends_at,
           $3::double precision as empty_timeout
    from live_room_sessions s
    where s.open_room is not null and s.status = 'live'
      -- `offset 0`: uses the index for each session. As a join, the planner may read every open seat.
      and not exists (select from reserved_seats a where a.session_id = s.id offset 0)
    union all
    select n.id, n.created_at, null, $5::double precision
    from nests n
    where n.open_since is not null
      and not exists (select from nest_participants p
                      where p.nest_id = n.id
                        and p.joined_at between app_now() - make_interval(secs => $6) and app_now())),
empty as materialized ( -- no participant has joined, and no end is announced
    select k.id, o.started_at, o.ends_at, o.empty_timeout
    from owners o
    join livekit_rooms k on k.open_owner = o.id and k.status = 'active'
    where (k.closing_at is null or k.closing_at > app_now() + make_interval(secs => $4)
           or k.closing_at < app_now() - interval '1 minute')
      and not (k.nest_id is not null
               and coalesce(k.made_at between app_now() - make_interval(secs => $6) and app_now(), false))
      and not exists (select from livekit_participants p where p.joined_room = k.id)),
quiet as ( -- empty for long enough, or past the end
    select e.id
    from empty e
    cross join lateral (
        select max(p.left_at) as left_at from livekit_participants p
        where p.room_id = e.id and p.joined_at is not null and p.left_at >= e.started_at) last
    where coalesce(e.ends_at <= app_now(), false)
       or not coalesce(
              case when last.left_at is null
                   then e.started_at between app_now() - make_interval(secs => $2) and app_now()
                   else last.left_at between app_now() - make_interval(secs => e.empty_timeout) and app_now()
              end,
              false)
    limit $1),
closing as (
    update livekit_rooms k set closing_at = app_now() + make_interval(secs => $4)
    from quiet where k.id = quiet.id and k.status = 'active'
    returning k.id, k.closing_at)
select mark_room(id, closing_at) is not null as "marked!" from closing
