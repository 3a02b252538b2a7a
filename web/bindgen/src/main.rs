//! The JavaScript and the types of a wasm file of steep's: `steep-bindgen FILE.wasm FOLDER`.
//!
//! It does what `wasm-bindgen --target web` does, by the same library, and takes a fifth of the time to build.

use std::process::ExitCode;

use wasm_bindgen_cli_support::Bindgen;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [input, folder] = &arguments[..] else {
        eprintln!("wanted a wasm file and a folder");
        return ExitCode::from(2);
    };
    let made = Bindgen::new()
        .input_path(input)
        .out_name("steep")
        .typescript(true)
        .omit_default_module_path(false)
        .web(true)
        .and_then(|bindgen| bindgen.generate(folder));
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("{e:#}");
            ExitCode::FAILURE
        }
    }
}
