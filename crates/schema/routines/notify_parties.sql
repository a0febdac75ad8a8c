-- Inserts the notifications of a change for host and guest, once for each version of the booking; `p_more` is added to
-- what booking_payload() says of it. For the statement that makes the change: `returning sessions as booking`, because
-- the table still shows the row before it. The tables are qualified instead of a `set search_path`, which costs each
-- call.
create or replace function notify_parties(booking sessions, p_kind text, p_more jsonb) returns void
language plpgsql volatile
as $$
begin
    insert into greenroom.notifications (user_id, kind, session_id, payload, dedupe_key)
    select party, p_kind, booking.id, greenroom.booking_payload(booking) || p_more,
           concat_ws(':', p_kind, booking.id, booking.sequence, party)
    from unnest(array[booking.host_id, booking.guest_id]) party
    on conflict on constraint notifications_dedupe_key do nothing;
end $$;
