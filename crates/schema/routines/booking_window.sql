-- When a booking can be joined: the only definition. In three forms, because a function with a subquery cannot be
-- inlined, and a call of join_setting() for each row costs more than the rest of the row. The times are the settings
-- JOIN_OPENS_BEFORE and JOIN_CLOSES_AFTER of `greenroom migrate`, in the table `settings`.

-- With the setting as an argument. Statements over many rows pass `(select join_setting('…'))`, which Postgres
-- evaluates once for each statement.
create or replace function booking_opens_at(scheduled_at timestamptz, opens_before interval) returns timestamptz
language sql stable parallel safe
return scheduled_at - opens_before;

create or replace function booking_closes_at(scheduled_at timestamptz, duration_minutes integer, closes_after interval)
returns timestamptz
language sql stable parallel safe
return greatest(scheduled_at + closes_after, scheduled_at + make_interval(mins => duration_minutes + 15));

-- For one row.
create or replace function booking_opens_at(scheduled_at timestamptz) returns timestamptz
language sql stable parallel safe
return booking_opens_at(scheduled_at, join_setting('join_opens_before'));

create or replace function booking_closes_at(scheduled_at timestamptz, duration_minutes integer) returns timestamptz
language sql stable parallel safe
return booking_closes_at(scheduled_at, duration_minutes, join_setting('join_closes_after'));

-- Both, in the FROM of a statement.
create or replace function booking_window(scheduled_at timestamptz, duration_minutes integer)
returns table (opens_at timestamptz, closes_at timestamptz)
language sql stable parallel safe
begin atomic
    select booking_opens_at(scheduled_at, (select join_setting('join_opens_before'))),
           booking_closes_at(scheduled_at, duration_minutes, (select join_setting('join_closes_after')));
end;
