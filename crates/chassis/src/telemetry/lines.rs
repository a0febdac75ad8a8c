//! Formats log lines: JSON, or text for a terminal. Both end with the ids of the trace and of the request.

use std::{fmt, io, panic::PanicHookInfo, sync::Arc};

use opentelemetry::{
    Context,
    trace::{SpanContext, TraceContextExt},
};
use serde::Serializer as _;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::Writer,
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::context;

/// The format of a line; JSON or text.
#[derive(Clone, Copy, Debug)]
pub struct Lines {
    pub json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.json {
            json(&mut writer, event)?;
        } else {
            compact(context, &mut writer, event)?;
        }
        writer.write_char('\n')
    }
}

/// Calls `work` with the ids of the trace under way, if there is one.
fn with_trace(work: impl FnOnce(&SpanContext) -> fmt::Result) -> fmt::Result {
    Context::map_current(|context| {
        let span = context.span();
        let ids = span.span_context();
        // Without a trace the ids are zero, and all such lines would look like one trace.
        if ids.is_valid() { work(ids) } else { Ok(()) }
    })
}

/// The id of the request under way, if there is one.
fn request_id() -> Option<Arc<str>> {
    context::current().map(|request| request.request_id).filter(|id| !id.is_empty())
}

fn json(writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    let metadata = event.metadata();
    writer.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(writer)?;
    write!(writer, "\",\"level\":\"{}\"", metadata.level())?;
    let mut members = Members { writer, has_request: false, outcome: Ok(()) };
    event.record(&mut members);
    let Members { writer, has_request, outcome } = members;
    outcome?;
    member(writer, "target", |writer| string(writer, format_args!("{}", metadata.target())))?;
    // The event may have the id as a field of its own. JSON must not have the member twice.
    if !has_request && let Some(id) = request_id() {
        member(writer, "request.id", |writer| string(writer, format_args!("{id}")))?;
    }
    with_trace(|ids| {
        write!(writer, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", ids.trace_id(), ids.span_id())
    })?;
    writer.write_char('}')
}

fn compact<S, N>(context: &FmtContext<'_, S, N>, writer: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let metadata = event.metadata();
    let (dim, color, plain) = if writer.has_ansi_escapes() {
        ("\x1b[2m", color(*metadata.level()), "\x1b[0m")
    } else {
        ("", "", "")
    };
    writer.write_str(dim)?;
    SystemTime.format_time(writer)?;
    write!(writer, "{plain} {color}{:>5}{plain} {dim}{}:{plain} ", metadata.level(), metadata.target())?;
    context.format_fields(writer.by_ref(), event)?;
    // An event may have the id itself, and would show it twice.
    if event.metadata().fields().field("request.id").is_none()
        && let Some(id) = request_id()
    {
        write!(writer, " {dim}request.id={id}{plain}")?;
    }
    with_trace(|ids| write!(writer, " {dim}trace_id={} span_id={}{plain}", ids.trace_id(), ids.span_id()))
}

fn color(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        Level::DEBUG => "\x1b[34m",
        Level::TRACE => "\x1b[35m",
    }
}

/// Writes the fields of an event as members of the line's object.
struct Members<'w, 'b> {
    writer: &'w mut Writer<'b>,
    has_request: bool,
    outcome: fmt::Result,
}

impl Members<'_, '_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.has_request |= field.name() == "request.id";
        // A field named with a keyword is written as `r#type` in the macro.
        let name = field.name().strip_prefix("r#").unwrap_or(field.name());
        if self.outcome.is_ok() {
            self.outcome = member(self.writer, name, value);
        }
    }
}

impl Visit for Members<'_, '_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write(field, |writer| string(writer, format_args!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |writer| string(writer, format_args!("{value}")));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, |writer| {
            // JSON has no NaN and no infinity.
            if value.is_finite() { write!(writer, "{value}") } else { writer.write_str("null") }
        });
    }
}

fn member(
    writer: &mut Writer<'_>,
    name: &str,
    value: impl FnOnce(&mut Writer<'_>) -> fmt::Result,
) -> fmt::Result {
    write!(writer, ",\"{name}\":")?;
    value(writer)
}

fn string(writer: &mut Writer<'_>, text: fmt::Arguments<'_>) -> fmt::Result {
    serde_json::Serializer::new(Bytes(writer)).collect_str(&text).map_err(|_| fmt::Error)
}

/// Adapts the writer of a line to `serde_json`, which writes whole characters.
struct Bytes<'w, 'b>(&'w mut Writer<'b>);

impl io::Write for Bytes<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = std::str::from_utf8(bytes).map_err(io::Error::other)?;
        self.0.write_str(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs a panic in the same format as other lines. The default hook writes unformatted text without ids.
pub(super) fn log_panic(panic: &PanicHookInfo<'_>) {
    let message = panic.payload_as_str().unwrap_or("no message");
    let location = panic.location().map(ToString::to_string);
    let backtrace = std::backtrace::Backtrace::capture();
    let backtrace = (backtrace.status() == std::backtrace::BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        panic.message = message,
        panic.location = location,
        panic.backtrace = backtrace.as_ref().map(tracing::field::display),
        "panicked"
    );
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use testkit::Log;

    use super::*;

    #[tokio::test]
    async fn lines_name_their_request_in_both_formats() {
        for (json, id) in [(false, "request.id=abc"), (true, r#""request.id":"abc""#)] {
            let log = Log::default();
            let written = log.clone();
            let format = tracing_subscriber::fmt().event_format(Lines { json });
            let _guard =
                tracing::subscriber::set_default(format.with_writer(move || written.clone()).finish());
            let request = context::Context {
                deadline: Instant::now() + Duration::from_mins(1),
                request_id: Arc::from("abc"),
            };
            context::scope(request, async { tracing::error!(room.name = "session-1", "room created") }).await;
            let line = log.text();
            assert!(
                line.contains("room created") && line.contains("session-1") && line.contains(id),
                "{line}"
            );
        }
    }
}
