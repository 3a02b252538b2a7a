//! Files of tensors, safetensors or PyTorch's: the header is parsed once, data is read when it is asked for.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use safetensors::tensor::{Metadata, TensorInfo};
use sha2::Digest;

use super::{pickle, zip};
use crate::{DType, Error, Result, input, memory};

/// A safetensors file, or one that `torch.save` wrote: what its header says, and where its data is. Of PyTorch's files only
/// tensors are read, by a machine that runs nothing; they have no metadata.
///
/// A file on disk is read a tensor at a time, so it is never in memory as a whole. A file that another program cuts short
/// meanwhile is an error.
pub struct TensorFile {
    name: String,
    path: Option<PathBuf>,
    data: Data,
    metadata: BTreeMap<String, String>,
    /// By name; offsets are in bytes from the start of the file.
    tensors: BTreeMap<String, TensorInfo>,
}

enum Data {
    /// Read at an offset. The lock keeps seeking and reading together.
    File(Mutex<File>),
    Bytes(Cow<'static, [u8]>),
}

/// Bytes of the number at the start that says how long the header is.
const LENGTH: usize = 8;

/// Values of a tensor that are read at a time: an even number.
pub(crate) const PIECE: usize = 1 << 20;

/// The longest header that the format allows, in bytes.
const LONGEST_HEADER: u64 = 100_000_000;

/// Beginnings of files that people take for checkpoints: what each is, and what to do.
const MISTAKEN: [(&[u8], &str); 8] = [
    (
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer and not the file itself; fetch it with `git lfs pull`",
    ),
    (b"<!doctype html", WEB_PAGE),
    (b"<html", WEB_PAGE),
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
const PYTORCH: &str = "is a PyTorch file from before version 1.6, a bare pickle; wanted what `torch.save` writes today, or safetensors: \
     in Python, `safetensors.torch.save_file(state_dict, \"model.safetensors\")`";
const INDEX: &str =
    "is the index of a checkpoint in several files; wanted one safetensors file with all tensors";

/// How a ZIP archive begins, which is what `torch.save` writes.
const ZIP: &[u8] = b"PK\x03\x04";
/// The longest pickle that is read, in bytes.
const LONGEST_PICKLE: u64 = 100_000_000;

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
        let stem = path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        if start.starts_with(ZIP) {
            let tensors = archive(size, &mut |range| {
                let length = usize::try_from(range.end.checked_sub(range.start)?).ok()?;
                let mut bytes = memory::filled(length, 0u8, "an archive").ok()?;
                file.seek(SeekFrom::Start(range.start)).ok()?;
                file.read_exact(&mut bytes).ok()?;
                Some(bytes)
            });
            let tensors = tensors.map_err(|why| Error::file(path, why))?;
            let (path, data) = (Some(path.into()), Data::File(Mutex::new(file)));
            return Ok(TensorFile { name: stem, path, data, metadata: BTreeMap::new(), tensors });
        }
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
        Ok(TensorFile {
            name: stem,
            path: Some(path.into()),
            data: Data::File(Mutex::new(file)),
            metadata: metadata(&header),
            tensors: placed(&header, LENGTH + length),
        })
    }

    /// A file that is in memory already, as in a browser; `name` is what errors and records call it.
    pub fn from_bytes(name: impl Into<String>, bytes: impl Into<Cow<'static, [u8]>>) -> Result<TensorFile> {
        let (name, bytes) = (name.into(), bytes.into());
        let size = bytes.len() as u64;
        if bytes.starts_with(ZIP) {
            let tensors = archive(size, &mut |range| {
                let [start, end] = [range.start, range.end].map(|at| usize::try_from(at).ok());
                bytes.get(start?..end?).map(<[u8]>::to_vec)
            });
            let tensors = tensors.map_err(|why| Error::file(&name, why))?;
            return Ok(TensorFile {
                name,
                path: None,
                data: Data::Bytes(bytes),
                metadata: BTreeMap::new(),
                tensors,
            });
        }
        let parsed = header_length(&bytes, size).and_then(|n| {
            let header = &bytes[LENGTH..LENGTH + n as usize];
            Ok((parse(header, size)?, n))
        });
        let (header, length) = parsed.map_err(|e| match e {
            Fault::Other(e) => e,
            Fault::Format(why) => Error::file(&name, mistaken(&bytes, &name).unwrap_or(why)),
        })?;
        let (metadata, tensors) = (metadata(&header), placed(&header, LENGTH + length as usize));
        Ok(TensorFile { name, path: None, data: Data::Bytes(bytes), metadata, tensors })
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
        self.metadata.clone()
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Vec<(String, String, Vec<usize>)> {
        let row = |(name, t): (&String, &TensorInfo)| (name.clone(), t.dtype.to_string(), t.shape.clone());
        self.tensors.iter().map(row).collect()
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

    /// What the header says of a tensor: dtype, shape and place in the file; None where there is no such tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// A tensor's bytes, little-endian. No such tensor, and a file that has become shorter, are errors.
    pub fn data(&self, name: &str) -> Result<Cow<'_, [u8]>> {
        let info = self.info(name).ok_or_else(|| self.error(format!("{name} is missing")))?;
        let (from, to) = info.data_offsets;
        self.bytes(name, from..to)
    }

    /// Bytes of the tensor `name`.
    fn bytes(&self, name: &str, range: Range<usize>) -> Result<Cow<'_, [u8]>> {
        match &self.data {
            // The header was checked against the length.
            Data::Bytes(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Data::File(file) => {
                let mut bytes = memory::filled(range.len(), 0u8, &format_args!("tensor {name}"))?;
                let mut file = file.lock().unwrap_or_else(|e| e.into_inner());
                let start = SeekFrom::Start(range.start as u64);
                let read = file.seek(start).and_then(|_| file.read_exact(&mut bytes));
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

    /// A tensor's values as f32. No such tensor, one that is stored in a type that is no float, and a value that is not
    /// finite are errors.
    pub fn values(&self, name: &str) -> Result<Vec<f32>> {
        let mut all = vec![];
        self.append_f32(name, DType::F32, &mut all)?;
        Ok(all)
    }

    /// Adds a tensor's values as f32 to `all`. One that is stored in a type that is no float, or has a value that is not
    /// finite or that `dtype` cannot hold, is an error.
    pub(crate) fn append_f32(&self, name: &str, dtype: DType, all: &mut Vec<f32>) -> Result<()> {
        self.pieces(name, dtype, &mut |piece| {
            all.extend_from_slice(piece);
            Ok(())
        })
    }

    /// Hands a tensor's values to `take` as f32, in order, [`PIECE`] of them at a time, so that a large tensor is never in
    /// memory as a whole. Its errors are those of [`append_f32`](Self::append_f32).
    pub(crate) fn pieces(
        &self,
        name: &str,
        dtype: DType,
        take: &mut dyn FnMut(&[f32]) -> Result<()>,
    ) -> Result<()> {
        let info = self.info(name).ok_or_else(|| self.error(format!("{name} is missing")))?;
        let stored = Stored::of(info.dtype)
            .ok_or_else(|| self.error(format!("{name} is {} (wanted {})", info.dtype, Stored::NAMES)))?;
        let (from, to) = info.data_offsets;
        let mut values = memory::with_capacity(PIECE.min((to - from) / stored.size()), "weights")?;
        for start in (from..to).step_by(PIECE * stored.size()) {
            let range = start..to.min(start + PIECE * stored.size());
            values.clear();
            stored.append_f32(&self.bytes(name, range)?, &mut values);
            if let Some(at) = values.iter().position(|x| !dtype.holds(*x)) {
                let (value, at) = (values[at], at + (start - from) / stored.size());
                let wanted = match value.is_finite() {
                    false => "wanted finite weights".into(),
                    true => format!("{dtype} goes to {}, wanted bf16 or f32", dtype.largest()),
                };
                return Err(self.error(format!("{name}: element {at} is {value}; {wanted}")));
            }
            take(&values)?;
        }
        Ok(())
    }

    /// An error about this file.
    pub(crate) fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::file(self.path.as_deref().unwrap_or(Path::new(&self.name)), why)
    }
}

/// A type of stored numbers that can be loaded.
#[derive(Clone, Copy)]
pub(crate) enum Stored {
    Float(DType),
    F64,
}

impl Stored {
    pub const NAMES: &str = "F32, F16, BF16 or F64";

    /// None for a type that cannot be loaded: integers, and quantised weights such as F8_E4M3.
    pub fn of(dtype: safetensors::Dtype) -> Option<Stored> {
        match dtype {
            safetensors::Dtype::F32 => Some(Stored::Float(DType::F32)),
            safetensors::Dtype::F16 => Some(Stored::Float(DType::F16)),
            safetensors::Dtype::BF16 => Some(Stored::Float(DType::BF16)),
            safetensors::Dtype::F64 => Some(Stored::F64),
            _ => None,
        }
    }

    /// Bytes of an element.
    fn size(self) -> usize {
        match self {
            Stored::Float(dtype) => dtype.size(),
            Stored::F64 => size_of::<f64>(),
        }
    }

    fn append_f32(self, bytes: &[u8], all: &mut Vec<f32>) {
        match self {
            Stored::Float(dtype) => dtype.append_f32(bytes, all),
            Stored::F64 => all.extend(bytes.as_chunks().0.iter().map(|x| f64::from_le_bytes(*x) as f32)),
        }
    }
}

/// The key-value pairs of a header.
fn metadata(header: &Metadata) -> BTreeMap<String, String> {
    header.metadata().clone().unwrap_or_default().into_iter().collect()
}

/// A header's tensors, with their places counted from the start of the file; its data begins at `start`.
fn placed(header: &Metadata, start: usize) -> BTreeMap<String, TensorInfo> {
    let place = |(name, t): (String, &TensorInfo)| {
        let data_offsets = (start + t.data_offsets.0, start + t.data_offsets.1);
        (name, TensorInfo { dtype: t.dtype, shape: t.shape.clone(), data_offsets })
    };
    header.tensors().into_iter().map(place).collect()
}

/// The tensors of an archive that `torch.save` wrote, with their places in it. The error is what is wrong with it.
fn archive(size: u64, read: zip::Read<'_>) -> Result<BTreeMap<String, TensorInfo>, String> {
    const WANTED: &str = "wanted what `torch.save` writes, with nothing in it but tensors";
    let wrong = |why: String| format!("is a PyTorch file, and {why}; {WANTED}");
    let entries = zip::entries(size, read).map_err(|why| wrong(format!("is {why}")))?;
    let pickle = entries.iter().find_map(|(name, place)| Some((name.strip_suffix("data.pkl")?, place)));
    let (folder, place) = pickle.ok_or_else(|| wrong("has no data.pkl".into()))?;
    let mut entry = |name: &str, most: u64| {
        let place = entries.get(&format!("{folder}{name}")).cloned();
        place.filter(|place| place.end - place.start <= most).and_then(&mut *read)
    };
    if entry("byteorder", 16).is_some_and(|order| order.trim_ascii() != b"little") {
        return Err(wrong("has its bytes in the other order".into()));
    }
    let bytes = entry("data.pkl", LONGEST_PICKLE)
        .ok_or_else(|| wrong(format!("has a pickle of {} bytes", place.end - place.start)))?;
    let stored = pickle::tensors(&bytes).map_err(|why| wrong(format!("has {why}")))?;
    let mut all = BTreeMap::new();
    for t in stored {
        let wrong = |why: &str| wrong(format!("its tensor {} {why}", t.name));
        let storage = entries.get(&format!("{folder}data/{}", t.key));
        let storage = storage.ok_or_else(|| wrong("is in an entry that is not there"))?;
        if t.shape.len() != t.strides.len() {
            return Err(wrong("has more sizes than strides, or fewer"));
        }
        // Row by row, where there is more than one element in a dimension.
        let mut elements = 1usize;
        for (&length, &stride) in t.shape.iter().zip(&t.strides).rev() {
            if length > 1 && stride != elements {
                return Err(wrong("is not contiguous: `tensor.contiguous()` makes it so"));
            }
            elements = elements.checked_mul(length).ok_or_else(|| wrong("is larger than its entry"))?;
        }
        let size = t.dtype.bitsize() / 8;
        let start =
            t.offset.checked_mul(size).and_then(|at| at.checked_add(usize::try_from(storage.start).ok()?));
        let end = start.and_then(|start| start.checked_add(elements.checked_mul(size)?));
        let (Some(start), Some(end)) = (start, end.filter(|&end| end as u64 <= storage.end)) else {
            return Err(wrong("is larger than its entry"));
        };
        let info = TensorInfo { dtype: t.dtype, shape: t.shape, data_offsets: (start, end) };
        all.insert(t.name, info);
    }
    Ok(all)
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
