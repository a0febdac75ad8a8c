//! All SQL of sync. The view `live_stream_projection` defines what a row of the listing should be. The view
//! `unaligned_live_streams` has the rows that differ. No statement here repeats these definitions.

mod align;
mod compare;
mod marks;
mod read;
mod strays;

pub use align::{begin, lock_rows, lock_versions, upsert_unaligned};
pub use compare::{count_strays, find_now, find_page, insert_marks_of_unaligned};
pub use marks::{
    BATCH, Mark, delete_marks, find_waiting, list_due_rooms, set_rooms_aside, take_marks, take_marks_of_room,
};
pub use read::{Filter, Search, StreamRow, count_changes, find_position, list_changes, list_streams};
pub use strays::{Stray, StrayEnd, end_strays, list_strays};
