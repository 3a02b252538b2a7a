//! What is drawn on standard error while work goes on, where a person looks at a terminal that can show it.

use std::io::IsTerminal;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{FormattedDuration, ProgressBar, ProgressState, ProgressStyle, WeakProgressBar};

/// Whether this stream may be drawn on in colour: it is a terminal that can (TERM is not `dumb`), and the user has
/// not asked for plain text (NO_COLOR, no-color.org; CLICOLOR=0, bixense.com/clicolors).
pub fn draws(stream: &impl IsTerminal) -> bool {
    let is = |name: &str, value: &str| std::env::var_os(name).is_some_and(|v| v == value);
    let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    stream.is_terminal() && !plain && !is("TERM", "dumb") && !is("CLICOLOR", "0")
}

/// The bar that is on the screen.
static SHOWN: Mutex<Option<WeakProgressBar>> = Mutex::new(None);

/// Takes it off.
pub fn clear() {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(bar) = shown.and_then(|bar| bar.upgrade()) {
        bar.finish_and_clear();
    }
}

/// A bar of `all` pieces of work, with a message, and the time left once a piece is done to tell it by. Where it is not
/// known how many pieces there are (0), a spinner.
pub fn bar(prefix: &str, all: usize, quiet: bool) -> ProgressBar {
    let template = match all {
        0 => "  {prefix}  {spinner} {msg}  {elapsed}",
        _ => "  {prefix}  {wide_bar:.blue/dim} {pos}/{len}  {msg}{left}",
    };
    styled(prefix, all, template, quiet)
}

/// A bar of bytes; how many it says once it is told.
#[cfg(feature = "hub")]
pub fn bytes(prefix: &str, quiet: bool) -> ProgressBar {
    styled(prefix, 0, "  {prefix}  {wide_bar:.blue/dim} {bytes}/{total_bytes}{left}", quiet)
}

fn styled(prefix: &str, all: usize, template: &str, quiet: bool) -> ProgressBar {
    if quiet || !draws(&std::io::stderr()) {
        return ProgressBar::hidden();
    }
    let left = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        if state.pos() > 0 {
            let _ = write!(out, "  {} left", FormattedDuration(state.eta()));
        }
    };
    let bar = ProgressBar::new(all as u64);
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style.with_key("left", left));
    bar.set_prefix(prefix.to_string());
    *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.downgrade());
    bar
}

/// Work that cannot tell how far it is, as opening a device: what it is, shown once it has taken half a second, until
/// this is dropped.
pub struct Busy {
    done: Option<Sender<()>>,
    shown: Option<JoinHandle<()>>,
}

/// Begins to be [busy](Busy) with `what`.
pub fn busy(what: &'static str, quiet: bool) -> Busy {
    if quiet || !draws(&std::io::stderr()) {
        return Busy { done: None, shown: None };
    }
    let (done, wait) = channel::<()>();
    let show = move || {
        let mut drawn: Option<ProgressBar> = None;
        let mut pause = Duration::from_millis(500);
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(pause) {
            pause = Duration::from_millis(100);
            drawn.get_or_insert_with(|| bar(what, 0, false)).tick();
        }
        if let Some(bar) = drawn {
            bar.finish_and_clear();
        }
    };
    Busy { done: Some(done), shown: std::thread::Builder::new().spawn(show).ok() }
}

impl Drop for Busy {
    fn drop(&mut self) {
        drop(self.done.take());
        // The line is clean before anything else is written.
        let _ = self.shown.take().map(JoinHandle::join);
    }
}
