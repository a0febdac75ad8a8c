-- Why an e-mail to an unverified address is dropped, by how many such e-mails an hour has with it: to its address, and
-- because of its inviter (null: it has none). Null: it is sent. The limits keep this server from being an open relay.
create or replace function mail_refusal(p_to_address bigint, p_of_inviter bigint) returns text
language sql immutable parallel safe
return case when p_to_address > 5 then 'too many mails to an unverified address'
            when p_of_inviter > 20 then 'too many mails to strangers for one inviter' end;
