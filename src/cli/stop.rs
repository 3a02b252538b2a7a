//! How the program is told to stop: Ctrl-C, SIGTERM and SIGHUP.
//!
//! The first of them is noted, and [`go_on`] reports it to whatever asks. What does not ask within half a second is ended
//! where it is: files that have not taken their names are removed, and nothing is left half written. A second one ends
//! the program at once.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::Relaxed};
use std::time::Duration;

use steep::evaluate::files;
use steep::{Error, Result};

/// What ends the program, and its name.
const SIGNALS: [(i32, &str); 3] = [
    (SIGINT, "interrupted"),
    (SIGTERM, "ended by SIGTERM"),
    (SIGHUP, "ended by SIGHUP, the terminal is gone"),
];

// Their numbers, which are the same on every system that has them.
const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

/// How long work may go on to end in good order.
const GRACE: Duration = Duration::from_millis(500);

/// The signal that came, 0 for none.
static CAME: AtomicI32 = AtomicI32::new(0);
/// Whether its name has been told.
static TOLD: AtomicBool = AtomicBool::new(false);

/// An error once the user has asked to stop.
pub fn go_on() -> Result<()> {
    match CAME.load(Relaxed) {
        0 => Ok(()),
        _ => Err(Error::Interrupted),
    }
}

/// Says once on standard error what has stopped the program, and returns its exit status: 128 and the signal's number.
pub fn last_words() -> u8 {
    let came = match CAME.load(Relaxed) {
        0 => SIGINT,
        came => came,
    };
    if !TOLD.swap(true, Relaxed) {
        super::progress::clear();
        let name = SIGNALS.iter().find(|(signal, _)| *signal == came).map(|(_, name)| *name);
        super::complain(name.unwrap_or("interrupted"));
    }
    status(came)
}

fn status(signal: i32) -> u8 {
    128u8.wrapping_add(signal as u8)
}

/// What happens when a signal comes.
fn stop(signal: i32) {
    CAME.store(signal, Relaxed);
    std::thread::sleep(GRACE);
    files::abandon();
    end(last_words());
}

/// From now on the program stops when it is told to.
#[cfg(unix)]
pub fn watch() -> Result<()> {
    use std::sync::Arc;

    let failed = |e: std::io::Error| Error::setting(format!("signals: {e}"), "to be told of them");
    let again = Arc::new(AtomicBool::new(false));
    // A program that `nohup` started outlives its terminal.
    let signals: Vec<i32> =
        SIGNALS.iter().map(|(signal, _)| *signal).filter(|s| *s != SIGHUP || !ignored(*s)).collect();
    for &signal in &signals {
        // In this order: the first signal sets what the second one looks at.
        let status = status(signal).into();
        signal_hook::flag::register_conditional_shutdown(signal, status, again.clone()).map_err(failed)?;
        signal_hook::flag::register(signal, again.clone()).map_err(failed)?;
    }
    let mut coming = signal_hook::iterator::Signals::new(&signals).map_err(failed)?;
    let wait = move || {
        if let Some(signal) = coming.forever().next() {
            stop(signal);
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(wait).map_err(failed)?;
    Ok(())
}

/// From now on the program stops when it is told to.
#[cfg(not(unix))]
pub fn watch() -> Result<()> {
    let note = || match CAME.load(Relaxed) {
        0 => {
            CAME.store(SIGINT, Relaxed);
            // On a thread of its own: the next Ctrl-C is for this handler too.
            std::thread::spawn(|| stop(SIGINT));
        }
        _ => end(status(SIGINT)),
    };
    ctrlc::set_handler(note).map_err(|e| Error::setting(format!("Ctrl-C: {e}"), "to be told of it"))
}

/// Whether the program that started this one has asked for a signal to be ignored.
#[cfg(unix)]
fn ignored(signal: i32) -> bool {
    // SAFETY: an all-zero `sigaction` is a value of it; without a new one, the call only writes the present one.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Ends the process here. Other threads are at work, so that nothing is torn down under them.
fn end(status: u8) -> ! {
    #[cfg(unix)]
    signal_hook::low_level::exit(status.into());
    #[cfg(not(unix))]
    std::process::exit(status.into());
}
