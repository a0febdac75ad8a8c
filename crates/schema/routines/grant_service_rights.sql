-- Gives each role `greenroom_<service>` exactly the rights of `service_grants`, and PUBLIC none. `greenroom migrate`
-- calls it each time, for roles that were created since. Roles that do not exist are skipped. Concurrent statements see
-- the rights before or after, because rights are rows of the catalogue and this is one transaction.
create or replace function grant_service_rights() returns void
language plpgsql volatile set search_path = pg_catalog, greenroom, pg_temp
as $$
declare
    relations text;
    sequences text;
    given record;
begin
    -- Ours: in our schema, of an owner whose rights the caller has, and of no extension.
    select string_agg(c.oid::regclass::text, ', ') filter (where c.relkind <> 'S'),
           string_agg(c.oid::regclass::text, ', ') filter (where c.relkind = 'S')
    into relations, sequences
    from pg_class c
    where c.relnamespace = 'greenroom'::regnamespace and c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
      and pg_has_role(c.relowner, 'usage')
      and not exists (select from pg_depend d
                      where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e');

    for given in
        select 'public' as role
        union all
        select quote_ident(r.rolname) from pg_roles r
        where r.rolname in (select 'greenroom_' || service from service_grants)
    loop
        execute format('revoke all on schema greenroom from %s', given.role);
        execute format('revoke all on table %s from %s', relations, given.role);
        execute format('revoke all on sequence %s from %s', sequences, given.role);
    end loop;
    for given in
        select p.oid::regprocedure as name, coalesce(quote_ident(r.rolname), 'public') as role
        from pg_proc p
        cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) acl
        left join pg_roles r on r.oid = acl.grantee
        where p.pronamespace = 'greenroom'::regnamespace and pg_has_role(p.proowner, 'usage')
          and not exists (select from pg_depend d
                          where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.deptype = 'e')
          and (acl.grantee = 0 or r.rolname in (select 'greenroom_' || service from service_grants))
    loop
        execute format('revoke all on routine %s from %s', given.name, given.role);
    end loop;

    for given in
        select g.rights, case g.objects when 'all tables' then relations else g.objects end as objects, r.rolname
        from service_grants g join pg_roles r on r.rolname = 'greenroom_' || g.service
        where g.objects <> 'all functions'
    loop
        execute format('grant %s on %s to %I', given.rights, given.objects, given.rolname);
    end loop;
    -- Functions with the rights of the caller give nothing that the caller does not have. Not those for operators.
    for given in
        select g.rights, p.oid::regprocedure as name, r.rolname
        from service_grants g
        join pg_roles r on r.rolname = 'greenroom_' || g.service
        join pg_proc p on p.pronamespace = 'greenroom'::regnamespace and pg_has_role(p.proowner, 'usage')
        where g.objects = 'all functions'
          and not p.prosecdef and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
          and p.proname not in ('grant_service_rights', 'set_search_paths', 'repair_live_rooms')
          and not has_function_privilege(r.oid, p.oid, 'execute')
    loop
        execute format('grant %s on routine %s to %I', given.rights, given.name, given.rolname);
    end loop;
end $$;
