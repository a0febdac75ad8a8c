-- Whether a booking can still be joined, moved or ended. Inlined; for statements that write one booking, because the
-- condition is checked again on the row that a concurrent statement wrote. Elsewhere: `room_owners.open`.
create or replace function is_booking_open(booking sessions) returns boolean
language sql stable parallel safe
return booking.status in ('scheduled', 'in_progress')
    and app_now() < booking_closes_at(booking.scheduled_at, booking.duration_minutes);
