-- One login for each service, a member of that service's role and of nothing else. For psql; run by the owner after
-- `greenroom migrate` (which makes the roles), again at any time: then passwords are set to those of the environment.
--
-- `noinherit`: a login may connect and `set role`, and has no right of its own. Passwords come from the environment
-- and are stored hashed; they appear in no command line and, should a statement fail, in no server log.

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
set log_min_error_statement = 'panic';
set log_statement = 'none';
set client_min_messages = 'warning';

begin;
-- Two at once would fail with `tuple concurrently updated`. The same lock as `greenroom migrate`.
select pg_advisory_xact_lock(hashtextextended('greenroom migrate', 0)) \g /dev/null

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

-- Nobody else may connect.
select format('revoke all on database %I from public', current_database()) \gexec
select format('grant connect on database %I to %I', current_database(), role || '_login') from logins \gexec
commit;
