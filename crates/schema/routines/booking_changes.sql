-- What a change of a booking replaced: the previous start, minutes, title and description, those that are new only; and the
-- new description, which is not in booking_payload(). Inlined.
create or replace function booking_changes(
    booking sessions, p_scheduled_at timestamptz, p_minutes integer, p_title text, p_description text)
returns jsonb
language sql stable parallel safe
return jsonb_strip_nulls(jsonb_build_object(
    'description', case when booking.description <> p_description then booking.description end,
    'previous', jsonb_build_object(
        'scheduledAt', case when booking.scheduled_at <> p_scheduled_at
                            then to_char(p_scheduled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') end,
        'durationMinutes', case when booking.duration_minutes <> p_minutes then p_minutes end,
        'title', case when booking.title <> p_title then p_title end,
        'description', case when booking.description <> p_description then p_description end)));
