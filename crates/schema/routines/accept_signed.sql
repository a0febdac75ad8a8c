-- Records a signed request, as the first write of the transaction of its change. No row: the request is to be carried
-- out. A row: it was carried out before, as signed_answer() says. `p_status` and `p_made` are its answer, where that is
-- known before the change.
--
-- Changes of one key in one nest wait for each other here until the transaction ends. So `seq` is the order of their
-- effects, and of two equal requests at the same time the second one sees the answer of the first.
create or replace function accept_signed(
    p_event bytea, p_body bytea, p_key bytea, p_nest uuid, p_status smallint, p_made uuid)
returns table (is_used boolean, status smallint, made_id uuid)
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
#variable_conflict use_column
begin
    perform pg_advisory_xact_lock(hashtextextended(encode(p_key, 'hex') || coalesce(p_nest::text, ''), 98));
    -- Statements of their own: they see what was committed before the lock was granted.
    insert into nostr_seen (event_id, body_hash, pubkey, nest_id, status, made_id)
    values (p_event, p_body, p_key, p_nest, p_status, p_made)
    on conflict on constraint nostr_seen_once do nothing;
    if found then
        return;
    end if;
    return query select * from signed_answer(p_event, p_body, p_key, p_nest);
    if not found then
        update nostr_seen set status = p_status, made_id = p_made where event_id = p_event and body_hash = p_body;
    end if;
end $$;
