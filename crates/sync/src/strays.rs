//! Strays: rows of the listing that say `live` and belong to no live room. The comparison counts them. Only an
//! operator's command ends them, because another writer may own them.

use sqlx::PgPool;
use uuid::Uuid;

use crate::store::{self, Stray};

/// Rows in one transaction.
const PAGE: i64 = 500;

/// A walk over the strays, page by page along the ids.
#[derive(Debug)]
pub struct Strays<'a> {
    pool: &'a PgPool,
    after: Uuid,
}

/// A page of strays.
#[derive(Clone, Debug, Default)]
pub struct StrayPage {
    /// Strays that were ended, or only found.
    pub done: Vec<Stray>,
    /// Strays that a client has locked; they are not changed.
    pub held: Vec<Stray>,
}

impl<'a> Strays<'a> {
    #[must_use]
    pub fn new(pool: &'a PgPool) -> Self {
        Self { pool, after: Uuid::nil() }
    }

    /// Finds the next page. None: there are no more strays.
    ///
    /// # Errors
    /// Errors of the database.
    pub async fn find_next(&mut self) -> Result<Option<StrayPage>, sqlx::Error> {
        let found = self.next_page().await?;
        Ok(found.map(|done| StrayPage { done, held: Vec::new() }))
    }

    /// Ends the next page. None: there are no more strays.
    ///
    /// # Errors
    /// Errors of the database. Pages that were ended before stay ended.
    pub async fn end_next(&mut self) -> Result<Option<StrayPage>, sqlx::Error> {
        let Some(found) = self.next_page().await? else { return Ok(None) };
        let ids: Vec<Uuid> = found.iter().map(|stray| stray.id).collect();
        let mut tx = store::begin(self.pool).await?;
        // An advisory lock: ended rows get versions, which one transaction at a time may draw.
        store::lock_versions(&mut *tx).await?;
        let ended = store::end_strays(&mut *tx, &ids).await?;
        tx.commit().await?;
        let mut page = StrayPage::default();
        for stray in found {
            match ended.iter().find(|end| end.id == stray.id) {
                Some(end) if end.is_ended => page.done.push(stray),
                Some(_) => page.held.push(stray),
                None => {} // no longer a stray: another writer ended it, or its room has a session now
            }
        }
        Ok(Some(page))
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Stray>>, sqlx::Error> {
        let mut tx = store::begin(self.pool).await?; // reads along the primary key
        let found = store::list_strays(&mut *tx, self.after, PAGE).await?;
        tx.commit().await?;
        let Some(last) = found.last() else { return Ok(None) };
        // Moves on before the rows are ended: a locked stray must not be found again in the same walk.
        self.after = last.id;
        Ok(Some(found))
    }
}
