//! docs/diagnosis.md explains every cause, ordered by priority and with the texts of the answers.

use domain::diagnosis::Cause;

const DOC: &str = include_str!("../../../../docs/diagnosis.md");
/// The causes that a diagnosis repairs by itself (room-lifecycle's tests show it).
const REPAIRED: [Cause; 3] = [Cause::RoomPending, Cause::RoomMissing, Cause::SidMismatch];

/// A row of the page as it must be.
fn row(cause: Cause) -> String {
    let texts = cause.texts();
    let operators = texts.operator.map(|operator| format!(" Operators: {operator}")).unwrap_or_default();
    let repaired = if REPAIRED.contains(&cause) { "yes" } else { "no" };
    format!(
        "| `{cause}` | {} | {} | {} | {}{operators} | {repaired} |",
        cause.scenario().as_str(),
        texts.diagnosis,
        texts.likely_cause,
        texts.fix
    )
}

#[test]
fn diagnosis_doc_has_every_cause_in_order() {
    let (_, causes) = DOC.split_once("## Causes").unwrap();
    let documented: Vec<&str> = causes.lines().filter(|line| line.starts_with("| `")).collect();
    for (documented, &cause) in documented.iter().zip(Cause::ALL) {
        assert_eq!(*documented, row(cause));
    }
    assert_eq!(documented.len(), Cause::ALL.len());
}

#[test]
fn codes_are_read_as_they_are_written() {
    for &cause in Cause::ALL {
        assert_eq!(cause.code().parse(), Ok(cause), "{cause:?}");
    }
    assert_eq!("nonsense".parse::<Cause>(), Err(()));
}
