-- Which recipients a mail server refused lately: after a failure of the server, another one is asked about first.

alter table notification_deliveries
    add column refused_recipient text,   -- the address in lower case; 'admins'
    add column refused_at timestamptz;
create index notification_deliveries_refused on notification_deliveries (refused_recipient, refused_at)
    where refused_at is not null;
create index notification_deliveries_oldest on notification_deliveries (channel, seq)
    where delivered_at is null and dead_at is null and dropped_at is null;
