-- Where e-mail to a user goes: an address that is not verified comes after the one that a booking has for its guest.
create or replace function mail_address(email text, email_verified boolean, guest_email text) returns text
language sql immutable parallel safe
return case when email_verified is false then coalesce(guest_email, email) else coalesce(email, guest_email) end;
