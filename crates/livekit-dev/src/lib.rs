//! A LiveKit-compatible server for development and tests.
