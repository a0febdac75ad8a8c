-- What became of a signed request that was recorded before (nostr_seen). No row: it is new, or it has no answer because
-- its change failed. `is_used`: another key or nest sent it, or its answer would be wrong now: the key has made a later
-- change in that nest. A request that created a nest (`p_nest` is null) is also used after a later change of the key
-- anywhere, and when its nest is over.
create or replace function signed_answer(p_event bytea, p_body bytea, p_key bytea, p_nest uuid)
returns table (is_used boolean, status smallint, made_id uuid)
language sql stable set search_path = pg_catalog, greenroom, pg_temp
as $$
    select used.is_used, s.status, s.made_id
    from nostr_seen s
    cross join lateral (
        select s.pubkey <> p_key
               or s.nest_id is distinct from p_nest
               or exists (select from nostr_seen later
                          where later.pubkey = s.pubkey and later.seq > s.seq
                            and (p_nest is null or later.nest_id = p_nest))
               or p_nest is null
                  and not exists (select from nests n where n.id = s.made_id and n.status = 'open') as is_used
    ) used
    where s.event_id = p_event and s.body_hash = p_body and (used.is_used or s.status is not null);
$$;
