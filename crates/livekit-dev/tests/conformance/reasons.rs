//! Why a test does not run against a real server. A skipped test prints one of these.

pub const CLOCK: &str = "the clock of a real server cannot be moved";
pub const RESTART: &str = "a real server is not restarted by a test";
pub const RACE: &str = "the race of a real server cannot be won on purpose";
pub const MISHAPS: &str = "the webhooks of a real server cannot be lost, held or moved in time";
pub const ADMIN: &str = "a real server has no admin API";
pub const WORKERS: &str = "a test cannot hold, move or kill the workers of a real server";
pub const REFUSALS_OF_WORKERS: &str = "a real server may have no worker, and only workers refuse";
pub const RECORDERS: &str = "a real server may have recorders, or Redis";

// Which of these apply depends on the configuration of the server.
pub const NO_WEBHOOKS: &str = "a real server sends webhooks where its configuration says";
pub const HAS_REDIS: &str = "this server has Redis";
pub const CREATES_ROOMS: &str = "this server creates rooms on join";
pub const CREATES_NO_ROOMS: &str = "this server creates no rooms on join";
