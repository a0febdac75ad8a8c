-- Who belongs to a new room, by the key and kind of its owner: the parties of a booking, the seats of a live session,
-- the participants of a nest. Called like room_owner(), and inlined like it.
create or replace function owner_participants(p_session_id uuid, p_live_session_id uuid, p_nest_id uuid)
returns table (user_id text, role text, display_name text)
language sql stable parallel safe
begin atomic
    select p.user_id, p.role, coalesce(u.display_name, case p.role when 'guest' then s.guest_name end)
    from sessions s
    join session_participants p on p.session_id = s.id
    left join app_users u on u.id = p.user_id
    where s.id = p_session_id
    union all
    select a.user_id, participant_role(a.role), u.display_name
    from live_room_attendance a
    left join app_users u on u.id = a.user_id
    where a.session_id = p_live_session_id
    union all
    select p.pubkey, case when p.is_admin then 'admin' when p.is_speaker then 'speaker' else 'listener' end, null
    from nest_participants p
    where p.nest_id = p_nest_id;
end;
