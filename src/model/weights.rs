//! Checkpoints: safetensors files, memory-mapped, every tensor checked before any is used.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;
use safetensors::SafeTensors;
use sha2::Digest;

use super::Config;
use crate::{DType, Device, Error, Result, Shape, Tensor};

/// An open checkpoint.
pub struct Checkpoint {
    path: PathBuf,
    bytes: Bytes,
    config: Config,
    metadata: BTreeMap<String, String>,
}

enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Bytes {
    fn get(&self) -> &[u8] {
        match self {
            Bytes::Mapped(map) => map,
            Bytes::Static(bytes) => bytes,
        }
    }
}

impl Checkpoint {
    /// Opens a checkpoint and checks the names, shapes and dtypes of all its tensors against its configuration.
    /// The file must not change while it is open.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        let path = path.as_ref();
        let fail = |e: std::io::Error| Error::file(path, format!("{e}; wanted a safetensors checkpoint"));
        let file = File::open(path).map_err(fail)?;
        if file.metadata().map_err(fail)?.is_dir() {
            return Err(Error::file(path, "is a folder; wanted a safetensors checkpoint"));
        }
        // SAFETY: the map is read-only. Should another program change the file meanwhile, we read other numbers; should
        // it cut the file short, the system ends this process. The documentation asks for neither.
        let map = unsafe { Mmap::map(&file) }.map_err(fail)?;
        Checkpoint::new(path.into(), Bytes::Mapped(map))
    }

    /// The checkpoint that comes with the crate.
    pub fn shipped() -> Result<Checkpoint> {
        let name = PathBuf::from("the shipped model moving-mnist-32");
        Checkpoint::new(name, Bytes::Static(super::SHIPPED))
    }

    /// The checkpoint at `path`; where none is named, the shipped one.
    pub fn open_or_shipped(path: Option<&Path>) -> Result<Checkpoint> {
        path.map_or_else(Checkpoint::shipped, Checkpoint::open)
    }

    fn new(path: PathBuf, bytes: Bytes) -> Result<Checkpoint> {
        let fail = |why: String| Error::file(&path, why);
        let (_, header) = SafeTensors::read_metadata(bytes.get())
            .map_err(|e| fail(format!("not a whole safetensors file: {e}")))?;
        let metadata: BTreeMap<String, String> =
            header.metadata().clone().unwrap_or_default().into_iter().collect();
        let config = metadata.get("config").ok_or_else(|| {
            fail("no `config` in the metadata; wanted the model's JSON configuration".into())
        })?;
        let config = Config::from_json(config).map_err(|e| fail(e.to_string()))?;
        let checkpoint = Checkpoint { path: path.clone(), bytes, config, metadata };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file's name, without folder and ending.
    pub fn name(&self) -> String {
        let stem = self.path.file_stem().unwrap_or(self.path.as_os_str());
        let stem = stem.to_string_lossy();
        stem.rsplit(' ').next().unwrap_or(&stem).to_string()
    }

    /// Where it was read from; None for the shipped one.
    pub fn path(&self) -> Option<&Path> {
        match self.bytes {
            Bytes::Mapped(_) => Some(&self.path),
            Bytes::Static(_) => None,
        }
    }

    /// SHA-256 of the whole file, in hexadecimal: what makes these weights these.
    pub fn sha256(&self) -> String {
        let hash = sha2::Sha256::digest(self.bytes.get());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// All that the file says about itself.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Result<Vec<(String, String, Vec<usize>)>> {
        let tensors = self.parse()?;
        let mut all: Vec<_> = tensors
            .iter()
            .map(|(name, t)| (name.to_string(), format!("{:?}", t.dtype()), t.shape().to_vec()))
            .collect();
        all.sort();
        Ok(all)
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
        let tensors = self.parse()?;
        let mut all = vec![];
        for name in names.iter().map(AsRef::as_ref) {
            let view = tensors.tensor(name).map_err(|e| Error::file(&self.path, e))?;
            let stored = stored_dtype(view.dtype())
                .ok_or_else(|| Error::file(&self.path, format!("{name}: wanted F32, F16 or BF16")))?;
            let values = stored.to_f32(view.data());
            if let Some(at) = values.iter().position(|x| !dtype.holds(*x)) {
                let wanted = match values[at].is_finite() {
                    false => "wanted finite weights".into(),
                    true => format!("{dtype} goes to {}, wanted bf16 or f32", dtype.largest()),
                };
                let why = format!("{name}: element {at} is {}; {wanted}", values[at]);
                return Err(Error::file(&self.path, why));
            }
            all.extend(values);
        }
        Tensor::from_f32(device, dtype, shape, &all)
    }

    fn parse(&self) -> Result<SafeTensors<'_>> {
        SafeTensors::deserialize(self.bytes.get())
            .map_err(|e| Error::file(&self.path, format!("not a whole safetensors file: {e}")))
    }

    /// One error that lists all that is missing, wrong or too much.
    fn check(&self) -> Result<()> {
        let tensors = self.parse()?;
        let expected = expected(&self.config);
        let mut faults = Vec::new();
        for (name, shape) in &expected {
            match tensors.tensor(name) {
                Err(_) => faults.push(format!("{name} is missing (wanted {shape:?})")),
                Ok(t) if t.shape() != shape => {
                    faults.push(format!("{name} is {:?} (wanted {shape:?})", t.shape()))
                }
                Ok(t) if stored_dtype(t.dtype()).is_none() => {
                    faults.push(format!("{name} is {:?} (wanted F32, F16 or BF16)", t.dtype()))
                }
                Ok(_) => {}
            }
        }
        let mut extra = tensors.names();
        extra.retain(|name| !expected.contains_key(*name));
        extra.sort();
        faults.extend(extra.iter().map(|name| format!("{name} is not part of this model")));
        if faults.is_empty() {
            return Ok(());
        }
        const SHOWN: usize = 8;
        let more = match faults.len().saturating_sub(SHOWN) {
            0 => String::new(),
            n => format!("; and {n} more"),
        };
        faults.truncate(SHOWN);
        Err(Error::file(&self.path, format!("{}{more}", faults.join("; "))))
    }
}

fn stored_dtype(dtype: safetensors::Dtype) -> Option<DType> {
    match dtype {
        safetensors::Dtype::F32 => Some(DType::F32),
        safetensors::Dtype::F16 => Some(DType::F16),
        safetensors::Dtype::BF16 => Some(DType::BF16),
        _ => None,
    }
}

/// Every tensor of a model, with facebook/DiT's and Latte's names.
fn expected(c: &Config) -> BTreeMap<String, Vec<usize>> {
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
