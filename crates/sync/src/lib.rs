//! Keeps the legacy listing aligned with the live rooms.
