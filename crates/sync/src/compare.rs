//! Compares the whole listing with the view. It finds rows that differ without a mark, and only marks them.
//!
//! The comparison walks along the primary keys in pages. Each page is a short transaction of its own. So writers do not
//! wait and memory is constant, for any number of rows.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store;

/// Live rooms, or rows of the listing, in one page.
const PAGE: i64 = 5_000;

/// The result of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Live rooms that were compared.
    pub rooms: u64,
    /// Rows that differed without a mark; now they have one.
    pub marked: u64,
    /// Rows that say `live` and belong to no live room. sync does not change them.
    pub strays: u64,
}

/// A comparison in progress, page by page; of all rows by default.
#[derive(Clone, Copy, Debug)]
pub struct Comparison {
    after: Uuid,
    until: Uuid,
    /// Whether marks are rolled back.
    is_preview: bool,
    pub compared: Compared,
}

impl Default for Comparison {
    fn default() -> Self {
        Self::over(Uuid::nil(), Uuid::max())
    }
}

impl Comparison {
    fn over(after: Uuid, until: Uuid) -> Self {
        Self { after, until, is_preview: false, compared: Compared::default() }
    }

    /// Compares the next page. Returns whether it was the last one.
    pub async fn next_page(&mut self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let mut tx = chassis::db::begin(pool).await?;
        let page = store::find_page(&mut *tx, self.after, self.until, PAGE).await?;
        let marked = store::insert_marks_of_unaligned(&mut *tx, self.after, page.last).await?;
        let strays = store::count_strays(&mut *tx, self.after, page.last).await?;
        // The preview runs the same statements and rolls back, so that it cannot differ from the comparison.
        if self.is_preview {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        self.compared.rooms += page.rooms.unsigned_abs();
        self.compared.marked += marked;
        self.compared.strays += strays.unsigned_abs();
        // From the page and not from its last room: a page may end with a row that has no room.
        self.after = page.last;
        Ok(page.last == self.until)
    }

    async fn walk(mut self, pool: &PgPool) -> Result<Compared, sqlx::Error> {
        while !self.next_page(pool).await? {}
        Ok(self.compared)
    }
}

/// The result of the last complete comparison.
#[derive(Clone, Copy, Debug)]
pub struct LastComparison {
    pub compared: Compared,
    pub at: OffsetDateTime,
}

/// Compares all rows at full speed, each half of the ids over its own connection. The running service takes the marks,
/// or [`drain`](crate::drain).
///
/// # Errors
/// Errors of the database. Marks that were committed before stay.
pub async fn compare(pool: &PgPool) -> Result<Compared, sqlx::Error> {
    compare_halves(pool, false).await
}

/// Returns what [`compare`] would find and mark, and changes nothing.
///
/// # Errors
/// Errors of the database.
pub async fn preview(pool: &PgPool) -> Result<Compared, sqlx::Error> {
    compare_halves(pool, true).await
}

async fn compare_halves(pool: &PgPool, is_preview: bool) -> Result<Compared, sqlx::Error> {
    let middle = Uuid::from_u128(1 << 127);
    // Ids are random, so the two halves are about equally large.
    let half = |after, until| Comparison { is_preview, ..Comparison::over(after, until) };
    let lower = half(Uuid::nil(), middle).walk(pool);
    let upper = half(middle, Uuid::max()).walk(pool);
    let (lower, upper) = tokio::try_join!(lower, upper)?;
    Ok(Compared {
        rooms: lower.rooms + upper.rooms,
        marked: lower.marked + upper.marked,
        strays: lower.strays + upper.strays,
    })
}
