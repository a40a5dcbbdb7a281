//! Telemetry is what a process says about its own work; it never says anything about a person.
//!
//! Three walls keep personal data out of the log: [`redress_domain::Personal`] does not print, crates other than ours
//! are never heard below `warn` (sqlx logs statements and redis logs commands at `debug`), and a panic is logged by its
//! place only, because its message may quote the value that caused it.

use crate::config::{Log, LogFormat};
use std::io::IsTerminal;
use std::panic::PanicHookInfo;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, Registry, filter};

/// Sends this process's events to standard error and its panics to the same place. Does nothing if that was done before.
pub fn init(log: &Log) {
    let terminal = std::io::stderr().is_terminal();
    let subscriber = subscriber(log, terminal, std::io::stderr);
    if tracing::subscriber::set_global_default(subscriber).is_ok() {
        std::panic::set_hook(Box::new(on_panic));
    }
}

/// What [`init`] installs, with any writer: for tests, and for progress bars that share the terminal.
pub fn subscriber<W>(log: &Log, terminal: bool, writer: W) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let json = match log.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !terminal,
    };
    Registry::default().with(lines(json, terminal, writer).with_filter(wanted(log)))
}

/// Whether a text is a filter; else what is wrong with it.
pub fn check_filter(text: &str) -> Result<(), String> {
    // The library takes a lone word that is no level for a target, and then hears nothing else: a typing error is silence.
    let known = |part: &str| part.contains(['=', '[']) || part.trim().parse::<LevelFilter>().is_ok();
    match EnvFilter::builder().parse(text) {
        Ok(_) if !text.trim().is_empty() && text.split(',').all(known) => Ok(()),
        _ => Err("must be error, warn, info, debug or trace, or a list such as info,redress_jobs=debug".to_owned()),
    }
}

fn lines<S, W>(json: bool, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    if json { lines.json().flatten_event(true).boxed() } else { lines.with_ansi(colours).boxed() }
}

/// What the operator asked for, except that other crates are capped.
fn wanted<S: Subscriber + for<'s> LookupSpan<'s>>(log: &Log) -> impl tracing_subscriber::layer::Filter<S> + use<S> {
    use tracing_subscriber::filter::FilterExt;
    let asked = EnvFilter::builder()
        .parse(&log.filter)
        .unwrap_or_else(|_| EnvFilter::default().add_directive(LevelFilter::INFO.into()));
    asked.and(filter::filter_fn(may_speak))
}

/// Our crates at every level, others from `warn` up.
fn may_speak(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let ours = target.split("::").next().is_some_and(|c| c == "redress" || c.starts_with("redress_"));
    ours || *metadata.level() <= tracing::Level::WARN
}

/// Logs where a panic happened and of what kind it is. A message that is part of the program text is shown; one that
/// was put together at run time is not, as it may quote a person's data.
fn on_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or("unknown place".to_owned(), ToString::to_string);
    let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
    let payload = info.payload();
    let message = match payload.downcast_ref::<&'static str>() {
        Some(text) => *text,
        None if payload.is::<String>() => "(a message made at run time, not shown)",
        None => "(a value, not shown)",
    };
    if tracing::enabled!(tracing::Level::ERROR) {
        tracing::error!(panic.place = place, panic.thread = thread, "panicked at {place}: {message}");
    } else {
        eprintln!("panicked at {place}: {message}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat, filter: &str, terminal: bool, work: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let log = Log { format, filter: filter.to_owned() };
        tracing::subscriber::with_default(subscriber(&log, terminal, move || writer.clone()), work);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn other_crates_are_not_heard_below_warn_whatever_the_filter_says() {
        let page = logged(LogFormat::Text, "trace,sqlx=trace,redis=debug", false, || {
            tracing::trace!(target: "sqlx::query", "canary one");
            tracing::info!(target: "redis", "canary two");
            tracing::info!(target: "redressing", "canary three");
            tracing::warn!(target: "sqlx::query", "slow");
            tracing::trace!(target: "redress_jobs::lane", "ours");
            tracing::debug!(target: "redress", "also ours");
        });
        assert!(!page.contains("canary"), "{page}");
        assert!(page.contains("slow") && page.contains("ours") && page.contains("also ours"), "{page}");
    }

    #[test]
    fn the_filter_is_obeyed() {
        let page = logged(LogFormat::Text, "warn,redress_jobs=debug", false, || {
            tracing::info!(target: "redress", "quiet");
            tracing::debug!(target: "redress_jobs", "loud");
        });
        assert!(!page.contains("quiet") && page.contains("loud"), "{page}");
    }

    #[test]
    fn lines_are_json_where_nobody_looks_and_coloured_text_on_a_terminal() {
        let speak = || tracing::info!(target: "redress", attempt = 2, "hello");
        let json: serde_json::Value = serde_json::from_str(&logged(LogFormat::Auto, "info", false, speak)).unwrap();
        assert_eq!((&json["message"], &json["attempt"]), (&"hello".into(), &2.into()));
        assert!(logged(LogFormat::Auto, "info", true, speak).contains("\u{1b}["));
        assert!(!logged(LogFormat::Text, "info", false, speak).contains("\u{1b}["));
    }

    #[test]
    fn a_panic_is_logged_without_the_value_that_caused_it() {
        let page = logged(LogFormat::Text, "info", false, || {
            std::panic::set_hook(Box::new(on_panic));
            let canary = "canary@shop.example";
            let made = std::panic::catch_unwind(|| panic!("no such person: {canary}"));
            let fixed = std::panic::catch_unwind(|| panic!("a fixed message"));
            drop(std::panic::take_hook());
            assert!(made.is_err() && fixed.is_err());
        });
        assert!(!page.contains("canary"), "{page}");
        assert!(page.contains("telemetry.rs") && page.contains("a fixed message"), "{page}");
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        assert!(check_filter("info,redress_jobs=debug").is_ok());
        for text in ["", "info,=", "redress=loud", "loud", "info,wran"] {
            assert!(check_filter(text).is_err(), "{text:?}");
        }
    }
}
