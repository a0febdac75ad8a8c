//! The states of a booked session.

/// `sessions.status`. Open: `scheduled` and `in_progress`; the others are final.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub enum SessionStatus {
    Scheduled,
    InProgress,
    Completed,
    Cancelled,
    NoShow,
}

impl SessionStatus {
    pub const ALL: [Self; 5] =
        [Self::Scheduled, Self::InProgress, Self::Completed, Self::Cancelled, Self::NoShow];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::InProgress => "in_progress",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no_show",
        }
    }

    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Scheduled | Self::InProgress)
    }
}
