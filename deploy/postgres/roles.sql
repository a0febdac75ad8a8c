-- The database roles of the services, and of old clients that read and write the listing (greenroom_legacy): no
-- login, no right but what the migrations grant. Once per cluster,
-- repeatable; the user who runs it becomes a member, so that one DATABASE_URL can `set role` to each.
do $$
declare
    name text;
begin
    foreach name in array array['greenroom_booking', 'greenroom_room_lifecycle', 'greenroom_token', 'greenroom_sync',
                                'greenroom_legacy'] loop
        begin
            execute format('create role %I nologin', name);
        exception when duplicate_object or unique_violation then
            null;
        end;
        if not pg_has_role(current_user, name, 'member') then
            execute format('grant %I to %I', name, current_user);
        end if;
    end loop;
end $$;
