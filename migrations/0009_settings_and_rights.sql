-- Settings are rows, which the owner of the database may write. PUBLIC has no right on our tables and functions.

-- ---------------------------------------------------------------- settings

-- The settings of `greenroom migrate`, for all services and psql. A change counts for the next statement.
create table settings (
    name       text primary key,
    value      text not null,
    updated_at timestamptz not null default app_now(),
    constraint settings_windows
        check (name not in ('join_opens_before', 'join_closes_after') or isfinite(value::interval))
);
-- Earlier versions stored them with `alter database … set`, which needs a superuser: such values are kept.
insert into settings (name, value) values
    ('join_opens_before', coalesce(nullif(current_setting('greenroom.join_opens_before', true), ''), '15 min')),
    ('join_closes_after', coalesce(nullif(current_setting('greenroom.join_closes_after', true), ''), '2 h'));

-- A setting of the join window. In plpgsql, like app_now(): it is not inlined, and keeps its plan.
create function join_setting(p_name text) returns interval
language plpgsql stable parallel safe
as $$
begin
    return coalesce((select value::interval from public.settings where name = p_name),
                    case p_name when 'join_opens_before' then interval '15 min'
                                when 'join_closes_after' then interval '2 h' end);
end $$;

-- The join window: the only definition. In two forms, because a function with a subquery in it cannot be inlined, and a
-- call of join_setting() for each row costs more than the rest of the row. Statements over many rows give the setting
-- as `(select join_setting('…'))`, which Postgres evaluates once for each statement.
create function booking_opens_at(scheduled_at timestamptz, opens_before interval) returns timestamptz
language sql stable parallel safe
return scheduled_at - opens_before;
create function booking_closes_at(scheduled_at timestamptz, duration_minutes integer, closes_after interval)
returns timestamptz
language sql stable parallel safe
return greatest(scheduled_at + closes_after, scheduled_at + make_interval(mins => duration_minutes + 15));

create or replace function booking_opens_at(scheduled_at timestamptz) returns timestamptz
language sql stable parallel safe
return booking_opens_at(scheduled_at, join_setting('join_opens_before'));
create or replace function booking_closes_at(scheduled_at timestamptz, duration_minutes integer) returns timestamptz
language sql stable parallel safe
return booking_closes_at(scheduled_at, duration_minutes, join_setting('join_closes_after'));

create or replace function booking_window(scheduled_at timestamptz, duration_minutes integer)
returns table (opens_at timestamptz, closes_at timestamptz)
language sql stable parallel safe
begin atomic
    select booking_opens_at(scheduled_at, (select join_setting('join_opens_before'))),
           booking_closes_at(scheduled_at, duration_minutes, (select join_setting('join_closes_after')));
end;

create or replace view room_owners as
select s.id as owner,
       'session' as kind,
       s.status in ('scheduled', 'in_progress')
           and app_now() < booking_closes_at(s.scheduled_at, s.duration_minutes,
                                             (select join_setting('join_closes_after'))) as open,
       booking_opens_at(s.scheduled_at, (select join_setting('join_opens_before'))) as opens_at,
       booking_closes_at(s.scheduled_at, s.duration_minutes,
                         (select join_setting('join_closes_after'))) as closes_at,
       case when s.status = 'cancelled' then 'cancelled'
            when app_now() >= booking_closes_at(s.scheduled_at, s.duration_minutes,
                                                (select join_setting('join_closes_after'))) then 'window'
            when s.status in ('completed', 'no_show') then 'host'
       end as ended_reason,
       2 as capacity,
       s.meeting_url
from sessions s
union all
select l.id,
       'live_session',
       l.status in ('lobby', 'live'),
       coalesce(least(l.lobby_open_at, l.started_at), l.starts_at),
       greatest(l.ends_at, app_now() + interval '1 day'),
       case l.status when 'ended' then 'host' when 'cancelled' then 'cancelled' end,
       l.max_participants,
       null
from live_room_sessions l
union all
select n.id,
       'nest',
       n.status = 'open',
       n.created_at,
       app_now() + interval '1 day',
       case n.status when 'ended' then 'host' end,
       45,
       null
from nests n;

-- ---------------------------------------------------------------- who may do what

-- What this role makes from now on is closed to PUBLIC as well. (Postgres grants PUBLIC nothing on tables, and EXECUTE
-- on every function. The default can only be changed for all schemas of the database.)
alter default privileges revoke execute on functions from public;

-- Functions with their caller's rights grant nothing new: the services may call them all. Functions with their owner's
-- rights are granted one by one.
insert into service_grants (service, rights, objects)
select service, 'execute', 'functions with the rights of the caller'
from unnest(array['booking', 'room_lifecycle', 'token', 'sync']) service;

-- Relations and functions of ours: in our schema, of an owner whose rights the caller has, and of no extension. Others
-- may have tables there that our owner may not even read.
create or replace function greenroom_grants() returns void
language plpgsql volatile set search_path = pg_catalog, public, pg_temp
as $$
declare
    given record;
    tables text;
begin
    -- PUBLIC has nothing.
    for given in
        select case c.relkind when 'S' then 'sequence' else 'table' end as kind, c.oid::regclass as name
        from pg_class c
        where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
          and pg_has_role(c.relowner, 'usage')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
          and (exists (select from aclexplode(c.relacl) acl where acl.grantee = 0)
               or exists (select from pg_attribute a cross join lateral aclexplode(a.attacl) acl
                          where a.attrelid = c.oid and acl.grantee = 0))
    loop
        execute format('revoke all on %s %s from public', given.kind, given.name);
    end loop;
    for given in
        select p.oid::regprocedure as name
        from pg_proc p
        where p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'usage')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
          and exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
                      where acl.grantee = 0)
    loop
        execute format('revoke all on routine %s from public', given.name);
    end loop;

    -- The rows of service_grants as GRANT statements; two of them mean all tables, or all functions.
    tables := (select string_agg(c.oid::regclass::text, ', ')
               from pg_class c
               where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f')
                 and pg_has_role(c.relowner, 'usage')
                 and not exists (select from pg_depend d
                                 where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'));
    for given in
        select g.rights,
               case g.objects when 'all tables in schema public' then tables else g.objects end as objects,
               r.rolname
        from service_grants g join pg_roles r on r.rolname = 'greenroom_' || g.service
        where g.objects <> 'functions with the rights of the caller'
    loop
        execute format('grant %s on %s to %I', given.rights, given.objects, given.rolname);
    end loop;
    -- Of extensions too: where the default privileges keep PUBLIC from what our owner creates.
    for given in
        select g.rights, p.oid::regprocedure as name, r.rolname
        from service_grants g
        join pg_roles r on r.rolname = 'greenroom_' || g.service
        join pg_proc p on p.pronamespace = 'public'::regnamespace and pg_has_role(p.proowner, 'usage')
        where g.objects = 'functions with the rights of the caller'
          and not p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
          and p.proname not in ('greenroom_grants', 'repair_live_rooms')
          and not has_function_privilege(r.oid, p.oid, 'execute')
    loop
        execute format('grant %s on routine %s to %I', given.rights, given.name, given.rolname);
    end loop;
end $$;
select greenroom_grants();
