-- A setting of the join window. In plpgsql, like app_now(): it is not inlined, and keeps its plan. The table is
-- qualified instead of a `set search_path`, which would cost more than the rest of the call.
create or replace function join_setting(p_name text) returns interval
language plpgsql stable parallel safe
as $$
begin
    return coalesce((select value::interval from greenroom.settings where name = p_name),
                    case p_name when 'join_opens_before' then interval '15 min'
                                when 'join_closes_after' then interval '2 h' end);
end $$;
