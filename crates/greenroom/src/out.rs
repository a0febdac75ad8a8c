//! What commands print on stdout. When the reader closes the pipe (`greenroom doctor | head -1`), the command
//! continues, and its exit code still has the result. Any other failure to print is an error.
//!
//! Colours are printed on terminals only, and not with `NO_COLOR`.

use std::{
    fmt::Display,
    io::{self, ErrorKind, Write as _},
};

/// Prints a line.
pub fn say(line: impl Display) -> io::Result<()> {
    match writeln!(anstream::stdout().lock(), "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}
