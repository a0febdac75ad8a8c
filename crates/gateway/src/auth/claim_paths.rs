//! The paths of the claims that name admins and groups: settings of the operator.

mod write;

use serde_json::Value;

/// A JSON pointer and a value. A token belongs to an admin if the pointer leads to the value or to a list with the
/// value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminClaim {
    pointer: String,
    value: String,
}

/// The path of the claim that lists groups: a list of texts, or one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupsClaim {
    pointer: String,
}

impl AdminClaim {
    /// Parses `/pointer=value`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (pointer, value) = text
            .split_once('=')
            .filter(|(pointer, value)| pointer.starts_with('/') && !value.is_empty())
            .ok_or("must be a JSON pointer and a value, `/app_metadata/role=admin`")?;
        not_editable(pointer)?;
        Ok(Self { pointer: pointer.to_owned(), value: value.to_owned() })
    }

    pub(super) fn holds(&self, claims: &Value) -> bool {
        let equals = |value: &Value| match value {
            Value::String(text) => *text == self.value,
            Value::Bool(flag) => self.value == if *flag { "true" } else { "false" },
            // Compared as text, so that a setting can also name a number or a flag.
            Value::Number(number) => self.value == number.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => false,
        };
        match claims.pointer(&self.pointer) {
            Some(Value::Array(values)) => values.iter().any(equals),
            Some(value) => equals(value),
            None => false,
        }
    }
}

impl GroupsClaim {
    /// Parses a JSON pointer, or the name of a claim.
    pub fn parse(text: &str) -> Result<Self, String> {
        let pointer = pointer(text);
        not_editable(&pointer)?;
        Ok(Self { pointer })
    }

    pub(super) fn list(&self, claims: &Value) -> Vec<String> {
        match claims.pointer(&self.pointer) {
            Some(Value::String(group)) => vec![group.clone()],
            Some(Value::Array(groups)) => {
                groups.iter().filter_map(|group| group.as_str().map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Returns the JSON pointer of a setting that has a pointer or the name of a claim.
pub(super) fn pointer(text: &str) -> String {
    if text.starts_with('/') {
        return text.to_owned();
    }
    // Escaped as JSON pointers demand (RFC 6901): `~` first, because the second escape contains one.
    format!("/{}", text.replace('~', "~0").replace('/', "~1"))
}

/// Refuses claims that users can edit: users could make themselves admins, or claim another person's e-mail address.
pub(super) fn not_editable(pointer: &str) -> Result<(), String> {
    const PROFILE: [&str; 8] =
        ["name", "nickname", "givenname", "familyname", "preferredusername", "picture", "profile", "website"];
    // Providers differ in the spelling (`user_metadata`, `userMetadata`), so only letters and digits are
    // compared.
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|letter| letter.to_ascii_lowercase()).collect()
    };
    for (depth, segment) in pointer.split('/').skip(1).enumerate() {
        let segment = plain(segment);
        let metadata = ["usermeta", "unsafemeta", "rawusermeta"].iter().any(|part| segment.contains(part));
        // Only at the top: `/roles/name` is not the user's own name.
        if metadata || (depth == 0 && PROFILE.contains(&segment.as_str())) {
            return Err(format!("`{pointer}` can be edited by the users themselves"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn admin_claim_matches_only_its_exact_value() {
        let admin = AdminClaim::parse("/app_metadata/roles=admin").unwrap();
        for (claims, expected) in [
            (json!({"app_metadata": {"roles": "admin"}}), true),
            (json!({"app_metadata": {"roles": ["user", "admin"]}}), true),
            (json!({"app_metadata": {"roles": "administrator"}}), false),
            (json!({"app_metadata": {"roles": {"admin": true}}}), false),
            (json!({"app_metadata": {}}), false),
            (json!({"user_metadata": {"roles": "admin"}}), false),
        ] {
            assert_eq!(admin.holds(&claims), expected, "{claims}");
        }
        let flag = AdminClaim::parse("/is_admin=true").unwrap();
        assert!(flag.holds(&json!({"is_admin": true})) && !flag.holds(&json!({"is_admin": false})));
    }

    #[test]
    fn claims_that_users_can_edit_are_refused() {
        for pointer in [
            "/user_metadata/role=admin",
            "/unsafeMetadata/role=admin",
            "/raw_user_meta_data/role=admin",
            "/https:~1~1example.org~1user_metadata/role=admin",
            "/name=admin",
            "role=admin",
            "/role=",
            "/role",
        ] {
            assert!(AdminClaim::parse(pointer).is_err(), "{pointer}");
        }
        assert!(GroupsClaim::parse("user_metadata").is_err());
    }

    #[test]
    fn groups_are_a_list_or_one_text() {
        let groups = GroupsClaim::parse("https://example.org/groups").unwrap();
        assert_eq!(groups.list(&json!({"https://example.org/groups": ["a", 1, "b"]})), ["a", "b"]);
        assert_eq!(groups.list(&json!({"https://example.org/groups": "a"})), ["a"]);
        assert!(groups.list(&json!({})).is_empty());
    }
}
