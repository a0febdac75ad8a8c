//! The comparison of the whole listing with the view: it finds what no mark told of, and only marks it.
//!
//! It walks along the primary keys in pages, each a short transaction of its own: no writer waits, and nothing piles
//! up, however many rows there are.

use sqlx::PgPool;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::store;

/// Live rooms, or rows of the listing, of one page.
const PAGE: i64 = 5_000;

/// What was compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compared {
    /// Live rooms.
    pub rooms: u64,
    /// Rows that differed though nobody had marked them; now they are marked.
    pub marked: u64,
    /// Rows that say `live` and belong to no live room: sync leaves them alone.
    pub strays: u64,
}

/// A walk over rows, page by page; over all of them by default.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    after: Uuid,
    until: Uuid,
    /// Marks are rolled back.
    is_preview: bool,
    pub compared: Compared,
}

impl Default for Round {
    fn default() -> Self {
        Self::over(Uuid::nil(), Uuid::max())
    }
}

impl Round {
    fn over(after: Uuid, until: Uuid) -> Self {
        Self { after, until, is_preview: false, compared: Compared::default() }
    }

    /// Compares the next page; whether it was the last one.
    pub async fn next_page(&mut self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let mut tx = chassis::db::begin(pool).await?;
        let page = store::find_page(&mut *tx, self.after, self.until, PAGE).await?;
        let marked = store::insert_marks_of_unaligned(&mut *tx, self.after, page.last).await?;
        let strays = store::count_strays(&mut *tx, self.after, page.last).await?;
        if self.is_preview {
            tx.rollback().await?;
        } else {
            tx.commit().await?;
        }
        self.compared.rooms += page.rooms.unsigned_abs();
        self.compared.marked += marked;
        self.compared.strays += strays.unsigned_abs();
        self.after = page.last;
        Ok(page.last == self.until)
    }

    async fn walk(mut self, pool: &PgPool) -> Result<Compared, sqlx::Error> {
        while !self.next_page(pool).await? {}
        Ok(self.compared)
    }
}

/// What the last whole round found.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    pub compared: Compared,
    pub at: OffsetDateTime,
}

/// Compares everything at full speed, each half of the ids over its own connection. The marks it makes are taken by
/// the running service, or by [`drain`](crate::drain).
///
/// # Errors
/// The database's; the marks made until then stay.
pub async fn compare(pool: &PgPool) -> Result<Compared, sqlx::Error> {
    compare_halves(pool, false).await
}

/// Returns what [`compare`] would find and mark, and changes nothing.
///
/// # Errors
/// The database's.
pub async fn preview(pool: &PgPool) -> Result<Compared, sqlx::Error> {
    compare_halves(pool, true).await
}

async fn compare_halves(pool: &PgPool, is_preview: bool) -> Result<Compared, sqlx::Error> {
    let middle = Uuid::from_u128(1 << 127);
    let half = |after, until| Round { is_preview, ..Round::over(after, until) };
    let lower = half(Uuid::nil(), middle).walk(pool);
    let upper = half(middle, Uuid::max()).walk(pool);
    let (lower, upper) = tokio::try_join!(lower, upper)?;
    Ok(Compared {
        rooms: lower.rooms + upper.rooms,
        marked: lower.marked + upper.marked,
        strays: lower.strays + upper.strays,
    })
}
