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

/// A walk over all rows, page by page.
#[derive(Clone, Copy, Debug, Default)]
pub struct Round {
    after: Uuid,
    pub compared: Compared,
}

impl Round {
    /// Compares the next page; whether it was the last one.
    pub async fn next_page(&mut self, pool: &PgPool) -> Result<bool, sqlx::Error> {
        let mut tx = store::begin_page(pool).await?;
        let page = store::find_page(&mut *tx, self.after, PAGE).await?;
        let last = page.last.unwrap_or(Uuid::max());
        let marked = store::insert_marks_of_unaligned(&mut *tx, self.after, last).await?;
        let strays = store::count_strays(&mut *tx, self.after, last).await?;
        tx.commit().await?;
        self.compared.rooms += page.rooms.unsigned_abs();
        self.compared.marked += marked;
        self.compared.strays += strays.unsigned_abs();
        self.after = last;
        Ok(page.last.is_none())
    }
}

/// What the last whole round found.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    pub compared: Compared,
    pub at: OffsetDateTime,
}

/// Compares everything at full speed. The marks it makes are taken by the running service, or by
/// [`drain`](crate::drain).
///
/// # Errors
/// The database's; the marks made until then stay.
pub async fn compare(pool: &PgPool) -> Result<Compared, sqlx::Error> {
    let mut round = Round::default();
    while !round.next_page(pool).await? {}
    Ok(round.compared)
}
