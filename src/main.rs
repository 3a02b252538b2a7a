//! The command-line program. What it says and does is in `cli`, one verb per file.

mod cli;

fn main() -> std::process::ExitCode {
    // Mesa's Vulkan would look for a display, and complain on standard error that there is none.
    #[cfg(target_os = "linux")]
    // SAFETY: there are no other threads yet.
    unsafe {
        std::env::set_var("NODEVICE_SELECT", "1");
    }
    cli::main()
}
