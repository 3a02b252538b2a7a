//! `steep completions` and `steep man`: the grammar as a shell and as a reader of manuals want it.

use clap_complete::Shell;
use steep::{Error, Result};

/// Print what completes commands in a shell
#[derive(clap::Args)]
#[command(after_help = "Example:\n  steep completions bash > steep.bash")]
pub struct Completions {
    /// The shell
    shell: Shell,
}

/// Print the manual page, in roff: of the program, or of one command
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  steep man > steep.1\n  steep man try > steep-try.1")]
pub struct Man {
    /// A command, as `steep help` lists them
    #[arg(value_name = "COMMAND")]
    verb: Option<String>,
}

pub fn completions(args: &Completions) -> Result<()> {
    let mut text = vec![];
    clap_complete::generate(args.shell, &mut super::command(), "steep", &mut text);
    super::say(&String::from_utf8_lossy(&text))
}

pub fn man(args: &Man) -> Result<()> {
    let mut all = super::command();
    // Names of pages are whole: steep-try.
    all.build();
    let page = match &args.verb {
        None => all,
        Some(verb) => {
            let names: Vec<&str> = all.get_subcommands().map(clap::Command::get_name).collect();
            let unknown = || Error::setting(format!("man {verb}"), names.join(", "));
            let found = all.find_subcommand(verb).ok_or_else(unknown)?.clone();
            // clap keeps names as long as the program runs, which ends after this.
            let name: &'static str = format!("steep-{verb}").leak();
            found.name(name)
        }
    };
    let mut text = vec![];
    clap_mangen::Man::new(page).render(&mut text).map_err(|e| Error::file("standard output", e))?;
    super::say(&String::from_utf8_lossy(&text))
}
