with closed as (
    update recordings
    set status = $2, error = left($3, 500), egress_id = coalesce(egress_id, $4), size = $5,
        duration = make_interval(secs => $6), started_at = coalesce(started_at, $7),
        ended_at = coalesce(finished_at, app_now()),
        idempotency_key = case when $8 then null else idempotency_key end
    where id = $1 and status in ('starting', 'active', 'ending')
    returning *),
outcome as ( -- what to announce
    select c.id, c.room_id, c.error, c.status = 'complete' as complete, c.answered or not $9 as announced
    from closed c
    where c.kind = 'file' and c.deleted_at is null
      and (c.stop_asked_at is null or c.status <> 'aborted' and not $8)),
event as (
    insert into livekit_events (event_id, room_id, event_type, payload)
    select 'GR_' || gen_random_uuid(), o.room_id, 'recording_failed',
           jsonb_strip_nulls(jsonb_build_object('recordingId', o.id, 'error', o.error))
    from outcome o
    where not o.complete),
notified as (
    insert into notifications (user_id, kind, session_id, payload, dedupe_key)
    select t.recipient, t.kind, t.session_id,
           jsonb_strip_nulls(jsonb_build_object(
               'recordingId', t.id, 'bookingId', t.session_id, 'liveRoomId', t.live_room_id,
               'title', t.title, 'durationSeconds', $6::float8, 'error', t.error)),
           concat_ws(':', t.kind, t.id, t.recipient)
    from (
        select o.id, case when o.complete then 'recording_ready' else 'recording_failed' end as kind,
               case when not o.complete then o.error end as error, p.*
        from outcome o
        join livekit_rooms r on r.id = o.room_id
        cross join lateral (
            select s.id as session_id, null::uuid as live_room_id, s.title,
                   unnest(case when o.complete then array[s.host_id, s.guest_id]
                               else array[s.host_id] end) as recipient
            from sessions s where s.id = r.session_id
            union all
            select null, l.room_id, coalesce(l.session_title, h.title), h.host_user_id
            from live_room_sessions l
            join live_rooms h on h.id = l.room_id
            where l.id = r.live_session_id) p
        where o.complete or o.announced) t
    on conflict on constraint notifications_dedupe_key do nothing)
select id from closed
