-- The role of a user in a live session: the room says who is the host, the seat says who is a speaker. Null arguments
-- mean that there is no seat, or no room.
create or replace function seat_role(p_user text, p_host text, p_seat_role text) returns text
language sql immutable parallel safe
return case when p_user = p_host then 'host' when p_seat_role = 'speaker' then 'speaker' else 'guest' end;

-- The role on LiveKit for the role of a seat.
create or replace function participant_role(p_seat_role text) returns text
language sql immutable parallel safe
return case p_seat_role when 'guest' then 'viewer' else p_seat_role end;
