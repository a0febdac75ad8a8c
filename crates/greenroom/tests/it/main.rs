//! The executable as a person or an orchestrator meets it, and everything in one process for end-to-end tests
//! ([`world`]).

mod doctor;
mod grants;
mod migrate;
mod program;
mod repair;
mod serve;
mod smoke;
mod up;
mod world;
