-- The rights of the roles `greenroom_<service>`: the table of docs/architecture.md. `rights` and `objects` as GRANT
-- words them, except `all tables` and `all functions`: those with the rights of the caller. Functions with the rights
-- of the owner are granted one by one. grant_service_rights() applies these rows, and revokes everything else.
create or replace view service_grants as
select service, rights, objects
from (values
    ('booking', 'usage', 'schema greenroom'),
    ('booking', 'select', 'all tables'),
    ('booking', 'execute', 'all functions'),
    ('booking', 'insert, update, delete', 'sessions, session_participants, notifications, notification_deliveries'),
    ('booking', 'execute', 'function upsert_user(text, text, text, text, boolean, text, text)'),
    ('booking', 'execute', 'function set_preferences(text, text, text)'),

    ('room_lifecycle', 'usage', 'schema greenroom'),
    ('room_lifecycle', 'select', 'all tables'),
    ('room_lifecycle', 'execute', 'all functions'),
    ('room_lifecycle', 'insert, update, delete',
     'livekit_rooms, livekit_room_names, rooms_to_close, livekit_participants, livekit_events, room_marks, ghost_watch,
      deployment'),
    ('room_lifecycle', 'insert, update, delete',
     'live_rooms, live_room_sessions, live_room_attendance, live_room_bans'),
    ('room_lifecycle', 'insert, update, delete', 'nests, nest_participants, nostr_seen'),
    ('room_lifecycle', 'insert, update, delete', 'recordings'),
    ('room_lifecycle', 'insert', 'notifications'),   -- it notifies admins of rooms that failed
    ('room_lifecycle', 'execute', 'function upsert_user(text, text, text, text, boolean, text, text)'),

    ('token', 'usage', 'schema greenroom'),
    ('token', 'select', 'all tables'),
    ('token', 'execute', 'all functions'),
    ('token', 'execute', 'function upsert_user(text, text, text, text, boolean, text, text)'),

    ('sync', 'usage', 'schema greenroom'),
    ('sync', 'select', 'all tables'),
    ('sync', 'execute', 'all functions'),
    ('sync', 'insert, update, delete', 'community_live_streams, live_stream_dirty'),
    ('sync', 'usage, select', 'sequence live_stream_version'),

    -- Old clients: they read the listing and write the columns that sync does not.
    ('legacy', 'usage', 'schema greenroom'),
    ('legacy', 'select', 'community_live_streams'),
    ('legacy', 'update (enable_chat, enable_polls, enable_replay, total_messages, co_hosts, metadata)',
     'community_live_streams'),
    -- A generated column is computed with the rights of the role that writes the row.
    ('legacy', 'execute', 'function stream_search_text(text, text, text[])')
) as given (service, rights, objects);
