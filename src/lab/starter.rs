//! A file to begin with: all of a kernel but its body.

use super::Language;
use super::header::Header;
use crate::cases::Op;
use crate::device::{Code, Source};
use crate::{DType, Error, Result};

/// The file: the formula, a header, the op's parameters and tensors, and an entry point that does nothing yet. It compiles.
///
/// # Errors
///
/// If the op has no source in the language.
pub fn starter(op: &Op, language: Language) -> Result<String> {
    let kernel = op.kernel;
    let sources = match language {
        Language::Wgsl => kernel.wgsl,
        Language::Cuda => kernel.cuda,
    };
    // The simplest.
    let source = sources.last().ok_or_else(|| {
        Error::setting(format!("{}: no source in {language}", kernel.name), "another language")
    })?;
    let text = match &source.code {
        Code::Wgsl { text, .. } => text.text,
        Code::Cuda(code) => code.text.text,
        Code::Cpu(_) => unreachable!("a source of this language"),
    };
    let missing = || Error::setting(format!("{}: no entry point", kernel.name), "one");
    let parts = Parts::of(text, language).ok_or_else(missing)?;
    Ok(match language {
        Language::Wgsl => wgsl(op, source, &parts),
        Language::Cuda => cuda(op, source, &parts),
    })
}

/// What of a source others need too.
struct Parts<'a> {
    /// The comment that it begins with.
    about: Vec<&'a str>,
    includes: Vec<&'a str>,
    /// Lines of `Params`, where they are not in an include.
    params: Vec<&'a str>,
    bindings: Vec<&'a str>,
    /// Up to the parenthesis that ends its arguments.
    entry: String,
}

impl<'a> Parts<'a> {
    fn of(text: &'a str, language: Language) -> Option<Parts<'a>> {
        let lines = |begins: &str| text.lines().filter(|line| line.starts_with(begins)).collect::<Vec<_>>();
        let mut params = lines("using Params");
        let mut inside = false;
        for line in text.lines() {
            inside |= line.starts_with("struct Params");
            if inside {
                params.push(line);
            }
            inside &= !line.contains('}');
        }
        let entry = match language {
            Language::Wgsl => &text[text.find("@compute")?..],
            Language::Cuda => &text[text.find("extern \"C\"")?..],
        };
        let head = &entry[..entry.find('{')?];
        let entry = cut_bounds(head);
        let about = text.lines().take_while(|line| line.starts_with("//")).collect();
        Some(Parts { about, includes: lines("#include"), params, bindings: lines("@group"), entry })
    }
}

/// The words of a signature without `__launch_bounds__(...)`.
fn cut_bounds(head: &str) -> String {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let Some((before, rest)) = head.split_once("__launch_bounds__") else { return words(head) };
    let mut depth = 0;
    let end = rest.find(|c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ')' && depth == 0
    });
    words(&format!("{before}{}", &rest[end.map_or(0, |end| end + 1)..]))
}

/// The formula, how to try it, and the header.
fn head(op: &Op, language: Language, parts: &Parts<'_>, header: &Header) -> String {
    let name = format!("{}.{}", op.kernel.name, language.extension());
    let about = parts.about.iter().take_while(|line| **line != "//").copied().collect::<Vec<_>>().join("\n");
    format!("{about}\n//\n// Try it: steep try {name}\n{header}\n")
}

/// Lines, where there are some, each ended.
fn block(lines: &[impl AsRef<str>]) -> String {
    lines.iter().map(|line| line.as_ref().to_string() + "\n").collect()
}

/// A signature that is too long for a line, an argument in each.
fn folded(entry: &str) -> String {
    match entry.len() > 100 {
        true => entry.replace(", ", ",\n    "),
        false => entry.to_string(),
    }
}

fn wgsl(op: &Op, source: &Source, parts: &Parts<'_>) -> String {
    let mut header = Header::of(source, op.dtypes).expect("a source of this language");
    header.constants.clear();
    if op.dtypes.len() > 1 {
        header.dtypes = Some((0, vec![DType::F32]));
    }
    // Matrix operands lie there as words, which hold one number each in f32.
    let operands = (op.cases)(DType::F32).into_iter().next();
    let is_float = |name: &str| {
        operands.as_ref().is_some_and(|case| {
            let mut all = case.writes.iter().chain(&case.reads);
            all.any(|operand| operand.name == name && operand.dtype != DType::U32)
        })
    };
    let binding = |line: &&str| {
        let name = line.split(':').next().and_then(|head| head.split_whitespace().last()).unwrap_or("");
        if is_float(name) { line.replace("array<u32>", "array<f32>") } else { line.to_string() }
    };
    let bindings: Vec<String> = parts.bindings.iter().map(binding).collect();
    // What is included wants constants of its own, so only where it has what the kernel cannot do without.
    let complete = !parts.params.is_empty() && !bindings.is_empty();
    let includes: &[&str] = if complete { &[] } else { &parts.includes };
    let signature = parts.entry.split_once("fn ").map_or("", |(_, signature)| signature);
    format!(
        "{}{}{}{}\n@compute @workgroup_size(64)\nfn {} {{\n  // Here.\n}}\n",
        head(op, Language::Wgsl, parts, &header),
        block(includes),
        block(&parts.params),
        block(&bindings),
        folded(signature),
    )
}

fn cuda(op: &Op, source: &Source, parts: &Parts<'_>) -> String {
    let mut header = Header::of(source, op.dtypes).expect("a source of this language");
    header.shared = None;
    format!(
        "{}{}\n{}{}{} {{\n    if (gated_off(gate)) {{\n        return;\n    }}\n    // Here. T is the type of matrix \
         operands: to_f32(x) reads one, put(y, value) writes one.\n}}\n",
        head(op, Language::Cuda, parts, &header),
        block(&parts.includes),
        block(&parts.params),
        if parts.params.is_empty() { "" } else { "\n" },
        folded(&parts.entry),
    )
}
