//! Writes what [`AdminClaim`] and [`GroupsClaim`] read, for the development sign-in. No other part of Greenroom issues
//! tokens of users.

use serde_json::{Map, Value};

use super::{AdminClaim, GroupsClaim};

/// A claim of the token has the place already, and another value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Occupied;

impl AdminClaim {
    /// Adds what makes a token the token of an admin. A list at that place keeps its values.
    pub fn grant(&self, claims: &mut Value) -> Result<(), Occupied> {
        if self.holds(claims) {
            return Ok(());
        }
        let value = Value::String(self.value.clone());
        match place(&self.pointer, claims).ok_or(Occupied)? {
            Value::Array(values) => values.push(value),
            place @ Value::Null => *place = value,
            _ => return Err(Occupied),
        }
        Ok(())
    }
}

impl GroupsClaim {
    /// Adds the groups of a token.
    pub fn write(&self, groups: &[String], claims: &mut Value) -> Result<(), Occupied> {
        let place = place(&self.pointer, claims).ok_or(Occupied)?;
        if !place.is_null() {
            return Err(Occupied);
        }
        *place = groups.iter().cloned().map(Value::String).collect();
        Ok(())
    }
}

/// Returns the value that a JSON pointer (RFC 6901) leads to. Creates the objects on the way, and null at its end.
fn place<'a>(pointer: &str, claims: &'a mut Value) -> Option<&'a mut Value> {
    // `~1` first: in the other order `~01` would become a slash.
    let names = pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
    names.into_iter().try_fold(claims, |value, name| {
        if value.is_null() {
            *value = Value::Object(Map::new());
        }
        Some(value.as_object_mut()?.entry(name).or_insert(Value::Null))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn granted_claims_are_found_by_their_readers() {
        for pointer in
            ["/admin=true", "/app_metadata/roles=admin", "/https:~1~1a.example~1~0role=x", "/roles/0=a"]
        {
            let admin = AdminClaim::parse(pointer).unwrap();
            let mut claims = json!({"sub": "ana"});
            assert!(!admin.holds(&claims), "{pointer}");
            admin.grant(&mut claims).unwrap();
            assert!(admin.holds(&claims), "{pointer}: {claims}");
        }
        for name in ["groups", "/app_metadata/groups", "https://a.example/groups"] {
            let groups = GroupsClaim::parse(name).unwrap();
            let mut claims = json!({"sub": "ana"});
            groups.write(&["x".to_owned(), "y".to_owned()], &mut claims).unwrap();
            assert_eq!(groups.list(&claims), ["x", "y"], "{name}: {claims}");
        }
    }

    #[test]
    fn admin_is_added_to_a_list_of_groups() {
        let (admin, groups) =
            (AdminClaim::parse("/groups=admin").unwrap(), GroupsClaim::parse("groups").unwrap());
        let mut claims = json!({"sub": "ana"});
        groups.write(&["x".to_owned()], &mut claims).unwrap();
        admin.grant(&mut claims).unwrap();
        assert_eq!(claims, json!({"sub": "ana", "groups": ["x", "admin"]}));
    }

    #[test]
    fn other_claims_are_never_overwritten() {
        let mut claims = json!({"sub": "ana", "email": "ana@a.example"});
        for pointer in ["/sub=boss", "/email=boss@a.example", "/sub/role=admin"] {
            assert_eq!(AdminClaim::parse(pointer).unwrap().grant(&mut claims), Err(Occupied), "{pointer}");
        }
        let groups = GroupsClaim::parse("/sub").unwrap();
        assert_eq!(groups.write(&["x".to_owned()], &mut claims), Err(Occupied));
        assert_eq!(claims, json!({"sub": "ana", "email": "ana@a.example"}));
    }
}
