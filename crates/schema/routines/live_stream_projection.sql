-- What the listing should say: the only definition of "aligned" (I4).
create or replace view live_stream_projection as
select r.id,
       coalesce(nullif(s.session_title, ''), nullif(r.title, ''), r.room_name) as title,
       r.description,
       case when s.topic_keys <> '{}' then s.topic_keys else r.topic_keys end as tags,
       s.access_level,
       r.cover_image_url,
       s.starts_at as scheduled_for,
       case when s.status = 'scheduled' then 'pending'
            when s.status in ('lobby', 'live') then 'live'
            else 'ended'
       end as status,
       r.host_user_id as created_by,
       case when s.status = 'scheduled' then null
            when s.status in ('lobby', 'live') then coalesce(s.started_at, s.lobby_open_at, s.created_at)
            else s.started_at
       end as started_at,
       case when s.status in ('ended', 'cancelled') then s.ended_at end as ended_at,
       case when s.status in ('lobby', 'live') then
           (select count(*)::integer from connected_seats c where c.session_id = s.id and c.role <> 'host')
       else 0 end as viewer_count,
       s.peak_viewers
from live_rooms r
-- The open session, else the latest: each found by an index, because a room may have thousands of sessions. (`limit`:
-- as a plain join, the planner may read all that are open.)
left join lateral (select * from live_room_sessions where open_room = r.id limit 1) o on true
cross join lateral (
    select o.* where o.id is not null
    union all
    (select l.* from live_room_sessions l where l.room_id = r.id and o.id is null
     order by coalesce(l.started_at, l.starts_at) desc, l.created_at desc, l.id desc
     limit 1)) s;
