//! The claims of a person's name, e-mail address and picture.
//!
//! Providers write them in different places, so their paths are settings. The name may come from anywhere, because it
//! proves nothing. The e-mail address decides where e-mails about a person's bookings go, so it never comes from a
//! claim that users can edit themselves.

use chassis::grpc;
use serde_json::Value;

use super::claim_paths::{not_editable, pointer};

/// The path of a claim: a JSON pointer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(String);

impl ClaimPath {
    /// Parses a JSON pointer, or the name of a claim.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        Self(pointer(text))
    }

    /// As [`Self::parse`]; refuses a claim that users can edit themselves.
    pub fn parse_trusted(text: &str) -> Result<Self, String> {
        let path = Self::parse(text);
        not_editable(&path.0).map(|()| path)
    }

    fn text<'a>(&self, claims: &'a Value) -> &'a str {
        claims.pointer(&self.0).and_then(Value::as_str).unwrap_or_default()
    }

    /// Returns the object that has the claim. A list is not an object: the claims beside it are those beside the list.
    fn object<'a>(&self, claims: &'a Value) -> &'a Value {
        let mut path = self.0.as_str();
        while let Some((parent, _)) = path.rsplit_once('/') {
            match claims.pointer(parent) {
                Some(object @ Value::Object(_)) => return object,
                Some(Value::Array(_)) => path = parent,
                _ => return &Value::Null,
            }
        }
        &Value::Null
    }
}

/// Where the profile of a person is in a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProfileClaims {
    /// The claim of the name that is tried before the usual ones.
    pub name: Option<ClaimPath>,
    pub email: ClaimPath,
    pub picture: ClaimPath,
}

impl Default for ProfileClaims {
    fn default() -> Self {
        Self { name: None, email: ClaimPath::parse("email"), picture: ClaimPath::parse("picture") }
    }
}

impl ProfileClaims {
    /// Returns the first claim that has a visible name; empty without one.
    pub(super) fn name(&self, claims: &Value) -> String {
        let text = |claim: &str| claims[claim].as_str().unwrap_or_default();
        let full = [text("given_name"), text("family_name")].map(display_name).join(" ");
        let chosen = self.name.as_ref().map(|path| path.text(claims)).unwrap_or_default();
        let candidates = [chosen, text("name"), &full, text("nickname"), text("preferred_username")];
        candidates.into_iter().map(display_name).find(|name| !name.is_empty()).unwrap_or_default()
    }

    /// Returns the claim of the e-mail address; null without one.
    pub(super) fn email<'a>(&self, claims: &'a Value) -> &'a Value {
        claims.pointer(&self.email.0).unwrap_or(&Value::Null)
    }

    /// Returns `email_verified` of the object that has the e-mail address. The same claim elsewhere may be about
    /// another address.
    pub(super) fn email_verified<'a>(&self, claims: &'a Value) -> &'a Value {
        &self.email.object(claims)["email_verified"]
    }

    pub(super) fn picture<'a>(&self, claims: &'a Value) -> &'a str {
        self.picture.text(claims)
    }
}

/// Returns the name that others may see. It ends before `@`: an e-mail address is not shown.
fn display_name(text: &str) -> String {
    grpc::display_name(text.split('@').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn name_is_the_first_claim_with_a_visible_name() {
        let usual = ProfileClaims::default();
        let own =
            ProfileClaims { name: Some(ClaimPath::parse("/profile/title")), ..ProfileClaims::default() };
        for (profile, claims, expected) in [
            (&own, json!({"profile": {"title": "Dr. Ada"}, "name": "Ada"}), "Dr. Ada"),
            (&own, json!({"profile": {"title": "\u{200b}"}, "name": "Ada"}), "Ada"),
            (&own, json!({"profile": {"title": ["Ada"]}, "nickname": "ada"}), "ada"),
            (&usual, json!({"name": "Ada", "given_name": "Augusta"}), "Ada"),
            (&usual, json!({"name": " ", "given_name": "Ada", "family_name": "Lovelace"}), "Ada Lovelace"),
            (&usual, json!({"given_name": "Ada", "nickname": "countess"}), "Ada"),
            (&usual, json!({"family_name": "Lovelace"}), "Lovelace"),
            (&usual, json!({"nickname": "countess", "preferred_username": "ada"}), "countess"),
            (&usual, json!({"name": 7, "preferred_username": "ada"}), "ada"),
            (&usual, json!({"email": "ada@example.org", "sub": "7"}), ""),
        ] {
            assert_eq!(profile.name(&claims), expected, "{claims}");
        }
    }

    #[test]
    fn name_ends_before_an_at_sign() {
        let profile = ProfileClaims::default();
        for (claims, expected) in [
            (json!({"name": "ada@example.org"}), "ada"),
            (json!({"name": "Ada @ work"}), "Ada"),
            (json!({"name": "@ada", "nickname": "countess"}), "countess"),
            (json!({"given_name": "ada@example.org", "family_name": "Lovelace"}), "ada Lovelace"),
            (json!({"preferred_username": "ada@example.org"}), "ada"),
        ] {
            assert_eq!(profile.name(&claims), expected, "{claims}");
        }
    }

    #[test]
    fn email_verified_is_read_beside_the_email() {
        let verified = |path: &str, claims: &Value| {
            let profile = ProfileClaims { email: ClaimPath::parse(path), ..ProfileClaims::default() };
            profile.email_verified(claims).clone()
        };
        let nested =
            json!({"email_verified": true, "contact": {"email": "a@b.test", "email_verified": false}});
        assert_eq!(verified("/contact/email", &nested), json!(false));
        assert_eq!(verified("email", &nested), json!(true));
        let alone = json!({"email_verified": true, "contact": {"email": "a@b.test"}});
        assert_eq!(verified("/contact/email", &alone), Value::Null, "it is about another address");
        assert_eq!(verified("/contact/email", &json!({"email_verified": true})), Value::Null);
        let list = json!({"emails": ["a@b.test"], "email_verified": true});
        assert_eq!(verified("/emails/0", &list), json!(true));
        let objects =
            json!({"emails": [{"value": "a@b.test", "email_verified": false}], "email_verified": true});
        assert_eq!(verified("/emails/0/value", &objects), json!(false));
    }

    #[test]
    fn email_is_not_read_where_users_write() {
        for path in ["/user_metadata/email", "/unsafeMetadata/mail", "/raw_user_meta_data/email", "nickname"]
        {
            assert!(ClaimPath::parse_trusted(path).is_err(), "{path}");
        }
        for path in ["email", "/app_metadata/email", "https://example.org/email", "upn", "/emails/0"] {
            assert!(ClaimPath::parse_trusted(path).is_ok(), "{path}");
        }
    }
}
