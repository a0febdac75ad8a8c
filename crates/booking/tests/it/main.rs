//! The booking service on a real Postgres, with a fake room service on a real socket that can fail.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod calendar;
mod cancel_and_end;
mod contention;
mod create;
mod fake_rooms;
mod harness;
mod invitations;
mod mail;
mod mail_readers;
mod mail_refusals;
mod mail_unverified;
mod mail_waits_for_address;
mod no_failed_statements;
mod notifications;
mod outbox_workers;
mod read;
mod reconcile;
mod reminders;
mod reschedule;
mod rooms;
mod rules_in_sql;
mod serve;
mod users;
mod validation;
mod webhooks;
