-- A recording that fails after an answer said that it starts: its host gets a notification.

alter table recordings
    add column answered boolean not null default false; -- an answer said that it starts
