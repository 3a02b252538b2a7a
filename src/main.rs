//! The command-line program. What it says and does is in `cli`, one verb per file.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
