//! Everything on the ladder passes `steep try` as a user's file would: each source is written to a file, behind the header
//! that says in words what it says in Rust.

use steep::DType;
use steep::cases::ALL;
use steep::device::Code;
use steep::lab::{Language, as_file};

use crate::{Place, device};

include!("../common/per_op.rs");

/// The smaller cases; the others are the business of `tests/ops` and `tests/emulator`, which run the same sources. In CUDA
/// in one type, since each is a compilation.
fn test(name: &str) {
    let op = ALL.iter().find(|op| op.kernel.name == name).unwrap();
    for source in op.kernel.sources() {
        let Some((language, text)) = as_file(op.kernel, source, op.dtypes) else { continue };
        let Some(device) = device(language) else { continue };
        let file = format!("{name}_{}.{}", source.label, language.extension());
        let dtype = match &source.code {
            Code::Cuda(code) if code.halves => DType::BF16,
            _ => DType::F32,
        };
        let types = if language == Language::Cuda { format!("--dtype {dtype}") } else { String::new() };
        let place = Place::with(&file, text);
        let run =
            |largest| place.run(&format!("{file} --device {device} --largest {largest} --values 0 {types}"));
        // A source that takes whole vectors and tiles alone may take none of the smallest.
        let mut tried = [5_000, 50_000, 500_000].into_iter().map(run);
        let out = tried.find(|out| !out.out.contains("takes none of the cases")).expect("it takes a case");
        // A source for other hardware cannot be tried here, and says so.
        if out.status == Some(2) && out.out.contains("lacks what the file needs") {
            println!("skipped: {}", out.out);
            continue;
        }
        println!("{}", out.out);
        out.right();
    }
}
