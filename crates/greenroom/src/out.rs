//! What commands print on stdout. A reader that is gone (`greenroom doctor | head -1`) has read enough: the command
//! goes on without him, and its exit code still tells how it went. Any other failure to print is an error.
//! Colours are for terminals: elsewhere, and with `NO_COLOR`, they are left out.

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
