-- Who may read a live room, its session and its stream: the only definition. `p_access` is the access level of the
-- open session, or of the room without one; `p_metadata` names the groups of the room.
create or replace function may_read_live_room(p_access text, p_host text, p_metadata jsonb, p_user text,
                                              p_admin boolean, p_user_groups text[]) returns boolean
language sql immutable parallel safe
return p_access = 'public' or p_admin or p_host = p_user or coalesce(p_metadata -> 'groups' ?| p_user_groups, false);
