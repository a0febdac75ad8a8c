-- Gives each role `greenroom_<service>` exactly the rights of `service_grants`, and PUBLIC none. `greenroom migrate`
-- calls it each time, for roles that were created since. Roles that do not exist are skipped. Concurrent statements see
-- the rights before or after, because rights are rows of the catalogue and this is one transaction.
create or replace function grant_service_rights() returns void
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    -- Ours: in our schema, of an owner whose rights the caller has, and of no extension.
    ours constant oid[] := array(
        select c.oid from pg_class c
        where c.relnamespace = 'greenroom'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
          and pg_has_role(c.relowner, 'usage')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e'));
    tables constant text := (
        select string_agg(c.oid::regclass::text, ', ') from pg_class c where c.oid = any(ours) and c.relkind <> 'S');
    services constant name[] := array(select distinct 'greenroom_' || service from service_grants);
    given record;
begin
    -- Revoke what PUBLIC and the roles have.
    execute 'revoke all on schema greenroom from public';
    for given in
        select case c.relkind when 'S' then 'sequence' else 'table' end as kind,
               string_agg(c.oid::regclass::text, ', ') as names, coalesce(quote_ident(r.rolname), 'public') as grantee
        from pg_class c
        cross join lateral (select acl.grantee from aclexplode(c.relacl) acl
                            union
                            select acl.grantee from pg_attribute a cross join lateral aclexplode(a.attacl) acl
                            where a.attrelid = c.oid) having_rights
        left join pg_roles r on r.oid = having_rights.grantee
        where c.oid = any(ours) and (having_rights.grantee = 0 or r.rolname = any(services))
        group by 1, 3
    loop
        execute format('revoke all on %s %s from %s', given.kind, given.names, given.grantee);
    end loop;
    for given in
        select string_agg(distinct p.oid::regprocedure::text, ', ') as names,
               coalesce(quote_ident(r.rolname), 'public') as grantee
        from pg_proc p
        cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
        left join pg_roles r on r.oid = acl.grantee
        where p.pronamespace = 'greenroom'::regnamespace and pg_has_role(p.proowner, 'usage')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
          and (acl.grantee = 0 or r.rolname = any(services))
        group by 2
    loop
        execute format('revoke all on routine %s from %s', given.names, given.grantee);
    end loop;

    -- Grant what `service_grants` lists.
    for given in
        select g.rights, case g.objects when 'all tables' then tables else g.objects end as objects, r.rolname
        from service_grants g join pg_roles r on r.rolname = 'greenroom_' || g.service
        where g.objects <> 'all functions'
    loop
        execute format('grant %s on %s to %I', given.rights, given.objects, given.rolname);
    end loop;
    -- Functions with the rights of the caller give nothing that the caller does not have. Not those for operators.
    for given in
        select g.rights, string_agg(p.oid::regprocedure::text, ', ') as names, r.rolname
        from service_grants g
        join pg_roles r on r.rolname = 'greenroom_' || g.service
        join pg_proc p on p.pronamespace = 'greenroom'::regnamespace and pg_has_role(p.proowner, 'usage')
        where g.objects = 'all functions'
          and not p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
          and p.proname not in ('grant_service_rights', 'set_search_paths', 'repair_live_rooms')
          and not has_function_privilege(r.oid, p.oid, 'execute')
        group by 1, 3
    loop
        execute format('grant %s on routine %s to %I', given.rights, given.names, given.rolname);
    end loop;
end $$;
