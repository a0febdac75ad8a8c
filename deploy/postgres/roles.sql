-- The database roles of the services, and of old clients that read and write the listing (greenroom_legacy). They have
-- no login, and only the rights of the view `greenroom.service_grants`. Run once per cluster; idempotent. The user who
-- runs it becomes a member, so that one DATABASE_URL can `set role` to each. Run by an owner of the database who may not
-- create roles, it changes nothing, and fails only when a role is missing.
do $$
declare
    name text;
    -- Since PostgreSQL 16 a member may lack the right to `set role`, even the user who created the role.
    usable constant text :=
        case when current_setting('server_version_num')::integer >= 160000 then 'set' else 'member' end;
begin
    foreach name in array array['greenroom_booking', 'greenroom_room_lifecycle', 'greenroom_token', 'greenroom_sync',
                                'greenroom_legacy'] loop
        if not exists (select from pg_roles where rolname = name) then
            begin
                execute format('create role %I nologin', name);
            exception when duplicate_object or unique_violation then
                null; -- race: another run has created it
            end;
        end if;
        if not pg_has_role(current_user, name, usable) then
            begin
                execute format('grant %I to %I', name, current_user);
            exception when insufficient_privilege then
                raise notice 'the role % exists, but % is not a member of it', name, current_user;
            end;
        end if;
    end loop;
end $$;
