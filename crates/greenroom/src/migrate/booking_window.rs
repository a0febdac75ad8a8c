//! When bookings can be joined. The windows are stored in the database, so that all services and psql agree; the SQL
//! function `booking_window` reads them.

use std::time::Duration;

use chassis::config::{Problems, non_blank};
use sqlx::{PgConnection, PgExecutor};

/// The settings of the windows. A window that is not given keeps its stored value.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct WindowArgs {
    /// How long before its start a booking can be joined; at most 7 days [default: as stored; at first `15min`]
    #[arg(long, env = "JOIN_OPENS_BEFORE")]
    join_opens_before: Option<String>,
    /// How long after its start a booking can be joined; in any case until 15 min after its end; at most 7 days
    /// [default: as stored; at first `2h`]
    #[arg(long, env = "JOIN_CLOSES_AFTER")]
    join_closes_after: Option<String>,
}

/// The windows that were given on the command line or in the environment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Windows {
    pub opens_before: Option<Duration>,
    pub closes_after: Option<Duration>,
}

impl WindowArgs {
    pub fn check(&self, problems: &mut Problems) -> Windows {
        let mut window = |name, value: &Option<String>| {
            let value = non_blank(value.clone())?;
            let duration = problems.duration(name, Some(&value), Duration::ZERO);
            if duration > Duration::from_hours(168) {
                problems.add(name, "must be at most 7 days");
            }
            Some(duration)
        };
        Windows {
            opens_before: window("JOIN_OPENS_BEFORE", &self.join_opens_before),
            closes_after: window("JOIN_CLOSES_AFTER", &self.join_closes_after),
        }
    }
}

impl Windows {
    /// Writes the windows that were given.
    pub(super) async fn store(self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for (setting, window) in
            [("join_opens_before", self.opens_before), ("join_closes_after", self.closes_after)]
        {
            if let Some(window) = window {
                set_setting(&mut *connection, setting, &format!("{} s", window.as_secs())).await?;
            }
        }
        Ok(())
    }
}

async fn set_setting(executor: impl PgExecutor<'_>, name: &str, value: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        // An unchanged value is not written, so that a repeat has no effect at all.
        "insert into settings (name, value) values ($1, $2)
         on conflict (name) do update set value = excluded.value, updated_at = app_now()
         where settings.value <> excluded.value",
        name,
        value
    )
    .execute(executor)
    .await
    .map(drop)
}
