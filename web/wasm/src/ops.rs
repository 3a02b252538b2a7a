//! The ops with their texts, for people to read.

use serde_json::{Value, json};
use steep::cases::Op;
use steep::device::{Code, Source};
use steep::lab::{Language, as_file, starter};
use steep::{Device, for_each_op};

macro_rules! texts {
    ($($name:ident $kernel:ident $dtypes:ident,)*) => {
        /// What each op's Rust file says, in the order of the cases.
        const TEXTS: &[&str] = &[$(include_str!(concat!("../../../src/ops/", stringify!($name), ".rs"))),*];
    };
}
for_each_op!(texts);

/// `[{name, doc, dtypes, rust, cpu, wgsl, starter}]`: the formula and the arguments, the file with the CPU's kernel, and
/// every WGSL source as a file that `try_kernel` takes, with whether `device` runs it.
pub fn all(device: &Device) -> Value {
    steep::cases::ALL.iter().zip(TEXTS).map(|(op, rust)| entry(device, op, rust)).collect()
}

fn entry(device: &Device, op: &Op, rust: &str) -> Value {
    let kernel = op.kernel;
    let wgsl = |source: &Source| {
        let Code::Wgsl { text, .. } = &source.code else { return Value::Null };
        let file = as_file(kernel, source, op.dtypes).map(|(_, text)| text);
        json!({ "label": source.label, "file": text.file, "text": file, "runs": device.has(source.needs) })
    };
    json!({
        "name": kernel.name,
        "doc": doc(kernel.name, rust),
        "dtypes": op.dtypes.iter().map(|dtype| dtype.name()).collect::<Vec<_>>(),
        "rust": rust,
        "cpu": kernel.cpu.iter().map(|source| source.label).collect::<Vec<_>>(),
        "wgsl": kernel.wgsl.iter().map(wgsl).collect::<Vec<_>>(),
        "starter": starter(op, Language::Wgsl).ok(),
    })
}

/// The documentation of an op's function.
fn doc(name: &str, rust: &str) -> String {
    let heads = ["(", "<"].map(|end| format!("pub fn {name}{end}"));
    let before = heads.iter().find_map(|head| rust.find(head)).map_or("", |at| &rust[..at]);
    let lines: Vec<&str> = before.lines().rev().take_while(|line| line.starts_with("///")).collect();
    let lines: Vec<&str> =
        lines.into_iter().rev().map(|line| line[3..].strip_prefix(' ').unwrap_or("")).collect();
    lines.join("\n")
}
