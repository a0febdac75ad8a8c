-- Ghosts: participants that LiveKit lists as active, although the node that they were on is gone (docs/decisions/0022).

alter table livekit_participants
    -- The last sign of life: an event about them, or a probe that was answered.
    add column alive_at     timestamptz not null default '-infinity',
    -- The later one of that and the last probe. The participant with the oldest one is probed next.
    add column checked_at   timestamptz not null default '-infinity',
    -- The first probe since then that found no node of LiveKit with them.
    add column silent_since timestamptz,
    -- Since when they count as left, although LiveKit may list `participant_sid` as active.
    add column ghost_since  timestamptz;
-- As in migration 0010: a partial index has a column of its own.
alter table livekit_participants
    add column joined_checked_at timestamptz
        generated always as (case when status = 'joined' then checked_at end) stored,
    add column silent_checked_at timestamptz
        generated always as (case when silent_since is not null then checked_at end) stored;
create index livekit_participants_to_probe on livekit_participants (joined_checked_at)
    where joined_checked_at is not null;
create index livekit_participants_silent on livekit_participants (silent_checked_at)
    where silent_checked_at is not null;

-- One replica at a time probes: a lease, and what it knows of LiveKit.
create table ghost_watch (
    only_row        boolean primary key default true constraint ghost_watch_only_row check (only_row),
    holder          uuid,
    leased_until    timestamptz,
    turn_at         timestamptz,   -- when the last turn began: the next one may probe for the time since then
    alarmed_at      timestamptz,   -- a probe found no node: all without a sign of life since then are probed
    answering_since timestamptz    -- since when LiveKit has answered without a failure in between
);
insert into ghost_watch default values;

-- As in migration 0010: without statistics almost every row would count as silent.
do $$
begin
    if exists (select from livekit_participants) then
        analyze livekit_participants;
    end if;
end $$;

insert into service_grants (service, rights, objects) values
    ('room_lifecycle', 'insert, update, delete', 'ghost_watch');
select greenroom_grants();
