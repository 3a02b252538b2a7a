//! What a path leads to: one file of tensors, or several that are one checkpoint, and what is said of them beside.

use std::collections::{BTreeMap, BTreeSet};
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
    /// Whether that is a cache's, in which nothing of the user's belongs.
    cached: bool,
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
/// What says more of a model: beside it, and in a pipeline's folder.
const CONFIG: &str = "config.json";
const SCHEDULER: &str = "scheduler/scheduler_config.json";
const PIPELINE: &str = "model_index.json";
/// The folder of a pipeline that has the model.
const MODEL: &str = "transformer";
/// Names that are taken where a folder has several files.
const USUAL: [&str; 2] = ["diffusion_pytorch_model", "model"];

impl From<TensorFile> for Source {
    fn from(file: TensorFile) -> Source {
        let places = file.names().map(|name| (name.to_string(), 0)).collect();
        Source {
            name: file.name().into(),
            path: file.path().map(Into::into),
            cached: false,
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
        Source::part(path, MODEL)
    }

    /// The same, of another part of a pipeline's folder.
    pub(super) fn part(path: impl AsRef<Path>, part: &str) -> Result<Source> {
        let path = path.as_ref();
        if !path.is_dir() {
            return Source::with_config(path);
        }
        let inner = path.join(part);
        let inner = if inner.is_dir() { inner } else { path.into() };
        let names = names(&inner)?;
        let file = chosen(&names).map_err(|why| Error::file(&inner, why))?;
        let mut source = Source::with_config(&inner.join(file))?;
        let folder = path.canonicalize().unwrap_or_else(|_| path.into());
        source.name = folder.file_name().unwrap_or(folder.as_os_str()).to_string_lossy().into_owned();
        source.path = Some(path.into());
        source.scheduler = text(path.join(SCHEDULER))?;
        source.pipeline = text(path.join(PIPELINE))?;
        Ok(source)
    }

    /// One file or several, and the `config.json` beside.
    fn with_config(path: &Path) -> Result<Source> {
        let source = match index_ending(path) {
            Some(ending) => Source::sharded(path, ending.len())?,
            None => TensorFile::open(path)?.into(),
        };
        let config = text(path.with_file_name(CONFIG))?;
        Ok(Source { config, ..source })
    }

    /// The files that an index names; as many letters of its own name as `ending` say that it is one.
    fn sharded(index: &Path, ending: usize) -> Result<Source> {
        let (mut files, mut numbers, mut places): (Vec<TensorFile>, BTreeMap<String, usize>, _) =
            (vec![], BTreeMap::new(), BTreeMap::new());
        for (name, file) in weight_map(index)? {
            let part = index.with_file_name(&file);
            let at = match numbers.get(&file) {
                Some(at) => *at,
                None if !part.exists() => {
                    let why = format!("it names {file}, which is not beside it; wanted all of its files");
                    return Err(Error::file(index, why));
                }
                None => {
                    files.push(TensorFile::open(part)?);
                    numbers.insert(file.clone(), files.len() - 1);
                    files.len() - 1
                }
            };
            if files[at].info(&name).is_none() {
                let why = format!("{name} is not in {file}, where it says; wanted files of one checkpoint");
                return Err(Error::file(index, why));
            }
            places.insert(name, at);
        }
        let name = index.file_name().unwrap_or_default().to_string_lossy();
        let name = name.chars().take(name.chars().count().saturating_sub(ending)).collect();
        Ok(Source {
            name,
            path: Some(index.into()),
            cached: false,
            files,
            places,
            config: None,
            scheduler: None,
            pipeline: None,
        })
    }

    /// Which files [`open`](Self::open) reads of a folder with these, and of its folders: paths in it, `/` between, the
    /// checkpoint first. What an index names comes on top ([`shards`](Self::shards)). The error says what is there instead.
    pub fn needed(folder: &[String]) -> Result<Vec<String>, String> {
        let inner = format!("{MODEL}/");
        let inner = if folder.iter().any(|name| name.starts_with(&inner)) { &inner[..] } else { "" };
        let direct = folder.iter().filter_map(|name| name.strip_prefix(inner));
        let direct: Vec<String> = direct.filter(|name| !name.contains('/')).map(Into::into).collect();
        let mut needed = vec![format!("{inner}{}", chosen(&direct)?)];
        let beside = [format!("{inner}{CONFIG}"), SCHEDULER.into(), PIPELINE.into()];
        needed.extend(beside.into_iter().filter(|name| folder.contains(name)));
        Ok(needed)
    }

    /// The names of the files that `path` names, if it is an index: they are beside it.
    pub fn shards(path: &Path) -> Result<BTreeSet<String>> {
        match index_ending(path) {
            Some(_) => Ok(weight_map(path)?.into_iter().map(|(_, file)| file).collect()),
            None => Ok(BTreeSet::new()),
        }
    }

    /// The same by a name of its own, read from a cache: nothing of the user's belongs beside it.
    pub fn cached_as(self, name: impl Into<String>) -> Source {
        Source { name: name.into(), cached: true, ..self }
    }

    /// The path beside which files of the user's belong that are of this model; None where there is no such place, as in a
    /// cache and in memory.
    pub fn home(&self) -> Option<&Path> {
        self.path().filter(|_| !self.cached)
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

/// The names of what is in a folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let fail = |e: std::io::Error| Error::file(folder, format!("{e}; wanted {WANTED}"));
    let mut names = vec![];
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

/// The checkpoint among the names of a folder's files. The error says what is there instead.
fn chosen(names: &[String]) -> Result<&str, String> {
    let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
    names.sort();
    for ending in ENDINGS {
        let found: Vec<&str> = names.iter().filter(|name| name.ends_with(ending)).copied().collect();
        let usual =
            USUAL.iter().find_map(|stem| found.iter().find(|name| **name == format!("{stem}{ending}")));
        match (usual, &found[..]) {
            (Some(name), _) | (None, [name]) => return Ok(name),
            (None, []) => {}
            (None, all) => {
                let few: Vec<&str> = all.iter().take(3).copied().collect();
                return Err(format!(
                    "has {} checkpoints ({}, ..); wanted the path of one",
                    all.len(),
                    few.join(", ")
                ));
            }
        }
    }
    let few: Vec<&str> = names.iter().take(4).copied().collect();
    let there = if few.is_empty() { "nothing".into() } else { few.join(", ") };
    Err(format!("is a folder that has {there}; wanted {WANTED}"))
}

/// The ending that says that a file is an index.
fn index_ending(path: &Path) -> Option<&'static str> {
    let name = path.to_string_lossy().to_ascii_lowercase();
    INDICES.into_iter().find(|ending| name.ends_with(ending))
}

/// What an index says: tensors, in its order, and the file of each, beside the index and nowhere else.
fn weight_map(index: &Path) -> Result<Vec<(String, String)>> {
    let wrong = |why: String| Error::file(index, why);
    let json: Value = serde_json::from_str(&input::read_text(index, "the index of a checkpoint")?)
        .map_err(|e| wrong(format!("not JSON: {e}")))?;
    let map = json.get("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| wrong("no `weight_map`; wanted an index of files of tensors".into()))?;
    let entry = |(name, file): (&String, &Value)| {
        let file = file.as_str().unwrap_or_default();
        match Path::new(file).file_name() == Some(file.as_ref()) {
            true => Ok((name.clone(), file.to_string())),
            false => Err(wrong(format!("{name} is in {file:?}; wanted the name of a file beside the index"))),
        }
    };
    map.iter().map(entry).collect()
}
