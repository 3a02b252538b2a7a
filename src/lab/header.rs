//! What a kernel's file says about itself: lines `// steep: KEY = VALUE`; `header.md` lists the keys.

use crate::device::{Code, Need, Source};
use crate::{DType, Error, Result};

/// What a header says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Header {
    pub op: Option<(usize, String)>,
    pub tile: Option<[usize; 3]>,
    pub threads: Option<u32>,
    pub shared: Option<(usize, String)>,
    pub constants: Vec<(String, u32)>,
    pub takes: Vec<String>,
    pub dtypes: Option<(usize, Vec<DType>)>,
    pub multiple: Option<usize>,
    pub folded: bool,
    pub needs: Option<(usize, Need)>,
}

const MARK: &str = "// steep:";
const KEYS: [&str; 10] =
    ["tile", "threads", "shared", "constants", "takes", "dtypes", "multiple", "folded", "needs", "op"];
const NEEDS: [(&str, Need); 5] = [
    ("nothing", Need::Nothing),
    ("subgroups", Need::Subgroups),
    ("fixed_subgroups", Need::FixedSubgroups),
    ("cpu_adapter", Need::CpuAdapter),
    ("sm80", Need::Sm80),
];

impl Header {
    /// Of a file's text. An error names the file and the line.
    pub fn parse(file: &str, text: &str) -> Result<Header> {
        let mut header = Header::default();
        let mut seen: Vec<&str> = vec![];
        for (line, n) in text.lines().zip(1..) {
            let Some(entry) = line.trim_start().strip_prefix(MARK) else { continue };
            let wrong = |what: &str, wanted: &str| {
                Error::file(format!("{file}:{n}"), format!("{what}: wanted {wanted}"))
            };
            let (key, value) = entry.split_once('=').unwrap_or((entry, ""));
            let (key, value) = (key.trim(), value.trim());
            if !KEYS.contains(&key) {
                return Err(wrong(&format!("`{MARK} {key}`"), &format!("one of {}", KEYS.join(", "))));
            }
            if seen.contains(&key) {
                return Err(wrong(key, "it once"));
            }
            seen.push(key);
            header.take(key, value, n).map_err(|wanted| wrong(&format!("{key} = {value}"), wanted))?;
        }
        Ok(header)
    }

    /// An error is what was wanted.
    fn take(&mut self, key: &str, value: &str, line: usize) -> Result<(), &'static str> {
        let list = || value.split(',').map(str::trim);
        match key {
            "tile" => {
                const WANTED: &str = "three whole numbers from 1, such as 1, 1, 64";
                let parts: Option<Vec<usize>> = list().map(|n| n.parse().ok().filter(|&n| n > 0)).collect();
                let tile = parts.and_then(|parts| <[usize; 3]>::try_from(parts).ok());
                self.tile = Some(tile.ok_or(WANTED)?);
            }
            "threads" => {
                let threads = value.parse().ok().filter(|n| (1..=1024).contains(n));
                self.threads = Some(threads.ok_or("1 to 1024")?);
            }
            "shared" if value.is_empty() => return Err("a number of bytes"),
            "shared" => self.shared = Some((line, value.to_string())),
            "constants" => {
                const WANTED: &str = "NAME = NUMBER, NAME = NUMBER, each number from 0 to 4294967295";
                for entry in list() {
                    let (name, number) = entry.split_once('=').ok_or(WANTED)?;
                    let number = number.trim().parse().map_err(|_| WANTED)?;
                    self.constants.push((identifier(name.trim()).ok_or(WANTED)?, number));
                }
            }
            "takes" => {
                let names: Option<Vec<String>> = list().map(identifier).collect();
                self.takes = names.ok_or("names of the call's constants, such as HEAD")?;
            }
            "dtypes" => {
                let dtypes: Result<Vec<DType>> = list().map(str::parse).collect();
                self.dtypes = Some((line, dtypes.map_err(|_| "some of f32, f16, bf16")?));
            }
            "multiple" => {
                let multiple = value.parse().ok().filter(|n: &usize| n.is_power_of_two() && *n <= 64);
                self.multiple = Some(multiple.ok_or("1, 2, 4, 8, 16, 32 or 64")?);
            }
            "folded" => self.folded = value.parse().map_err(|_| "true or false")?,
            "needs" => {
                let need = NEEDS.iter().find(|(name, _)| *name == value);
                self.needs =
                    Some((line, need.ok_or("nothing, subgroups, fixed_subgroups, cpu_adapter or sm80")?.1));
            }
            _ => self.op = Some((line, identifier(value).ok_or("the name of an op")?)),
        }
        Ok(())
    }

    /// Of one of the crate's own sources, whose matrix operands can have `dtypes`.
    pub(super) fn of(source: &Source, dtypes: &[DType]) -> Option<Header> {
        let owned = |all: &[(&str, u32)]| all.iter().map(|(name, n)| (name.to_string(), *n)).collect();
        let needs = Some((0, source.needs)).filter(|(_, need)| *need != Need::Nothing);
        match &source.code {
            Code::Cpu(_) => None,
            Code::Wgsl { tile, constants, multiple, .. } => Some(Header {
                tile: Some(*tile),
                constants: owned(constants),
                multiple: Some(*multiple).filter(|&n| n > 1),
                needs,
                ..Header::default()
            }),
            Code::Cuda(code) => {
                let halves: Vec<DType> = dtypes.iter().copied().filter(|t| t.size() == 2).collect();
                Some(Header {
                    tile: Some(code.tile),
                    threads: Some(code.threads),
                    shared: Some((0, code.shared.to_string())).filter(|(_, bytes)| bytes != "0"),
                    constants: owned(code.constants),
                    takes: code.takes.iter().map(|name| name.to_string()).collect(),
                    dtypes: code.halves.then_some((0, halves)),
                    multiple: Some(code.multiple).filter(|&n| n > 1),
                    folded: code.folded,
                    needs,
                    ..Header::default()
                })
            }
        }
    }
}

impl std::fmt::Display for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let joined = |all: &mut dyn Iterator<Item = String>| all.collect::<Vec<_>>().join(", ");
        let need = |wanted: &Need| NEEDS.iter().find(|(_, need)| need == wanted).map(|(name, _)| name);
        let constants = &mut self.constants.iter().map(|(name, n)| format!("{name} = {n}"));
        let values = [
            ("op", self.op.as_ref().map(|(_, op)| op.clone())),
            ("tile", self.tile.map(|tile| joined(&mut tile.iter().map(usize::to_string)))),
            ("threads", self.threads.map(|n| n.to_string())),
            ("shared", self.shared.as_ref().map(|(_, bytes)| bytes.clone())),
            ("constants", Some(joined(constants)).filter(|all| !all.is_empty())),
            ("takes", Some(self.takes.join(", ")).filter(|all| !all.is_empty())),
            ("dtypes", self.dtypes.as_ref().map(|(_, all)| joined(&mut all.iter().map(DType::to_string)))),
            ("multiple", self.multiple.map(|n| n.to_string())),
            ("folded", self.folded.then(|| true.to_string())),
            ("needs", self.needs.as_ref().and_then(|(_, wanted)| need(wanted)).map(|name| name.to_string())),
        ];
        let said = values.iter().filter_map(|(key, value)| value.as_ref().map(|value| (key, value)));
        said.into_iter().try_for_each(|(key, value)| writeln!(f, "{MARK} {key} = {value}"))
    }
}

fn identifier(word: &str) -> Option<String> {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let right = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && word.chars().all(rest);
    right.then(|| word.to_string())
}
