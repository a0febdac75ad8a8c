-- no-transaction
-- While it is created, programs write the table.
create index concurrently sessions_by_timezone on greenroom.sessions (timezone) where timezone is not null;
