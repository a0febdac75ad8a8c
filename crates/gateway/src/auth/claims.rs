//! The claims of a token whose signature is valid.
//!
//! Issuer and expiry are mandatory, and so is the audience unless the setting is `none`. Admins are recognized only by
//! a claim that the identity provider writes. The gateway does not start with a pointer into metadata that users can
//! edit.

use domain::{EmailAddress, locale};
use proto::types::v1::Caller;
use serde_json::Value;

use super::key::Refused;
use crate::config::{Audience, AuthConfig};

/// Seconds that the clocks of the issuer and of this process may differ.
const LEEWAY: f64 = 30.0;
/// Characters of a name. The name becomes part of LiveKit's token, which clients send in a URL.
const LONGEST_NAME: usize = 200;

/// The person of a token, and when the token expires.
pub(crate) struct Verified {
    pub(crate) caller: Caller,
    /// Unix seconds.
    pub(crate) expires_at: i64,
}

/// Verifies the claims of a token whose signature is valid, at `now` (unix seconds).
pub(super) fn verify(claims: &Value, config: &AuthConfig, now: i64) -> Result<Verified, Refused> {
    #[expect(clippy::cast_precision_loss, reason = "NumericDate is a JSON number")]
    let now = now as f64;
    // Compared exactly: a prefix would also match `https://issuer.example.org.attacker.example`.
    if claims["iss"].as_str() != Some(config.issuer.as_str()) {
        return Err(Refused::Issuer);
    }
    if !is_meant_for_us(claims, &config.audience) {
        return Err(Refused::Audience);
    }
    if config.client_id.as_ref().is_some_and(|client_id| !is_issued_to(claims, client_id)) {
        return Err(Refused::Client);
    }
    let expires_at = claims["exp"].as_f64().ok_or(Refused::Expired)?;
    // An expiry of exactly now is expired, after the leeway for different clocks.
    if expires_at + LEEWAY <= now {
        return Err(Refused::Expired);
    }
    // Absent is fine. Present but not a number is refused, because it cannot be checked.
    match &claims["nbf"] {
        Value::Null => {}
        not_before if not_before.as_f64().is_some_and(|at| at <= now + LEEWAY) => {}
        _ => return Err(Refused::NotYetValid),
    }
    Ok(Verified {
        caller: caller(claims, config)?,
        #[expect(clippy::cast_possible_truncation, reason = "saturates, and rounds down")]
        expires_at: expires_at as i64,
    })
}

fn is_meant_for_us(claims: &Value, audience: &Audience) -> bool {
    let name = match audience {
        // Also a token with an empty `aud` is refused: it was issued for an audience that this gateway cannot be.
        Audience::Absent => return claims.get("aud").is_none(),
        Audience::Named(name) => name.as_str(),
    };
    match &claims["aud"] {
        Value::Array(audiences) => audiences.iter().any(|one| one.as_str() == Some(name)),
        one => one.as_str() == Some(name),
    }
}

/// Whether `client_id` (RFC 9068) or `azp` (OIDC) names this client.
fn is_issued_to(claims: &Value, client_id: &str) -> bool {
    ["client_id", "azp"].iter().any(|claim| claims[claim].as_str() == Some(client_id))
}

fn caller(claims: &Value, config: &AuthConfig) -> Result<Caller, Refused> {
    let text = |claim: &str| claims[claim].as_str().unwrap_or_default();
    let user_id = text("sub");
    if !domain::text::is_id(user_id) {
        return Err(Refused::Subject);
    }
    Ok(Caller {
        user_id: user_id.to_owned(),
        // Cut after the cleaning, which may shorten the name.
        name: config.profile.name(claims).chars().take(LONGEST_NAME).collect(),
        email: email(config.profile.email(claims)),
        email_verified: email_verified(config.profile.email_verified(claims)),
        // A picture that is not public is dropped. The user is not refused because of it.
        avatar_url: domain::public_url(config.profile.picture(claims)).unwrap_or_default(),
        is_admin: config.admin.as_ref().is_some_and(|admin| admin.holds(claims)),
        groups: config.groups.as_ref().map(|groups| groups.list(claims)).unwrap_or_default(),
        system: false,
        // The user is not refused for a claim that cannot be used.
        locale: locale::locale(text("locale")).unwrap_or_default(),
        zoneinfo: locale::time_zone(text("zoneinfo")).unwrap_or_default(),
    })
}

/// Returns the e-mail address of the claim; empty if it is not a deliverable address.
fn email(claim: &Value) -> String {
    let email = claim.as_str().and_then(|text| text.parse::<EmailAddress>().ok());
    email.map(|email| email.to_string()).unwrap_or_default()
}

/// Returns whether the provider has verified the address; None without the claim. Providers write the claim as a
/// boolean, a text or a number. Any other value counts as not verified.
fn email_verified(claim: &Value) -> Option<bool> {
    match claim {
        Value::Null => None,
        Value::Bool(verified) => Some(*verified),
        Value::Number(number) => Some(number.as_f64().is_some_and(|number| number > 0.0)),
        Value::String(text) => Some(matches!(text.trim().to_ascii_lowercase().as_str(), "true" | "1")),
        Value::Array(_) | Value::Object(_) => Some(false),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unusable_email_claims_count_as_none() {
        for (claim, expected) in [
            (json!("Ada@Example.org"), "Ada@example.org"),
            (json!(" ada@example.org\n"), "ada@example.org"),
            (json!("ada@bücher.example"), "ada@xn--bcher-kva.example"),
            (json!("a@example.org,b@example.org"), ""),
            (json!(".b@example.org"), ""),
            (json!("b@example.org>"), ""),
            (json!("\"Ada <ada@example.org>\""), ""),
            (json!("ada@example.org\0"), ""),
            (json!("ada@localhost"), ""),
            (json!(""), ""),
            (json!(["ada@example.org"]), ""),
            (Value::Null, ""),
        ] {
            assert_eq!(email(&claim), expected, "{claim}");
        }
    }

    #[test]
    fn email_verified_is_read_from_boolean_text_and_number() {
        for claim in [
            json!(false),
            json!("false"),
            json!("False"),
            json!(" false "),
            json!(0),
            json!(0.0),
            json!("0"),
            json!("no"),
            json!(""),
            json!([true]),
        ] {
            assert_eq!(email_verified(&claim), Some(false), "{claim}");
        }
        for claim in [json!(true), json!("true"), json!("TRUE"), json!(1), json!("1")] {
            assert_eq!(email_verified(&claim), Some(true), "{claim}");
        }
        assert_eq!(email_verified(&json!({})["email_verified"]), None);
        assert_eq!(email_verified(&Value::Null), None);
    }
}
