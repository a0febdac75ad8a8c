-- no-transaction
-- Rows that are written now are checked already. Old rows are read without a lock that programs wait for.
alter table greenroom.sessions validate constraint sessions_timezone_length;
