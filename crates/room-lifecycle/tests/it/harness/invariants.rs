//! Invariants that hold after every scenario.

use super::World;

impl World {
    /// Asserts that every open owner with a record has exactly its room on LiveKit, and that there is no other room.
    pub async fn assert_one_room_per_open_owner(&self) {
        let mut wanted = sqlx::query_scalar!(
            "select r.room_name from livekit_rooms r join room_owners o on o.owner = r.owner and o.open
             where r.status = 'active'"
        )
        .fetch_all(&self.pool)
        .await
        .unwrap();
        wanted.sort();
        assert_eq!(self.names(), wanted, "LiveKit has the rooms of open owners (I2)");
        let unsettled = sqlx::query_scalar!(
            r#"select count(*) as "n!" from livekit_rooms r join room_owners o on o.owner = r.owner
               where o.open <> (r.status = 'active')"#
        )
        .fetch_one(&self.pool)
        .await
        .unwrap();
        assert_eq!(unsettled, 0, "every record is active while its owner is open, and ended after");
        for room in self.server().rooms() {
            let sid =
                sqlx::query_scalar!("select room_sid from livekit_rooms where room_name = $1", room.name)
                    .fetch_one(&self.pool)
                    .await
                    .unwrap();
            assert_eq!(sid.as_deref(), Some(room.sid.as_str()), "the SID of {}", room.name);
        }
    }
}
