-- One login for each service, a member of that service's role only. Run with psql after roles.sql (which `greenroom
-- migrate` runs too), by a superuser or by the administrator who created the roles. Idempotent: each run sets the
-- passwords to those of the environment.
--
-- `noinherit`: a login may connect and `set role`, and has no rights of its own. Passwords come from the environment
-- and are stored hashed. They do not appear in a command line or, when a statement fails, in the server's log. (Only a
-- superuser can keep failed statements out of the log; for other users, rights are checked before a password is sent.)

\set ON_ERROR_STOP on
\set booking ''
\set room_lifecycle ''
\set token ''
\set sync ''
\getenv booking BOOKING_DB_PASSWORD
\getenv room_lifecycle ROOM_LIFECYCLE_DB_PASSWORD
\getenv token TOKEN_DB_PASSWORD
\getenv sync SYNC_DB_PASSWORD

set password_encryption = 'scram-sha-256';
set client_min_messages = 'warning';
select set_config(name, value, false)
from (values ('log_min_error_statement', 'panic'), ('log_statement', 'none')) as quiet (name, value)
where has_parameter_privilege(name, 'set') \g /dev/null

begin;
-- Two concurrent runs would fail with `tuple concurrently updated`. `greenroom migrate` takes the same lock.
select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0)) \g /dev/null

select format('do $$ begin raise exception %L; end $$', 'only a superuser, or a role with CREATEROLE, can create logins')
where not exists (select from pg_roles where rolname = current_user and (rolsuper or rolcreaterole)) \gexec
select format('do $$ begin raise exception %L; end $$', current_user || ' may not create temporary tables here')
where not has_database_privilege(current_database(), 'temporary') \gexec

create temporary table logins on commit drop as
select * from (values
    ('greenroom_booking', :'booking'),
    ('greenroom_room_lifecycle', :'room_lifecycle'),
    ('greenroom_token', :'token'),
    ('greenroom_sync', :'sync')) as l (role, password);

select format('do $$ begin raise exception %L; end $$', 'the password of ' || role || '_login is missing')
from logins where password = '' limit 1 \gexec

select format('create role %I login noinherit', role || '_login')
from logins where role || '_login' not in (select rolname from pg_roles) \gexec
select format('alter role %I with login noinherit password %L', role || '_login', password) from logins \gexec
select format('grant %I to %I', role, role || '_login') from logins \gexec
-- So that SQL without a schema name works in psql. The services set it on each connection themselves.
select format('alter role %I in database %I set search_path = greenroom, public', role || '_login', current_database())
from logins \gexec

-- No other role may connect. Only the owner can revoke PUBLIC's right to connect; another administrator gets the statements
-- for the owner instead.
select pg_has_role(datdba, 'usage') as owner from pg_database where datname = current_database() \gset
\if :owner
select format('revoke all on database %I from public', current_database()) \gexec
select format('grant connect on database %I to %I', current_database(), role || '_login') from logins \gexec
\else
select format('revoke all on database %1$I from public; grant connect on database %1$I to %2$s; '
              'grant connect, temporary on database %1$I to %3$I;',
              current_database(), string_agg(format('%I', role || '_login'), ', '), current_user)
       as "for the owner of the database to run, so that no other role may connect"
from logins;
\endif
commit;
