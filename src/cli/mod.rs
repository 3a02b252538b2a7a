//! The command line, one verb per file. Outside tests and benches, the only code that blocks on a future.

mod bench;
mod calibrate;
mod clips;
mod compare;
#[cfg(feature = "cuda")]
mod counters;
mod decode;
mod decoder;
mod devices;
mod forward;
mod generate;
mod hub;
mod inspect;
#[cfg(feature = "cuda")]
mod kernels;
mod memory;
mod output;
mod picture;
mod plan;
mod preview;
mod progress;
mod report;
mod setup;
mod shell;
mod sidecar;
mod stop;
mod timings;
mod try_;
mod verify;

use std::error::Error as _;
use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{ColorChoice, CommandFactory, FromArgMatches, Parser, Subcommand};
use steep::{Error, Result, plain};

use stop::go_on;

/// The cache of the demonstration. Its threshold is on distances as they are: on the shipped model, at 50 steps and guidance 3,
/// it skips 30 steps for every class at seed 0, and the worst clip is 28 dB from the uncached one.
const CACHE: &str = "tea:0.1:identity";

/// What `steep` alone stands for, with files of this name.
fn demo(name: &str) -> Vec<OsString> {
    let line = format!("generate --class 6 --compare --cache {CACHE} --out {name}.gif --skip-map {name}.svg");
    line.split(' ').map(OsString::from).collect()
}

/// The exit status of bad input.
const FAILED: u8 = 2;
/// The exit status where a kernel is wrong.
const WRONG: u8 = 1;

/// A video diffusion transformer with the TeaCache loop, on its own tensor runtime.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = demo_help())]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// In the order of `steep help`; a new verb is a file and two lines.
#[derive(Subcommand)]
enum Verb {
    Generate(generate::Args),
    Calibrate(calibrate::Args),
    Compare(compare::Args),
    Plan(plan::Args),
    Decode(decode::Args),
    Forward(forward::Args),
    Inspect(inspect::Args),
    Bench(bench::Args),
    Verify(verify::Args),
    Try(try_::Args),
    #[cfg(feature = "cuda")]
    Kernels(kernels::Args),
    Devices(devices::Args),
    Completions(shell::Completions),
    Man(shell::Man),
}

/// The grammar. A number below zero is a value of the option before it, so that the option is what is complained of.
/// Help is in colour where a terminal shows it: clap itself would colour every terminal of a CI, dumb ones too.
fn command() -> clap::Command {
    let color = if progress::draws(&std::io::stdout()) { ColorChoice::Auto } else { ColorChoice::Never };
    let takes_values = |arg: clap::Arg| match arg.get_action().takes_values() {
        true => arg.allow_negative_numbers(true),
        false => arg,
    };
    Cli::command().color(color).mut_subcommands(|verb| verb.mut_args(takes_values))
}

fn demo_help() -> String {
    let line = demo("steep").join(OsStr::new(" "));
    format!(
        "Without a command, a demonstration:\n  steep {}\nWhere one of the two files is there already, it writes \
         steep-2.gif and steep-2.svg, and so on.\n\nThe CPU computes with as many threads as RAYON_NUM_THREADS says, by \
         default one for each processor, at most 256 or four for each",
        line.display()
    )
}

pub fn main() -> ExitCode {
    let mut args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if args.is_empty() {
        args = demo(&output::free_name("steep", &["gif", "svg"]));
    }
    args.insert(0, "steep".into());
    let cli = match command().try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found)) {
        Ok(cli) => cli,
        Err(e) if e.use_stderr() => return fail(&one_line(&e), FAILED),
        Err(help) => {
            // A reader that goes away before the end is no error.
            let _ = help.print();
            return ExitCode::SUCCESS;
        }
    };
    if let Err(e) = stop::watch().and_then(|()| start_threads()) {
        return finish(Err(e));
    }
    finish(match &cli.verb {
        Verb::Generate(args) => pollster::block_on(generate::run(args)),
        Verb::Calibrate(args) => pollster::block_on(calibrate::run(args)),
        Verb::Compare(args) => pollster::block_on(compare::run(args)),
        Verb::Plan(args) => pollster::block_on(plan::run(args)),
        Verb::Decode(args) => pollster::block_on(decode::run(args)),
        Verb::Forward(args) => pollster::block_on(forward::run(args)),
        Verb::Inspect(args) => pollster::block_on(inspect::run(args)),
        Verb::Verify(args) => pollster::block_on(verify::run(args)),
        // A kernel that is wrong is no failure of the program, but has a status of its own.
        Verb::Bench(bench::Args { source: Some(file), device, dtype, json, options, .. }) => {
            match pollster::block_on(try_::run(&try_::Args::timing(file, device, *dtype, *json, options))) {
                Ok(status) => return status,
                Err(e) => Err(e),
            }
        }
        Verb::Bench(args) => pollster::block_on(bench::run(args)),
        Verb::Try(args) => match pollster::block_on(try_::run(args)) {
            Ok(status) => return status,
            Err(e) => Err(e),
        },
        #[cfg(feature = "cuda")]
        Verb::Kernels(args) => kernels::run(args),
        Verb::Devices(args) => pollster::block_on(devices::run(args)),
        Verb::Completions(args) => shell::completions(args),
        Verb::Man(args) => shell::man(args),
    })
}

/// Starts the threads that compute: as many as RAYON_NUM_THREADS says, or one for each processor.
///
/// This thread is one of them: no op begins by waking another and waiting.
fn start_threads() -> Result<()> {
    const NAME: &str = "RAYON_NUM_THREADS";
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let most = (4 * processors).max(256);
    let mut threads = processors;
    if let Some(text) = std::env::var_os(NAME).filter(|text| !text.is_empty()) {
        let number = text.to_str().and_then(|text| text.parse().ok()).filter(|n| *n <= most);
        let wrong = || {
            Error::setting(
                format!("{NAME}={}", text.display()),
                format!("1 to {most} threads, or 0 for one a processor"),
            )
        };
        threads = number.ok_or_else(wrong)?;
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread();
    pool.build_global()
        .map_err(|e| Error::setting(format!("{threads} threads: {e}"), format!("fewer, by {NAME}")))
}

fn finish(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Error::Interrupted) => ExitCode::from(stop::last_words()),
        Err(e @ Error::Wrong { .. }) => fail(&e.to_string(), WRONG),
        Err(e) => fail(&e.to_string(), FAILED),
    }
}

fn fail(why: &str, status: u8) -> ExitCode {
    complain(why);
    ExitCode::from(status)
}

/// One line on standard error. A message may quote a file.
fn complain(what: &str) {
    // Where standard error is closed, there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "steep: {}", plain(what));
}

/// A usage error without the usage: our own error where a value was refused by us, else the parser's first words.
fn one_line(e: &clap::Error) -> String {
    if let Some(ours) = e.source().and_then(|e| e.downcast_ref::<Error>()) {
        return ours.to_string();
    }
    if e.source().is_some_and(|e| e.is::<std::num::ParseIntError>())
        && let (Some(ContextValue::String(option)), Some(ContextValue::String(value))) =
            (e.get(ContextKind::InvalidArg), e.get(ContextKind::InvalidValue))
    {
        let name = option.split(' ').next().unwrap_or(option);
        return Error::setting(format!("{name} {value}"), "a whole number from 0").to_string();
    }
    let text = e.to_string();
    let lines = text.lines().map(str::trim).take_while(|line| !line.starts_with("Usage:"));
    let words: Vec<&str> = lines.filter(|l| !l.is_empty() && !l.starts_with("For more")).collect();
    words.join(" ").trim_start_matches("error: ").to_string()
}

/// Writes to standard output. A reader that has gone away, as `head` does, is no error.
fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::file("standard output", e)),
        _ => Ok(()),
    }
}

/// [`say`], unless nobody wants to hear it.
fn say_if(wanted: bool, text: &str) -> Result<()> {
    if wanted { say(text) } else { Ok(()) }
}

/// Writes a value to standard output, as JSON over several lines.
fn say_json(value: &impl serde::Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::file("standard output", e))?;
    say(&(text + "\n"))
}

#[cfg(test)]
#[path = "../../tests/common/commands.rs"]
mod commands;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// A shell takes each command apart, and instead of `steep` runs what writes down how it was called. The parser then
    /// has to take it.
    #[test]
    fn every_command_that_is_shown_can_be_given() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("benches/results")).unwrap();
        let calls = folder.path().join("calls");
        // What a search prints is a policy. Two in a pipe run at once, so each call has a file.
        let each = r#"for word in "$@"; do printf '%s\0' "$word"; done"#;
        let stub = format!("#!/bin/bash\n{each} > {}/$$\necho off\n", calls.display());
        std::fs::write(folder.path().join("steep"), stub).unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut all: Vec<_> = commands::PAGES.iter().flat_map(|page| commands::of_page(root, page)).collect();
        assert!(all.len() > 8, "{all:?}");
        for mut verb in command().get_subcommands().cloned() {
            let help = verb.render_long_help().to_string();
            let examples = commands::of_help(verb.get_name(), &help);
            assert!(!examples.is_empty(), "{} has no example", verb.get_name());
            all.extend(examples);
        }
        for shown in all {
            let _ = std::fs::remove_dir_all(&calls);
            std::fs::create_dir(&calls).unwrap();
            let script = format!("chmod +x steep; PATH=.:$PATH; {}", shown.line);
            let mut bash = Command::new("bash");
            bash.args(["-c", &script]).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::null());
            assert!(bash.status().unwrap().success(), "{shown:?}");
            let called: Vec<_> =
                std::fs::read_dir(&calls).unwrap().map(|call| call.unwrap().path()).collect();
            assert!(!called.is_empty(), "{shown:?}");
            for call in called {
                let call = std::fs::read_to_string(call).unwrap();
                let args = ["steep"].into_iter().chain(call.split_terminator('\0'));
                if let Err(e) = command().try_get_matches_from(args) {
                    panic!("{shown:?}: {}", one_line(&e));
                }
            }
        }
    }
}
