//! docs/errors.md explains every reason with its real statuses, and no others.

use std::collections::BTreeMap;

use chassis::status::Reason;

const DOC: &str = include_str!("../../../../docs/errors.md");

/// Code → (HTTP, gRPC) as the table of the page has them.
fn documented() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = DOC.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let [code, http, grpc, cause, fix] = cells[..] else { panic!("a row with other columns: {row}") };
        assert!(!cause.is_empty() && !fix.is_empty(), "{code} lacks its cause or what to do");
        (code.trim_matches('`'), (http, grpc))
    })
    .collect()
}

/// `PermissionDenied` → `PERMISSION_DENIED`, as gRPC writes its codes.
fn written(code: tonic::Code) -> String {
    let mut text = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(letter.to_ascii_uppercase());
    }
    text
}

#[test]
fn errors_doc_has_every_reason_with_its_statuses() {
    let documented = documented();
    for &reason in Reason::ALL {
        let (http, grpc) =
            documented.get(reason.code()).unwrap_or_else(|| panic!("{reason} is not in docs/errors.md"));
        assert_eq!(*http, reason.http().to_string(), "{reason}");
        assert_eq!(*grpc, written(reason.grpc()), "{reason}");
    }
    assert_eq!(documented.len(), Reason::ALL.len(), "docs/errors.md explains codes that do not exist");
}
