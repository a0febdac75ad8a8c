-- Lets SQL without a schema name work in psql and in old clients: `greenroom, public` for the owner and for the logins
-- of the services and old clients, in this database only. Programs of ours set it on each connection themselves.
--
-- A path that was set for a login in this database is kept. A login that the caller may not alter is skipped:
-- deploy/postgres/logins.sql sets it. Where an application's tables in `public` have names of ours, the owner's path is
-- not changed, because the application may use that login and would find our tables instead of its own.
create or replace function set_search_paths() returns void
language plpgsql volatile set search_path = pg_catalog, pg_temp
as $$
declare
    login record;
begin
    for login in
        select r.oid, r.rolname
        from pg_roles r
        where (r.rolname = current_user
               or r.rolcanlogin
                  and exists (select from pg_auth_members m join pg_roles service on service.oid = m.roleid
                              where m.member = r.oid and service.rolname like 'greenroom\_%'))
          and not exists (select from pg_db_role_setting s
                          join pg_database d on d.oid = s.setdatabase
                          cross join lateral unnest(s.setconfig) setting
                          where d.datname = current_database() and s.setrole = r.oid
                            and setting like 'search\_path=%')
    loop
        if login.rolname = current_user
           and exists (select from pg_class theirs
                       join pg_class ours on ours.relname = theirs.relname
                       where theirs.relnamespace = to_regnamespace('public')
                         and theirs.relkind in ('r', 'p', 'v', 'm', 'f')
                         and ours.relnamespace = to_regnamespace('greenroom')) then
            raise notice 'search_path of % is unchanged: public has tables with names of ours', login.rolname;
            continue;
        end if;
        begin
            execute format('alter role %I in database %I set search_path = greenroom, public',
                           login.rolname, current_database());
        exception when insufficient_privilege or undefined_object then
            raise notice 'search_path of % is unchanged: % may not alter that login', login.rolname, current_user;
        end;
    end loop;
end $$;
