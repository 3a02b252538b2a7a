//! What a path leads to: one file of tensors, or several that are one checkpoint, and what is said of them beside.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::TensorInfo;
use serde_json::Value;
use sha2::Digest;

use super::TensorFile;
use crate::{Error, Result, input};

/// The tensors of a checkpoint, wherever they are:
///
/// - one safetensors file, or one that `torch.save` wrote;
/// - several, and the `*.safetensors.index.json` or `*.bin.index.json` that says which tensor is where;
/// - a folder with either of these, in which a `config.json` says what the tensors do not;
/// - a folder of diffusers' pipeline: it has `transformer/`, which is such a folder, and `scheduler/`.
pub struct Source {
    name: String,
    path: Option<PathBuf>,
    files: Vec<TensorFile>,
    /// Which file a tensor is in.
    places: BTreeMap<String, usize>,
    /// `config.json` and `scheduler_config.json`, where they are: path and text.
    pub(super) config: Option<(PathBuf, String)>,
    pub(super) scheduler: Option<(PathBuf, String)>,
    /// A pipeline's `model_index.json`.
    pub(super) pipeline: Option<(PathBuf, String)>,
}

const WANTED: &str = "a safetensors or PyTorch file, or a folder with one";
/// Names of files in a folder, those that are preferred first: indices, then safetensors, then PyTorch's.
const ENDINGS: [&str; 7] =
    [".safetensors.index.json", ".safetensors", ".bin.index.json", ".bin", ".pt", ".pth", ".ckpt"];
const INDICES: [&str; 2] = [ENDINGS[0], ENDINGS[2]];
/// Names that are taken where a folder has several files.
const USUAL: [&str; 2] = ["diffusion_pytorch_model", "model"];

impl From<TensorFile> for Source {
    fn from(file: TensorFile) -> Source {
        let places = file.names().map(|name| (name.to_string(), 0)).collect();
        Source {
            name: file.name().into(),
            path: file.path().map(Into::into),
            files: vec![file],
            places,
            config: None,
            scheduler: None,
            pipeline: None,
        }
    }
}

impl Source {
    /// Opens what `path` leads to and parses the headers.
    pub fn open(path: impl AsRef<Path>) -> Result<Source> {
        Source::part(path, "transformer")
    }

    /// The same, of another part of a pipeline's folder.
    pub(super) fn part(path: impl AsRef<Path>, part: &str) -> Result<Source> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Source::with_config(path);
        }
        let inner = path.join(part);
        let inner = if inner.is_dir() { inner } else { path.into() };
        let mut source = Source::with_config(&chosen(&inner)?)?;
        let folder = path.canonicalize().unwrap_or_else(|_| path.into());
        source.name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        source.path = Some(path.into());
        source.scheduler = text(path.join("scheduler/scheduler_config.json"))?;
        source.pipeline = text(path.join("model_index.json"))?;
        Ok(source)
    }

    /// One file or several, and the `config.json` beside.
    fn with_config(path: &Path) -> Result<Source> {
        let name = path.to_string_lossy().to_ascii_lowercase();
        let source = match INDICES.iter().find(|ending| name.ends_with(**ending)) {
            Some(ending) => Source::sharded(path, ending.len())?,
            None => TensorFile::open(path)?.into(),
        };
        let config = text(path.with_file_name("config.json"))?;
        Ok(Source { config, ..source })
    }

    /// The files that an index names; as many letters of its own name as `ending` say that it is one.
    fn sharded(index: &Path, ending: usize) -> Result<Source> {
        let wrong = |why: String| Error::file(index, why);
        let json: Value = serde_json::from_str(&input::read_text(index, "the index of a checkpoint")?)
            .map_err(|e| wrong(format!("not JSON: {e}")))?;
        let map = json.get("weight_map").and_then(Value::as_object);
        let map = map.ok_or_else(|| wrong("no `weight_map`; wanted an index of files of tensors".into()))?;
        let (mut files, mut numbers, mut places): (Vec<TensorFile>, BTreeMap<&str, usize>, _) =
            (vec![], BTreeMap::new(), BTreeMap::new());
        for (name, file) in map {
            let file = file.as_str().unwrap_or_default();
            // Beside the index, and nowhere else.
            if Path::new(file).file_name() != Some(file.as_ref()) {
                return Err(wrong(format!(
                    "{name} is in {file:?}; wanted the name of a file beside the index"
                )));
            }
            if !numbers.contains_key(file) {
                let part = index.with_file_name(file);
                if !part.exists() {
                    return Err(wrong(format!(
                        "it names {file}, which is not beside it; wanted all of its files"
                    )));
                }
                numbers.insert(file, files.len());
                files.push(TensorFile::open(part)?);
            }
            let at = numbers[file];
            if files[at].info(name).is_none() {
                return Err(wrong(format!(
                    "{name} is not in {file}, where it says; wanted files of one checkpoint"
                )));
            }
            places.insert(name.clone(), at);
        }
        let name = index.file_name().unwrap_or_default().to_string_lossy();
        let name = name.chars().take(name.chars().count().saturating_sub(ending)).collect();
        Ok(Source {
            name,
            path: Some(index.into()),
            files,
            places,
            config: None,
            scheduler: None,
            pipeline: None,
        })
    }

    /// What it is called: of a file its name without folder and ending, of a folder its own.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it was read from; None where it was in memory.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The key-value pairs of the headers.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.files.iter().flat_map(TensorFile::metadata).collect()
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Vec<(String, String, Vec<usize>)> {
        let row = |(name, &at): (&String, &usize)| {
            let info = self.files[at].info(name)?;
            Some((name.clone(), info.dtype.to_string(), info.shape.clone()))
        };
        self.places.iter().filter_map(row).collect()
    }

    /// SHA-256 in hexadecimal: of the file, or where there are several, of their own, one after the other.
    pub fn sha256(&self) -> Result<String> {
        match &self.files[..] {
            [file] => file.sha256(),
            files => {
                let mut all = sha2::Sha256::new();
                for file in files {
                    all.update(file.sha256()?);
                }
                Ok(all.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.places.keys().map(String::as_str)
    }

    /// What a header says of a tensor.
    pub(super) fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.file(name)?.info(name)
    }

    /// The file that has a tensor.
    pub(super) fn file(&self, name: &str) -> Option<&TensorFile> {
        Some(&self.files[*self.places.get(name)?])
    }

    /// An error about all of it.
    pub(super) fn error(&self, why: impl std::fmt::Display) -> Error {
        Error::file(self.path.as_deref().unwrap_or(Path::new(&self.name)), why)
    }
}

/// A file's text, if there is such a file.
fn text(path: PathBuf) -> Result<Option<(PathBuf, String)>> {
    match path.is_file() {
        true => input::read_text(&path, "JSON").map(|text| Some((path, text))),
        false => Ok(None),
    }
}

/// The checkpoint among the files of a folder.
fn chosen(folder: &Path) -> Result<PathBuf> {
    let fail = |e: std::io::Error| Error::file(folder, format!("{e}; wanted {WANTED}"));
    let mut names = vec![];
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    for ending in ENDINGS {
        let found: Vec<&String> = names.iter().filter(|name| name.ends_with(ending)).collect();
        let usual =
            USUAL.iter().find_map(|stem| found.iter().find(|name| ***name == format!("{stem}{ending}")));
        match (usual, &found[..]) {
            (Some(name), _) | (None, [name]) => return Ok(folder.join(name)),
            (None, []) => {}
            (None, all) => {
                let few: Vec<&str> = all.iter().take(3).map(|name| name.as_str()).collect();
                let why =
                    format!("has {} checkpoints ({}, ..); wanted the path of one", all.len(), few.join(", "));
                return Err(Error::file(folder, why));
            }
        }
    }
    let few: Vec<&str> = names.iter().take(4).map(String::as_str).collect();
    let there = if few.is_empty() { "nothing".into() } else { few.join(", ") };
    Err(Error::file(folder, format!("is a folder that has {there}; wanted {WANTED}")))
}
