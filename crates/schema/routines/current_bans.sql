-- Bans of live rooms that have not expired: the only definition.
create or replace view current_bans as
select live_room_id, user_id, banned_by, until, created_at
from live_room_bans
where until is null or until > app_now();
