//! The caller as a reader of e-mails: who they are, and which language and time zone they chose.

use domain::field::non_empty;
use proto::{booking::v1 as pb, types::v1::Caller};

use crate::{bookings::Bookings, error::Error, outbox::reader::applicable, store};

impl Bookings {
    /// Returns the caller. What their token says wins over what was stored earlier, and what they chose over both.
    pub(crate) async fn user(&self, caller: &Caller) -> Result<pb::User, Error> {
        let stored = store::find_user(&self.pool, &caller.user_id).await?.unwrap_or_default();
        let given = |text: &String, stored: Option<String>| non_empty(text.clone()).or(stored);
        let claimed_locale = given(&caller.locale, stored.locale);
        let locale =
            applicable([stored.chosen_locale.as_deref(), claimed_locale.as_deref()], &self.default_locale);
        Ok(pb::User {
            id: caller.user_id.clone(),
            name: given(&caller.name, stored.display_name).unwrap_or_else(|| caller.user_id.clone()),
            email: given(&caller.email, stored.email),
            locale: locale.to_owned(),
            time_zone: stored.chosen_time_zone.clone().or_else(|| given(&caller.zoneinfo, stored.zoneinfo)),
            chosen_locale: stored.chosen_locale,
            chosen_time_zone: stored.chosen_time_zone,
        })
    }

    /// Stores what the caller chose, and returns them. None keeps a choice, and the empty text removes it.
    pub(crate) async fn set_preferences(
        &self,
        caller: &Caller,
        locale: Option<&str>,
        time_zone: Option<&str>,
    ) -> Result<pb::User, Error> {
        store::set_preferences(&self.pool, &caller.user_id, locale, time_zone).await?;
        self.user(caller).await
    }
}
