-- What a notification says of a booking: the same fields in mails and webhooks of every kind. Inlined.
create or replace function booking_payload(booking sessions) returns jsonb
language sql stable parallel safe
return jsonb_strip_nulls(jsonb_build_object(
    'bookingId', booking.id,
    'title', booking.title,
    'durationMinutes', booking.duration_minutes,
    'scheduledAt', to_char(booking.scheduled_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'),
    'timeZone', booking.time_zone,
    'meetingUrl', booking.meeting_url,
    'sequence', booking.sequence,
    'cancelReason', booking.cancel_reason));
