//! The booking service on a real Postgres, with a fake room service on a real socket that can fail.

#![expect(clippy::unwrap_used, reason = "tests stop where they fail")]

mod calendar;
mod cancel_and_end;
mod conflicts;
mod contention;
mod create;
mod fake_rooms;
mod harness;
mod mail;
mod mail_refusals;
mod notifications;
mod outbox;
mod read;
mod reconcile;
mod reminders;
mod reschedule;
mod rooms;
mod serve;
mod sharing;
mod strangers;
mod validation;
mod waiting;
mod webhooks;
