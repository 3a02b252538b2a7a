//! A file with a kernel of somebody's.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::header::Header;
use crate::cases::{ALL, Op};
use crate::device::{Code, Kernel, Need, Source, Text};
use crate::{DType, Error, Result};

/// The languages of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// `.wgsl`
    Wgsl,
    /// `.cu`
    Cuda,
}

impl Language {
    /// What the names of its files end with.
    pub fn extension(self) -> &'static str {
        match self {
            Language::Wgsl => "wgsl",
            Language::Cuda => "cu",
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Wgsl => "WGSL",
            Language::Cuda => "CUDA",
        })
    }
}

impl std::str::FromStr for Language {
    type Err = Error;

    fn from_str(name: &str) -> Result<Language> {
        match name {
            "wgsl" => Ok(Language::Wgsl),
            "cuda" => Ok(Language::Cuda),
            _ => Err(Error::setting(format!("language `{name}`"), "wgsl or cuda")),
        }
    }
}

/// A kernel to try.
pub struct Candidate {
    /// The op that it should be.
    pub op: &'static Op,
    /// What it is written in.
    pub language: Language,
    /// The file's name, as in messages.
    pub file: &'static str,
    /// The types of matrix operands that it takes.
    pub dtypes: Vec<DType>,
    pub(super) source: &'static Source,
}

/// What a candidate is called among an op's own sources.
pub const LABEL: &str = "yours";

impl Candidate {
    /// Bytes of a file: a kernel is much smaller.
    pub const LARGEST: usize = 1 << 20;

    /// Reads a file's text. The name's end says what language it is in, its entry point (or `op`, where the entry point has
    /// another name) which op, and its header the rest; see [the module](super).
    ///
    /// A device keeps what it compiles by the address of the source, so a candidate's text stays in memory as long as the
    /// program runs.
    ///
    /// # Errors
    ///
    /// The first thing that is wrong, with the file, the line and what was wanted.
    pub fn parse(file: &str, text: &str, op: Option<&str>) -> Result<Candidate> {
        let wrong = |why: String| Error::file(file, why);
        let ending = Path::new(file).extension().and_then(|ending| ending.to_str());
        let language = [Language::Wgsl, Language::Cuda].into_iter().find(|l| ending == Some(l.extension()));
        let language = language.ok_or_else(|| wrong("wanted a name that ends with .wgsl or .cu".into()))?;
        if text.len() > Self::LARGEST {
            return Err(wrong(format!("{} bytes: wanted a kernel of at most {}", text.len(), Self::LARGEST)));
        }
        if let Some(at) = text.find('\0') {
            let line = 1 + text[..at].matches('\n').count();
            return Err(Error::file(format!("{file}:{line}"), "a zero byte: wanted text"));
        }
        let header = Header::parse(file, text)?;
        let mut entries = entries(language, text);
        let asked = op.map(|op| (None, op)).or(header.op.as_ref().map(|(line, op)| (Some(*line), &op[..])));
        if let Some((line, op)) = asked
            && entry_is_included(language, text)
        {
            entries.push((line.unwrap_or(1), op.to_string()));
        }
        let (name, entry) = match (asked, &entries[..]) {
            (_, []) => {
                let how = match language {
                    Language::Wgsl => "`@compute @workgroup_size(N) fn NAME(`",
                    Language::Cuda => "`extern \"C\" __global__ void NAME(`",
                };
                return Err(wrong(format!("no entry point: wanted {how}, where NAME is the op's")));
            }
            (Some((line, op)), all) => {
                let at = line.map_or(file.to_string(), |line| format!("{file}:{line}"));
                let unknown = || Error::file(at, format!("no op `{op}`: wanted one of {}", names()));
                find(op).ok_or_else(unknown)?;
                (op, all.iter().find(|(_, entry)| entry == op).unwrap_or(&all[0]))
            }
            (None, all) => {
                let of_an_op = all.iter().find(|(_, entry)| find(entry).is_some());
                let Some(found) = of_an_op else {
                    let (line, entry) = &all[0];
                    let why = format!(
                        "the entry point `{entry}` is no op: wanted one of {}, or a line `// steep: op = NAME`",
                        names()
                    );
                    return Err(Error::file(format!("{file}:{line}"), why));
                };
                (&found.1[..], found)
            }
        };
        let op = find(name).expect("looked for above");
        if language == Language::Cuda {
            if let [_, (line, second), ..] = &entries[..] {
                let why = format!("a second kernel, `{second}`: wanted one in a file");
                return Err(Error::file(format!("{file}:{line}"), why));
            }
            if !text.contains("extern \"C\"") {
                let why = "wanted `extern \"C\" __global__`: a driver finds a kernel by its plain name";
                return Err(Error::file(format!("{file}:{}", entry.0), why));
            }
        }
        let dtypes = dtypes(file, &header, op)?;
        let entry = if entry.1 == op.kernel.name { None } else { Some(keep(&entry.1)) };
        let source = source(file, text, entry, &header, language, &dtypes)?;
        Ok(Candidate { op, language, file: keep(file), dtypes, source: Box::leak(Box::new(source)) })
    }

    /// What it needs of a device.
    pub fn needs(&self) -> Need {
        self.source.needs
    }

    /// The names of a CUDA kernel's arguments, in order.
    pub(super) fn arguments(&self) -> Vec<String> {
        let Code::Cuda(code) = &self.source.code else { return vec![] };
        let name = code.text.entry.unwrap_or(self.op.kernel.name);
        let text = without_comments(code.text.text);
        let Some(at) = text.find("__global__").and_then(|at| Some(at + kernel(&text[at..])?.0)) else {
            return vec![];
        };
        let list = text[at..].strip_prefix(name).and_then(|rest| rest.trim_start().strip_prefix('('));
        let list = list.and_then(|list| list.split_once(')')).map_or("", |(list, _)| list);
        let last =
            |argument: &str| argument.rsplit(|c| !word(c)).find(|w| !w.is_empty()).unwrap_or("").to_string();
        list.split(',').map(last).collect()
    }

    /// The kernel with its launch geometry, as devices take it.
    pub fn source(&self) -> &'static Source {
        self.source
    }

    /// The same, for a GPU to run although nothing checks it there.
    ///
    /// # Safety
    /// As of [`Text::trusted`]. What has passed in the emulator is likely to be right, no more.
    pub unsafe fn trusted(self) -> Candidate {
        // SAFETY: by the caller's promise.
        let source = unsafe { self.source.trusted() };
        Candidate { source: Box::leak(Box::new(source)), ..self }
    }
}

/// For as long as the program runs: sources are `&'static` to all executors.
fn keep(text: &str) -> &'static str {
    Box::leak(text.into())
}

fn find(name: &str) -> Option<&'static Op> {
    ALL.iter().find(|op| op.kernel.name == name)
}

fn names() -> String {
    ALL.iter().map(|op| op.kernel.name).collect::<Vec<_>>().join(", ")
}

/// The types that it says it takes, which are some of the op's.
fn dtypes(file: &str, header: &Header, op: &Op) -> Result<Vec<DType>> {
    let Some((line, dtypes)) = &header.dtypes else { return Ok(op.dtypes.to_vec()) };
    match dtypes.iter().find(|dtype| !op.dtypes.contains(dtype)) {
        None => Ok(dtypes.clone()),
        Some(dtype) => {
            let has = op.dtypes.iter().map(DType::to_string).collect::<Vec<_>>().join(", ");
            let why = format!("dtypes: {dtype} is no type of `{}`: wanted some of {has}", op.kernel.name);
            Err(Error::file(format!("{file}:{line}"), why))
        }
    }
}

fn source(
    file: &str,
    text: &str,
    entry: Option<&'static str>,
    header: &Header,
    language: Language,
    dtypes: &[DType],
) -> Result<Source> {
    let missing = |key: &str, example: &str| {
        let why = format!("its header lacks `{key}`: wanted a line such as `// steep: {key} = {example}`");
        Error::file(file, why)
    };
    let tile = header.tile.ok_or_else(|| missing("tile", "1, 1, 64"))?;
    let mut text = Text::new(keep(file), keep(text));
    if let Some(entry) = entry {
        text = text.entry(entry);
    }
    let constants: Vec<_> = header.constants.iter().map(|(name, n)| (keep(name), *n)).collect();
    let takes: Vec<&'static str> = header.takes.iter().map(|name| keep(name)).collect();
    let (line, needs) = header.needs.unwrap_or((0, Need::Nothing));
    let of_the_other = match language {
        Language::Wgsl => needs == Need::Sm80,
        Language::Cuda => matches!(needs, Need::Subgroups | Need::FixedSubgroups | Need::CpuAdapter),
    };
    if of_the_other {
        let why = format!("needs: of another language than {language}");
        return Err(Error::file(format!("{file}:{line}"), why));
    }
    let mut source = match language {
        Language::Wgsl => Source::wgsl(LABEL, text, tile),
        Language::Cuda => {
            let threads = header.threads.ok_or_else(|| missing("threads", "256"))?;
            let mut source = Source::unproven_cuda(LABEL, text, threads, tile).taking(takes.leak());
            if let Some((line, shared)) = &header.shared {
                source = source.shared(keep(shared));
                let mut some = constants.clone();
                some.extend(header.takes.iter().map(|name| (keep(name), 64)));
                crate::device::evaluate(shared, &some).map_err(|wanted| {
                    Error::file(format!("{file}:{line}"), format!("shared = {shared}: wanted {wanted}"))
                })?;
            }
            if header.folded {
                source = source.folded();
            }
            if dtypes.iter().all(|dtype| dtype.size() == 2) { source.halves() } else { source }
        }
    };
    source = source.with(constants.leak()).needs(needs).multiple(header.multiple.unwrap_or(1));
    Ok(source)
}

/// One of the crate's own sources as a user's file: its language and its text behind a header. None of those in Rust.
pub fn as_file(kernel: &Kernel, source: &Source, dtypes: &[DType]) -> Option<(Language, String)> {
    let mut header = Header::of(source, dtypes)?;
    let (language, text) = match &source.code {
        Code::Wgsl { text, .. } => (Language::Wgsl, text),
        Code::Cuda(code) => (Language::Cuda, &code.text),
        Code::Cpu(_) => return None,
    };
    if entry_is_included(language, text.text) {
        header.op = Some((0, kernel.name.into()));
    }
    Some((language, format!("// {} {}\n{header}{}", kernel.name, source.label, text.text)))
}

/// Whether what a shader includes has its entry point, so that only its header can say which op it is. If that has none
/// either, the shader does not compile.
fn entry_is_included(language: Language, text: &str) -> bool {
    language == Language::Wgsl && text.contains("#include") && entries(language, text).is_empty()
}

/// Line and name of every entry point.
fn entries(language: Language, text: &str) -> Vec<(usize, String)> {
    let code = without_comments(text);
    let mut found = vec![];
    let mark = match language {
        Language::Wgsl => "@compute",
        Language::Cuda => "__global__",
    };
    for (at, _) in code.match_indices(mark) {
        let rest = &code[at + mark.len()..];
        let name = match language {
            Language::Wgsl => function(rest),
            Language::Cuda => kernel(rest),
        };
        if let Some((offset, name)) = name {
            let line = 1 + code[..at + mark.len() + offset].matches('\n').count();
            found.push((line, name));
        }
    }
    found
}

fn word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Where the name of the next `fn` is, and what it is.
fn function(code: &str) -> Option<(usize, String)> {
    let mut at = 0;
    loop {
        at += code[at..].find("fn")?;
        let before = code[..at].chars().next_back().is_none_or(|c| !word(c));
        let after = code[at + 2..].trim_start();
        let start = code.len() - after.len();
        let name: String = after.chars().take_while(|&c| word(c)).collect();
        if before && start > at + 2 && !name.is_empty() {
            return Some((start, name));
        }
        at += 2;
    }
}

/// The same of the word before the first parenthesis that is no attribute's.
fn kernel(code: &str) -> Option<(usize, String)> {
    let mut at = 0;
    loop {
        let open = at + code[at..].find('(')?;
        let head = code[..open].trim_end();
        let start = head.rfind(|c| !word(c)).map_or(0, |i| i + 1);
        let name = &head[start..];
        if !name.is_empty() && !name.starts_with("__") {
            return Some((start, name.to_string()));
        }
        at = open + code[open..].find(')')?;
    }
}

/// The text with spaces where comments are; lines stay where they are.
fn without_comments(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("//").into_iter().chain(rest.find("/*")).min() {
        code += &rest[..at];
        let comment = &rest[at..];
        let end = match comment.starts_with("//") {
            true => comment.find('\n').unwrap_or(comment.len()),
            false => comment[2..].find("*/").map_or(comment.len(), |i| i + 4),
        };
        code.extend(comment[..end].chars().map(|c| if c == '\n' { c } else { ' ' }));
        rest = &comment[end..];
    }
    code + rest
}
