-- The rows of the listing that differ from the projection, as they should be: what sync writes, and what the comparison
-- counts. A version that the sequence has not given was typed by hand, and would hide every later one from the change
-- feed.
create or replace view unaligned_live_streams as
select p.*
from live_stream_projection p
left join community_live_streams c on c.id = p.id
where (p.id, p.title, p.description, p.tags, p.access_level, p.cover_image_url, p.scheduled_for, p.status,
       p.created_by, p.started_at, p.ended_at, p.viewer_count, p.peak_viewers)
      is distinct from
      (c.id, c.title, c.description, c.tags, c.access_level, c.cover_image_url, c.scheduled_for, c.status,
       c.created_by, c.started_at, c.ended_at, c.viewer_count, c.peak_viewers)
   or not c.managed
   or c.version not between 1 and (select last_value from live_stream_version);
