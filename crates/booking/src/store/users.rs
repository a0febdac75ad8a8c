//! Users: what their tokens said, and what they chose.

use chassis::db::Statement;
use sqlx::PgExecutor;

/// What is stored about a user.
#[derive(Clone, Debug, Default)]
pub struct User {
    pub display_name: Option<String>,
    pub email: Option<String>,
    pub locale: Option<String>,
    pub zoneinfo: Option<String>,
    pub chosen_locale: Option<String>,
    pub chosen_time_zone: Option<String>,
}

pub async fn find_user(executor: impl PgExecutor<'_>, id: &str) -> Result<Option<User>, sqlx::Error> {
    sqlx::query_as!(
        User,
        "select display_name, email, locale, zoneinfo, chosen_locale, chosen_time_zone from app_users where id = $1",
        id,
    )
    .fetch_optional(executor)
    .statement("SELECT find_user")
    .await
}

/// Stores what a user chose. None keeps a choice, and the empty text removes it.
pub async fn set_preferences(
    executor: impl PgExecutor<'_>,
    id: &str,
    locale: Option<&str>,
    time_zone: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(r#"select set_preferences($1, $2, $3)::text as "done""#, id, locale, time_zone)
        .fetch_one(executor)
        .statement("SELECT set_preferences")
        .await
        .map(drop)
}
