//! Files of tensors in the safetensors format: the header is parsed once, data is read when it is asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use safetensors::tensor::{Metadata, TensorInfo};
use sha2::Digest;

use crate::{DType, Error, Result, input, memory};

/// A safetensors file: what its header says, and where its data is.
///
/// A file on disk is read a tensor at a time, so it is never in memory as a whole. A file that another program cuts short
/// meanwhile is an error.
pub struct TensorFile {
    name: String,
    path: Option<PathBuf>,
    data: Data,
    header: Metadata,
    /// Where the data begins, in bytes from the start of the file.
    start: u64,
}

enum Data {
    /// Read at an offset. The lock keeps seeking and reading together.
    File(Mutex<File>),
    Bytes(Cow<'static, [u8]>),
}

/// Bytes of the number at the start that says how long the header is.
const LENGTH: usize = 8;

/// The longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Beginnings of files that people take for checkpoints: what each is, and what to do.
const MISTAKEN: [(&[u8], &str); 9] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`",
    ),
    (b"<!doctype html", WEB_PAGE),
    (b"<html", WEB_PAGE),
    (b"PK\x03\x04", PYTORCH),
    (b"\x80\x02", PYTORCH),
    (b"\x80\x03", PYTORCH),
    (b"\x80\x04", PYTORCH),
    (
        b"GGUF",
        "is a GGUF file; wanted the same weights in the safetensors format, as F32, F16 or BF16 and not quantised",
    ),
    (b"\x89HDF", "is an HDF5 file; wanted a safetensors file"),
];
const WEB_PAGE: &str = "is a web page (HTML), as a download that failed leaves it; wanted the file itself (on Hugging Face, the address \
     has `/resolve/` where the page's has `/blob/`)";
const PYTORCH: &str = "is a PyTorch file (a pickle or a ZIP archive of them); wanted safetensors: in Python, \
     `safetensors.torch.save_file(state_dict, \"model.safetensors\", metadata={\"config\": …})`";
const INDEX: &str =
    "is the index of a checkpoint in several files; wanted one safetensors file with all tensors";

impl TensorFile {
    /// Opens a file and parses its header. The file is remembered as an [`input`].
    pub fn open(path: impl AsRef<Path>) -> Result<TensorFile> {
        let path = path.as_ref();
        let fail = |e: std::io::Error| Error::file(path, e);
        let mut file = input::open(path, "a safetensors file")?;
        let size = file.metadata().map_err(fail)?.len();
        let mut read = |n: u64, what: &str| {
            let n = usize::try_from(n).unwrap_or(usize::MAX);
            let mut bytes = memory::filled(n, 0u8, &format_args!("{what} of {}", path.display()))?;
            file.read_exact(&mut bytes).map_err(fail)?;
            Ok(bytes)
        };
        let start = read(size.min(LENGTH as u64), "the start")?;
        let header = header_length(&start, size).and_then(|n| Ok(read(n, "the header")?));
        let parsed = header.and_then(|header| Ok((parse(&header, size)?, header.len())));
        let (header, length) = parsed.map_err(|e: Fault| match e {
            Fault::Other(e) => e,
            Fault::Format(why) => {
                let mut head = start;
                let _ = file.seek(SeekFrom::Start(LENGTH as u64));
                let _ = (&mut file).take(4096).read_to_end(&mut head);
                Error::file(path, mistaken(&head, &path.to_string_lossy()).unwrap_or(why))
            }
        })?;
        let stem = path.file_stem().unwrap_or(path.as_os_str());
        Ok(TensorFile {
            name: stem.to_string_lossy().into_owned(),
            path: Some(path.into()),
            data: Data::File(Mutex::new(file)),
            header,
            start: (LENGTH + length) as u64,
        })
    }

    /// A file that is in memory already, as in a browser; `name` is what errors and records call it.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Result<TensorFile> {
        let (name, bytes) = (name.into(), bytes.into());
        let size = bytes.len() as u64;
        let parsed = header_length(&bytes, size).and_then(|n| {
            let header = &bytes[LENGTH..LENGTH + n as usize];
            Ok((parse(header, size)?, n))
        });
        let (header, length) = parsed.map_err(|e| match e {
            Fault::Other(e) => e,
            Fault::Format(why) => Error::file(&name, mistaken(&bytes, &name).unwrap_or(why)),
        })?;
        Ok(TensorFile { name, path: None, data: Data::Bytes(bytes), header, start: LENGTH as u64 + length })
    }

    /// The file of the checkpoint that comes with the crate.
    pub fn shipped() -> Result<TensorFile> {
        TensorFile::from_bytes(super::SHIPPED_NAME, super::SHIPPED)
    }

    /// What it is called: of a file on disk, its name without folder and ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was read from; None where it was in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The key-value pairs of the header.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.header.metadata().clone().unwrap_or_default().into_iter().collect()
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Vec<(String, String, Vec<usize>)> {
        let tensors = self.header.tensors().into_iter();
        let mut all: Vec<_> = tensors.map(|(name, t)| (name, t.dtype.to_string(), t.shape.clone())).collect();
        all.sort();
        all
    }

    /// SHA-256 of the whole file, in hexadecimal: what makes these weights these. A file on disk is read for it.
    pub fn sha256(&self) -> Result<String> {
        let mut hash = sha2::Sha256::new();
        match &self.data {
            Data::Bytes(bytes) => hash.update(bytes),
            Data::File(file) => {
                let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
                let mut piece = memory::filled(1 << 20, 0u8, "a part of a file")?;
                let fail = |e: std::io::Error| self.error(e);
                file.seek(SeekFrom::Start(0)).map_err(fail)?;
                loop {
                    match file.read(&mut piece).map_err(fail)? {
                        0 => break,
                        n => hash.update(&piece[..n]),
                    }
                }
            }
        }
        Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// What the header says of a tensor: dtype, shape and place; None where there is no such tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.header.info(name)
    }

    /// A tensor's bytes, little-endian. No such tensor, and a file that has become shorter, are errors.
    pub fn data(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let info = self.info(name).ok_or_else(|| self.error(format!("{name} is missing")))?;
        let (from, to) = info.data_offsets;
        let Range { start, end } = self.start + from as u64..self.start + to as u64;
        match &self.data {
            // The header was checked against the length.
            Data::Bytes(bytes) => Ok(Cow::Borrowed(&bytes[start as usize..end as usize])),
            Data::File(file) => {
                let mut bytes = memory::filled(to - from, 0u8, &format_args!("tensor {name}"))?;
                let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
                let read = file.seek(SeekFrom::Start(start)).and_then(|_| file.read_exact(&mut bytes));
                read.map_err(|e| match e.kind() {
                    std::io::ErrorKind::UnexpectedEof => self.error(format!(
                        "{name}: the file has become shorter since it was opened; wanted one that stays as it is"
                    )),
                    _ => self.error(format!("{name}: {e}")),
                })?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Adds a tensor's values as f32 to `all`. One that is stored in a type that is no float, or has a value that is not
    /// finite or that `dtype` cannot hold, is an error.
    pub(crate) fn append_f32(&self, name: &str, dtype: DType, all: &mut Vec<f32>) -> Result<()> {
        let info = self.info(name).ok_or_else(|| self.error(format!("{name} is missing")))?;
        let stored = stored_dtype(info.dtype)
            .ok_or_else(|| self.error(format!("{name} is {} (wanted F32, F16 or BF16)", info.dtype)))?;
        let from = all.len();
        stored.append_f32(&self.data(name)?, all);
        match all[from..].iter().position(|x| !dtype.holds(*x)) {
            Some(at) => {
                let value = all[from + at];
                let wanted = match value.is_finite() {
                    false => "wanted finite weights".into(),
                    true => format!("{dtype} goes to {}, wanted bf16 or f32", dtype.largest()),
                };
                Err(self.error(format!("{name}: element {at} is {value}; {wanted}")))
            }
            None => Ok(()),
        }
    }

    /// An error about this file.
    pub(crate) fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::file(self.path.as_deref().unwrap_or(Path::new(&self.name)), why)
    }
}

/// The type here of a stored type, if matrices and vectors of it can be loaded.
pub(crate) fn stored_dtype(dtype: safetensors::Dtype) -> Option<DType> {
    match dtype {
        safetensors::Dtype::F32 => Some(DType::F32),
        safetensors::Dtype::F16 => Some(DType::F16),
        safetensors::Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// Why a file could not be opened.
enum Fault {
    /// It is no safetensors file, or not a whole one.
    Format(String),
    Other(Error),
}

impl From<Error> for Fault {
    fn from(e: Error) -> Fault {
        Fault::Other(e)
    }
}

/// How long the header is, from the first bytes of a file of `size` bytes.
fn header_length(start: &[u8], size: u64) -> Result<u64, Fault> {
    let Some(length) = start.first_chunk::<LENGTH>() else {
        return Err(Fault::Format(format!(
            "not a whole safetensors file: it has {size} bytes, less than a header"
        )));
    };
    let length = u64::from_le_bytes(*length);
    match length <= LONGEST_HEADER && length <= size - LENGTH as u64 {
        true => Ok(length),
        false => Err(Fault::Format(format!(
            "not a whole safetensors file: it has {size} bytes, and its first eight would mean a header of {length}"
        ))),
    }
}

/// The header of a file of `size` bytes.
fn parse(header: &[u8], size: u64) -> Result<Metadata, Fault> {
    let wrong = |why: String| Fault::Format(format!("not a whole safetensors file: {why}"));
    let parsed: Metadata = serde_json::from_slice(header).map_err(|e| wrong(format!("its header: {e}")))?;
    let (there, wanted) = (size - (LENGTH + header.len()) as u64, parsed.data_len() as u64);
    match there == wanted {
        true => Ok(parsed),
        false => Err(wrong(format!("{there} bytes of data, and its header describes {wanted}"))),
    }
}

/// What a file is that is no safetensors file, if that can be told from its first bytes and its name.
fn mistaken(head: &[u8], name: &str) -> Option<String> {
    if head.is_empty() {
        return Some("is empty; wanted a safetensors file".into());
    }
    let text = head.trim_ascii_start();
    let begins = |(beginning, _): &&(&[u8], &str)| {
        text.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    };
    if let Some((_, what)) = MISTAKEN.iter().find(begins) {
        return Some(what.to_string());
    }
    let has = |word: &[u8]| head.windows(word.len()).any(|part| part == word);
    match text.starts_with(b"{") {
        true if has(b"\"weight_map\"") || name.to_ascii_lowercase().ends_with(".index.json") => {
            Some(INDEX.into())
        }
        true => Some("is JSON text; wanted a safetensors file".into()),
        false => None,
    }
}
