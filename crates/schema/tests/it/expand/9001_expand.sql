-- What a migration may do while programs of the version before run: new tables, columns that these programs need not
-- write, constraints that are not checked for old rows yet.
set local search_path = greenroom;
alter table sessions add column timezone text;
alter table sessions add constraint sessions_timezone_length check (char_length(timezone) <= 100) not valid;
alter table live_room_sessions add column language text not null default 'en';
alter table livekit_rooms add column region text;
create table booking_notes (
    id         uuid primary key default gen_random_uuid(),
    session_id uuid not null references sessions on delete cascade,
    text       text not null,
    created_at timestamptz not null default app_now()
);
create index booking_notes_by_session on booking_notes (session_id, created_at);
