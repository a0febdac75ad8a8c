with oldest as (
    select id from notifications where unexpanded_since is not null order by unexpanded_since, id
    limit $2),
expanded as (
    update notifications set expanded_at = app_now()
    where id = any(array(select id from oldest)) and expanded_at is null
    returning id, kind, session_id, user_id, created_at, payload),
-- One row for each channel. `stranger` is the address of a mail if it is not verified.
addressed as (
    select e.*, channel, stranger, inviter
    from expanded e cross join unnest($1::text[]) channel
    left join lateral unverified_address(e.user_id, e.session_id) unproved on channel = 'email'),
-- The refusal counts this batch and the last hour.
limited as (
    select a.*,
           mail_refusal(
               case when stranger is not null then
                   row_number() over (partition by stranger order by created_at, id)
                   + (select count(*) from notification_deliveries d
                      where d.stranger = a.stranger and d.dropped_at is null
                        and d.created_at > app_now() - interval '1 hour') end,
               case when stranger is not null and inviter is not null then
                   row_number() over (partition by stranger is null, inviter order by created_at, id)
                   + (select count(*) from notification_deliveries d
                      where d.inviter = a.inviter and d.dropped_at is null
                        and d.created_at > app_now() - interval '1 hour') end) as refusal
    from addressed a),
inserted as (
    insert into notification_deliveries
        (notification_id, channel, stream_key, stranger, inviter, dropped_at, last_error)
    select id, channel,
           case when kind = 'reminder' then concat('reminder:', payload ->> 'minutesBefore', ':') else '' end
           || case when channel = 'email' then concat_ws(':', session_id, coalesce(user_id, 'admins'))
                   else coalesce(session_id::text, user_id, 'admins') end,
           stranger, inviter,
           case when refusal is not null then app_now() end, refusal
    from limited
    order by created_at, id)
select count(*) as "expanded!" from expanded
