-- What rooms are for: bookings, live sessions and nests; whether they are open now, and until when. The only
-- definition, for the token service, passes, EnsureRoom and diagnosis. Statements about one room use room_owner().
create or replace view room_owners as
select s.id as owner,
       'session' as kind,
       s.status in ('scheduled', 'in_progress')
           and app_now() < booking_closes_at(s.scheduled_at, s.duration_minutes,
                                             (select join_setting('join_closes_after'))) as open,
       booking_opens_at(s.scheduled_at, (select join_setting('join_opens_before'))) as opens_at,
       booking_closes_at(s.scheduled_at, s.duration_minutes,
                         (select join_setting('join_closes_after'))) as closes_at,
       case when s.status = 'cancelled' then 'cancelled'
            when app_now() >= booking_closes_at(s.scheduled_at, s.duration_minutes,
                                                (select join_setting('join_closes_after'))) then 'window'
            when s.status in ('completed', 'no_show') then 'host'
       end as ended_reason,
       2 as capacity,
       s.meeting_url
from sessions s
union all
-- A live session has a room from the opening of its lobby on, as long as it lasts, also beyond its planned end: its
-- window ends at least a day after the statement that reads it.
select l.id,
       'live_session',
       l.status in ('lobby', 'live'),
       coalesce(least(l.lobby_open_at, l.started_at), l.starts_at),
       greatest(l.ends_at, app_now() + interval '1 day'),
       case l.status when 'ended' then 'host' when 'cancelled' then 'cancelled' end,
       l.max_participants,
       null
from live_room_sessions l
union all
-- A nest is open until its host ends it or it is empty. 45 participants, and LiveKit's margin of 5, are the 50 that
-- clients expect.
select n.id,
       'nest',
       n.status = 'open',
       n.created_at,
       app_now() + interval '1 day',
       case n.status when 'ended' then 'host' end,
       45,
       null
from nests n;
