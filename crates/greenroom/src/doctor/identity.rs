//! `doctor`'s check of the keys that verify the tokens of users.

use chassis::config::non_blank;
use gateway::identity::{KeySource, count_keys, key_source};

use super::{Failure, Outcome, Report, Target, settings::IdentityArgs};

pub async fn examine(target: &Target, report: &mut Report) {
    report.check("identity_keys", keys(&target.identity)).await;
}

async fn keys(identity: &IdentityArgs) -> Outcome {
    let (url, secret) = (identity.auth_jwks_url.clone(), identity.auth_hs256_secret.clone());
    if non_blank(url.clone()).is_none() && non_blank(secret.clone()).is_none() {
        return Outcome::Skipped("neither AUTH_JWKS_URL nor AUTH_HS256_SECRET is set".to_owned());
    }
    match key_source(url, secret) {
        Err(invalid) => Outcome::Failed(Failure::new(
            format!("the gateway does not start with these settings: {}", invalid.in_one_line()),
            "correct the settings AUTH_… of the gateway (docs/settings.md)",
        )),
        Ok(KeySource::Hs256(_)) => {
            Outcome::Passed("Tokens are verified with AUTH_HS256_SECRET, and no keys are fetched".to_owned())
        }
        Ok(KeySource::Jwks(url)) => match count_keys(&url).await {
            Ok(keys) => Outcome::Passed(format!(
                "The identity provider's key set can be fetched ({keys} key{} that can be used)",
                if keys == 1 { "" } else { "s" }
            )),
            Err(why) => Outcome::Failed(Failure::new(
                format!("the identity provider's keys cannot be fetched, so that no user can sign in: {why}"),
                format!("check that AUTH_JWKS_URL ({url}) is right, and that the gateway may connect to it"),
            )),
        },
    }
}
