-- Differs between a database and its copy, in the same cluster (oid) or in another one (system identifier). The same
-- after a failover to a replica.
create or replace function database_identity() returns text
language sql stable
return (select system_identifier::text from pg_control_system())
    || '/' || (select oid::text from pg_database where datname = current_database());
