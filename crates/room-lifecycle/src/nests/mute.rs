//! Muting a microphone in a nest, and remembering that it was.

use domain::{Owner, Source};
use uuid::Uuid;

use crate::{Rooms, error::Error, store::nests::people};

impl Rooms {
    /// Whether a microphone of the participant was muted, or unmuted.
    pub(super) async fn mute_in_nest(
        &self,
        nest: Uuid,
        participant: &str,
        muted: bool,
    ) -> Result<bool, Error> {
        let changed = self.mute(Owner::Nest(nest), participant, Source::Microphone, muted).await?;
        if changed {
            people::set_muted(&self.pool, nest, &[participant.to_owned()], muted).await?;
        }
        Ok(changed)
    }
}
