//! `doctor`'s check of the keys that verify the tokens of users.

use chassis::config::non_blank;
use gateway::identity::{KeySource, KeysAt, count_keys, key_source};

use super::{Failure, Outcome, Report, Target, settings::IdentityArgs};

pub async fn examine(target: &Target, report: &mut Report) {
    report.check("identity_keys", keys(&target.identity)).await;
}

async fn keys(identity: &IdentityArgs) -> Outcome {
    let IdentityArgs { jwks_url, hs256_secret, hs256_secret_file, issuer } = identity.clone();
    let given = [&jwks_url, &hs256_secret, &hs256_secret_file, &issuer];
    if given.into_iter().all(|setting| non_blank(setting.clone()).is_none()) {
        let why = "neither AUTH_JWKS_URL nor AUTH_HS256_SECRET nor AUTH_ISSUER is set";
        return Outcome::Skipped(why.to_owned());
    }
    match key_source(jwks_url, hs256_secret, hs256_secret_file, issuer.as_deref()) {
        Err(invalid) => Outcome::Failed(Failure::new(
            format!("the gateway does not start with these settings: {}", invalid.in_one_line()),
            "correct the settings AUTH_… of the gateway (docs/settings.md)",
        )),
        Ok(KeySource::Hs256(_)) => {
            Outcome::Passed("Tokens are verified with AUTH_HS256_SECRET, and no keys are fetched".to_owned())
        }
        Ok(KeySource::Jwks(at)) => match count_keys(at.clone()).await {
            Ok(keys) => Outcome::Passed(format!(
                "The identity provider's key set can be fetched ({keys} key{} that can be used)",
                if keys == 1 { "" } else { "s" }
            )),
            Err(why) => Outcome::Failed(Failure::new(
                format!("the identity provider's keys cannot be fetched, so that no user can sign in: {why}"),
                match &at {
                    KeysAt::Url(url) => {
                        format!("check that AUTH_JWKS_URL ({url}) is right, and that the gateway may connect to it")
                    }
                    KeysAt::Issuer(_) => {
                        "check AUTH_ISSUER, from whose discovery document the address comes, and that the gateway \
                         may connect to both (docs/sign-in.md)"
                            .to_owned()
                    }
                },
            )),
        },
    }
}
