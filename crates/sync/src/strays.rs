//! Strays: rows of the listing that say `live` and belong to no live room. The comparison counts them, and nothing but an
//! operator's command ends them: they may be another writer's.

use sqlx::PgPool;
use uuid::Uuid;

use crate::store::{self, Stray};

/// Rows of one transaction.
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
    /// Ended, or only found.
    pub done: Vec<Stray>,
    /// Locked by a client, and left alone.
    pub held: Vec<Stray>,
}

impl<'a> Strays<'a> {
    #[must_use]
    pub fn new(pool: &'a PgPool) -> Self {
        Self { pool, after: Uuid::nil() }
    }

    /// Finds the next page. None: there are no more.
    ///
    /// # Errors
    /// The database's.
    pub async fn find_next(&mut self) -> Result<Option<StrayPage>, sqlx::Error> {
        let found = self.next_page().await?;
        Ok(found.map(|done| StrayPage { done, held: Vec::new() }))
    }

    /// Ends the next page. None: there are no more.
    ///
    /// # Errors
    /// The database's; pages that were ended until then stay so.
    pub async fn end_next(&mut self) -> Result<Option<StrayPage>, sqlx::Error> {
        let Some(found) = self.next_page().await? else { return Ok(None) };
        let ids: Vec<Uuid> = found.iter().map(|stray| stray.id).collect();
        let mut tx = store::begin(self.pool).await?;
        store::lock_versions(&mut *tx).await?;
        let ended = store::end_strays(&mut *tx, &ids).await?;
        tx.commit().await?;
        let mut page = StrayPage::default();
        for stray in found {
            match ended.iter().find(|end| end.id == stray.id) {
                Some(end) if end.is_ended => page.done.push(stray),
                Some(_) => page.held.push(stray),
                None => {} // ended by another writer meanwhile, or its room has a session now
            }
        }
        Ok(Some(page))
    }

    async fn next_page(&mut self) -> Result<Option<Vec<Stray>>, sqlx::Error> {
        let mut tx = store::begin(self.pool).await?; // along the primary key
        let found = store::list_strays(&mut *tx, self.after, PAGE).await?;
        tx.commit().await?;
        let Some(last) = found.last() else { return Ok(None) };
        self.after = last.id;
        Ok(Some(found))
    }
}
