-- The text search of the listing, by index.

create extension if not exists pg_trgm; -- trusted: the owner of the database may create it

-- The text that a search is compared with. Declared immutable: `array_to_string` is immutable for texts, but is
-- declared stable. In plpgsql: a function in SQL whose body is less immutable than itself is never inlined, and slower.
create function stream_search_text(p_title text, p_description text, p_tags text[]) returns text
language plpgsql immutable parallel safe
as $$
begin
    return lower(concat_ws(E'\n', p_title, p_description, array_to_string(p_tags, ' ')));
end $$;

-- Generated, not written by sync: a row that a person or a legacy client changes is found by its new text at once, and
-- no writer has to know of the column.
alter table community_live_streams
    add column search_text text not null
    generated always as (stream_search_text(title, description, tags)) stored;

-- Every change of a row is a new version of it, in this index too, although its text seldom changes. Additions are
-- collected and merged in batches (fastupdate); a search reads what is not merged yet, which the limit (kB) bounds.
create index community_live_streams_search on community_live_streams using gin (search_text gin_trgm_ops)
    with (fastupdate = on, gin_pending_list_limit = 1024)
    where managed;
-- Texts of one or two characters have no trigram: they are compared with the beginning of titles. `left`: what legacy
-- clients write may be longer than an index takes.
create index community_live_streams_by_title on community_live_streams (left(lower(title), 8) text_pattern_ops)
    where managed;

revoke execute on function stream_search_text(text, text, text[]) from public;
-- The column is computed with the rights of the role that writes the row.
insert into service_grants (service, rights, objects) values
    ('sync', 'execute', 'function stream_search_text(text, text, text[])'),
    ('legacy', 'execute', 'function stream_search_text(text, text, text[])');
select greenroom_grants();
