//! Permanent rooms: a user gets one with the first request for it, and keeps its address.

use domain::LiveRoomId;
use proto::types::v1::Caller;
use uuid::Uuid;

use super::{
    LiveError, LiveRooms,
    sessions::not_host,
    store::{self, Live, RoomReader, rooms},
};
use crate::error::Error;

/// How many characters of the host's name are used in the address of a room.
const SLUG_LENGTH: usize = 60;
const ROOM_NAME: &str = "Live room";

impl LiveRooms {
    /// The caller's own room. The first request creates it.
    pub async fn my_room(&self, caller: &Caller) -> Result<Live, Error> {
        store::upsert_user(&self.rooms.pool, caller).await?;
        if let Some(live) = rooms::find_room_of(&self.rooms.pool, &caller.user_id).await? {
            return Ok(live);
        }
        let name = room_name(&caller.name);
        for slug in slugs(caller) {
            let created = rooms::insert_room(&self.rooms.pool, &caller.user_id, &name, &slug).await?;
            if let Some(live) = rooms::find_room_of(&self.rooms.pool, &caller.user_id).await? {
                if created {
                    tracing::info!(live_room.id = %live.room.id, "live room created");
                }
                return Ok(live);
            }
        }
        Err(LiveError::Contended.into())
    }

    /// Changes the given fields of a room. Only its host may do this.
    pub async fn update_room(
        &self,
        caller: &Caller,
        room: LiveRoomId,
        fields: &rooms::RoomFields,
    ) -> Result<Live, Error> {
        let mut connection = self.rooms.pool.acquire().await?;
        if !rooms::update_room(&mut *connection, room, &caller.user_id, fields).await? {
            return Err(not_host(&mut *connection, room, RoomReader::from(caller)).await?);
        }
        Ok(rooms::find_live(&mut *connection, room).await?.ok_or(LiveError::NoRoom)?)
    }
}

/// The addresses to try, in order. A taken address gets a suffix, and the last one is always free.
fn slugs(caller: &Caller) -> [String; 3] {
    let named = [slug(&caller.name), slug(&caller.user_id)].into_iter().find(|slug| !slug.is_empty());
    let base = named.unwrap_or_else(|| "room".to_owned());
    let own = Uuid::new_v5(&Uuid::NAMESPACE_OID, caller.user_id.as_bytes()).simple().to_string();
    [base.clone(), format!("{base}-{}", &own[..8]), format!("{base}-{}", Uuid::new_v4().simple())]
}

/// Converts a text to lower-case letters, digits and hyphens for an address.
fn slug(text: &str) -> String {
    let mut slug = String::new();
    for character in text.chars().flat_map(char::to_lowercase) {
        if slug.len() >= SLUG_LENGTH {
            break;
        }
        if character.is_ascii_alphanumeric() {
            slug.push(character);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// The first name of a room: the name of its host.
fn room_name(name: &str) -> String {
    let name: String = name.chars().filter(|character| !character.is_control()).take(200).collect();
    let name = name.trim();
    if name.is_empty() { ROOM_NAME.to_owned() } else { name.to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn slugs_and_room_name_fit_the_database(name in ".*", id in ".{1,60}") {
            let caller = Caller { user_id: id, name: name.clone(), ..Caller::default() };
            for slug in slugs(&caller) {
                prop_assert!(slug.len() <= 100 && !slug.starts_with('-'), "{slug}");
                prop_assert!(slug.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
            }
            prop_assert!((1..=200).contains(&room_name(&name).chars().count()));
        }
    }

    #[test]
    fn slug_keeps_letters_and_digits_of_the_name() {
        assert_eq!(slug("  Ana María O'Neill "), "ana-mar-a-o-neill");
        assert_eq!(slug("日本"), "");
    }
}
