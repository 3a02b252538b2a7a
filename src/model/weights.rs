//! Checkpoints: safetensors files of which every tensor is checked before any is used.

use std::collections::BTreeMap;
use std::path::Path;

use super::file::stored_dtype;
use super::{Config, TensorFile};
use crate::{DType, Device, Result, Shape, Tensor, memory};

/// An open checkpoint: a file that holds all tensors of a model and, in its metadata, the model's [`Config`].
///
/// Its tensors are those of one file with facebook/DiT's and Latte's names. Other files and other names would be other
/// ways to look a tensor up: that is `TensorFile::info` and `TensorFile::append_f32`, and nothing else here knows of it.
pub struct Checkpoint {
    file: TensorFile,
    config: Config,
    metadata: BTreeMap<String, String>,
}

impl Checkpoint {
    /// Opens a checkpoint and checks the names, shapes and dtypes of all its tensors against its configuration.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::new(TensorFile::open(path)?)
    }

    /// [`open`](Self::open), of a file that is in memory already, as in a browser.
    pub fn from_bytes(name: impl Into<String>, bytes: Vec<u8>) -> Result<Checkpoint> {
        Checkpoint::new(TensorFile::from_bytes(name, bytes)?)
    }

    /// The checkpoint that comes with the crate.
    pub fn shipped() -> Result<Checkpoint> {
        Checkpoint::new(TensorFile::shipped()?)
    }

    /// The checkpoint at `path`; where none is named, the shipped one.
    pub fn open_or_shipped(path: Option<&Path>) -> Result<Checkpoint> {
        path.map_or_else(Checkpoint::shipped, Checkpoint::open)
    }

    /// The checkpoint that `file` is, if it is one.
    pub fn new(file: TensorFile) -> Result<Checkpoint> {
        let metadata = file.metadata();
        let config = metadata.get("config").ok_or_else(|| {
            file.error(format!(
                "no `config` in its metadata; wanted the model's configuration there, as JSON: {}",
                Config::EXAMPLE
            ))
        })?;
        let config = Config::from_json(config).map_err(|e| file.error(e))?;
        let checkpoint = Checkpoint { file, config, metadata };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file's name, without folder and ending.
    pub fn name(&self) -> String {
        self.file.name().into()
    }

    /// Where it was read from; None for one that was in memory, as the shipped one.
    pub fn path(&self) -> Option<&Path> {
        self.file.path()
    }

    /// SHA-256 of the whole file, in hexadecimal: what makes these weights these. A file on disk is read for it.
    pub fn sha256(&self) -> Result<String> {
        self.file.sha256()
    }

    /// All that the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Vec<(String, String, Vec<usize>)> {
        self.file.tensors()
    }

    /// Uploads tensors, one below the other, as one of `dtype`; `shape` may regroup their dimensions. A value that is not
    /// finite, or is not once it is rounded to `dtype`, is an error.
    pub(super) fn load(
        &self,
        device: &Device,
        names: &[impl AsRef<str>],
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<Tensor> {
        let shape = shape.into();
        let mut all = memory::with_capacity(shape.elements().unwrap_or(usize::MAX), "weights")?;
        for name in names {
            self.file.append_f32(name.as_ref(), dtype, &mut all)?;
        }
        let name = names.first().map_or("weights", AsRef::as_ref);
        Tensor::from_f32(device, dtype, shape, &all).map_err(|e| e.of(name))
    }

    /// One error that says all that is missing, wrong or too much, or, where all names are other ones, in what way.
    fn check(&self) -> Result<()> {
        let expected = expected(&self.config);
        let there: Vec<String> = self.file.tensors().into_iter().map(|(name, ..)| name).collect();
        let (mut missing, mut wrong) = (vec![], vec![]);
        for (name, shape) in &expected {
            match self.file.info(name) {
                None => missing.push(format!("{name} is missing (wanted {shape:?})")),
                Some(t) if t.shape != *shape => {
                    wrong.push(format!("{name} is {:?} (wanted {shape:?})", t.shape))
                }
                Some(t) if stored_dtype(t.dtype).is_none() => {
                    wrong.push(format!("{name} is {} (wanted F32, F16 or BF16)", t.dtype));
                }
                Some(_) => {}
            }
        }
        if missing.len() == expected.len() {
            return Err(self.file.error(strangers(&there, &expected)));
        }
        let extra = there.iter().filter(|name| !expected.contains_key(*name));
        let extra = extra.map(|name| format!("{name} is not part of this model")).collect();
        let faults: Vec<String> = [missing, wrong, extra].into_iter().filter_map(some).collect();
        if faults.is_empty() { Ok(()) } else { Err(self.file.error(faults.join("; "))) }
    }
}

/// The first few of a list of faults; None where there are none.
fn some(faults: Vec<String>) -> Option<String> {
    const SHOWN: usize = 4;
    let more = match faults.len().saturating_sub(SHOWN) {
        0 => String::new(),
        n => format!("; and {n} more like this"),
    };
    let shown = &faults[..faults.len().min(SHOWN)];
    (!faults.is_empty()).then(|| format!("{}{more}", shown.join("; ")))
}

/// What is wrong with a file that has none of the names of this model: a prefix, or all of them.
fn strangers(there: &[String], expected: &BTreeMap<String, Vec<usize>>) -> String {
    let prefix = there.iter().find_map(|name| {
        let dots = name.match_indices('.').map(|(at, _)| at + 1);
        dots.filter(|at| expected.contains_key(&name[*at..])).map(|at| &name[..at]).next()
    });
    if let Some(prefix) = prefix {
        let with = there.iter().filter(|name| name.starts_with(prefix)).count();
        let all = there.len();
        let who = if with == all { format!("all {all} tensors") } else { format!("{with} of {all} tensors") };
        return format!(
            "{who} have the prefix `{prefix}` in their names, as a wrapper of the model leaves it; wanted the names \
             without it: in Python, `{{name.removeprefix({prefix:?}): t for name, t in tensors.items()}}`"
        );
    }
    let few = |names: &mut dyn Iterator<Item = &String>| {
        names.take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    match there.len() {
        0 => "holds no tensors; wanted those of a model".into(),
        n => format!(
            "none of its {n} tensors has a name of this model: it has {} and so on; wanted {} and so on, as in \
             facebook/DiT and Latte",
            few(&mut there.iter()),
            few(&mut expected.keys())
        ),
    }
}

/// Every tensor of a model, with facebook/DiT's and Latte's names.
pub(super) fn expected(c: &Config) -> BTreeMap<String, Vec<usize>> {
    let d = c.dim;
    let mut all = BTreeMap::new();
    let mut add = |name: String, shape: &[usize]| {
        all.insert(name, shape.to_vec());
    };
    let mut linear = |name: String, out: usize, shape: &[usize]| {
        add(format!("{name}.weight"), shape);
        add(format!("{name}.bias"), &[out]);
    };
    linear("x_embedder.proj".into(), d, &[d, c.channels, c.patch, c.patch]);
    linear("t_embedder.mlp.0".into(), d, &[d, 256]);
    linear("t_embedder.mlp.2".into(), d, &[d, d]);
    for i in 0..c.depth {
        let hidden = c.mlp_ratio * d;
        linear(format!("blocks.{i}.adaLN_modulation.1"), 6 * d, &[6 * d, d]);
        linear(format!("blocks.{i}.attn.qkv"), 3 * d, &[3 * d, d]);
        linear(format!("blocks.{i}.attn.proj"), d, &[d, d]);
        linear(format!("blocks.{i}.mlp.fc1"), hidden, &[hidden, d]);
        linear(format!("blocks.{i}.mlp.fc2"), d, &[d, hidden]);
    }
    let pixels = c.patch * c.patch * c.out_channels();
    linear("final_layer.adaLN_modulation.1".into(), 2 * d, &[2 * d, d]);
    linear("final_layer.linear".into(), pixels, &[pixels, d]);
    add("y_embedder.embedding_table.weight".into(), &[c.classes + 1, d]);
    add("pos_embed".into(), &[1, c.tokens(), d]);
    if c.temporal {
        add("temp_embed".into(), &[1, c.frames, d]);
    }
    all
}
