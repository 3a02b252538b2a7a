//! Checkpoints: files of tensors, of which every one is checked before any is used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::describe::{self, Known, square};
use super::file::{PIECE, Stored};
use super::names::{LAYOUTS, Layout, OTHERS};
use super::{Config, Source, TensorFile, positions};
use crate::{DType, Device, Error, Result, Shape, Tensor, memory};

/// An open checkpoint: files that hold all tensors of a model, and the model's [`Config`].
///
/// Names are those of facebook/DiT and Latte, or of diffusers, below a prefix such as `module.` or none. The configuration
/// is in the files' metadata; where it is not, shapes and a `config.json` tell it.
pub struct Checkpoint {
    source: Source,
    config: Config,
    layout: &'static Layout,
    /// What a wrapper of the model left before all names.
    prefix: String,
    /// Whether its positions may be of another grid, or left out: then they are those that the model began with.
    regrid: bool,
}

/// Tensors that a file need not have.
const POSITIONS: &str = "pos_embed";
const LABELS: &str = "y_embedder.embedding_table.weight";

impl Checkpoint {
    /// Opens a checkpoint and checks the names, shapes and dtypes of all its tensors against its configuration. `path` may
    /// be all that [`Source`] knows.
    pub fn open(path: impl AsRef<Path>) -> Result<Checkpoint> {
        Checkpoint::new(Source::open(path)?)
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

    /// The checkpoint that these tensors are, if they are one.
    pub fn new(source: impl Into<Source>) -> Result<Checkpoint> {
        Checkpoint::configured(source, None)
    }

    /// The same, where `config` says what the files do not, or says it otherwise: a JSON object with fields of a
    /// [`Config`], or with those of diffusers' configurations.
    pub fn configured(source: impl Into<Source>, config: Option<&str>) -> Result<Checkpoint> {
        let source = source.into();
        let own = source.metadata().remove("config");
        let (layout, prefix) = match (layout(&source), &own) {
            (Some(found), _) => found,
            (None, Some(_)) => (&LAYOUTS[0], String::new()),
            (None, None) => return Err(source.error(strangers(&source, None))),
        };
        let shape = |ours: &str| joined(&source, layout, &prefix, ours);
        let known = Known {
            layout,
            shape: &shape,
            own: own.as_deref(),
            beside: source.config.as_ref().map(|(_, text)| text.as_str()),
            given: config,
        };
        let described = known.config().map_err(|e| source.error(e))?;
        if let Some((path, text)) = source.scheduler.as_ref().filter(|_| own.is_none()) {
            describe::check_scheduler(text).map_err(|e| Error::file(path, e))?;
        }
        let regrid = own.is_none() || config.is_some();
        let checkpoint = Checkpoint { config: described, source, layout, prefix, regrid };
        checkpoint.check()?;
        Ok(checkpoint)
    }

    /// The model's shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The file's name, without folder and ending, or the folder's.
    pub fn name(&self) -> String {
        self.source.name().into()
    }

    /// Where it was read from; None for one that was in memory, as the shipped one.
    pub fn path(&self) -> Option<&Path> {
        self.source.path()
    }

    /// The path beside which files of the user's belong that are of this model; see [`Source::home`].
    pub fn home(&self) -> Option<&Path> {
        self.source.home()
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    /// Whose names its tensors have.
    pub fn names(&self) -> &'static str {
        self.layout.whose
    }

    /// SHA-256 of the files, in hexadecimal: what makes these weights these. They are read for it.
    pub fn sha256(&self) -> Result<String> {
        self.source.sha256()
    }

    /// All that the files say about themselves.
    pub fn metadata(&self) -> BTreeMap<String, String> {
        self.source.metadata()
    }

    /// Name, dtype as stored, and shape of each tensor, by name.
    pub fn tensors(&self) -> Vec<(String, String, Vec<usize>)> {
        self.source.tensors()
    }

    /// Uploads tensors, one below the other, as one of `dtype`; `shape` may regroup their dimensions. Names are ours. A value
    /// that is not finite, or is not once it is rounded to `dtype`, is an error.
    ///
    /// A piece at a time: no tensor is in memory as a whole.
    pub(super) fn load(
        &self,
        device: &Device,
        names: &[impl AsRef<str>],
        dtype: DType,
        shape: impl Into<Shape>,
    ) -> Result<Tensor> {
        let name = names.first().map_or("weights", AsRef::as_ref);
        let mut tensor = Tensor::zeros(device, dtype, shape).map_err(|e| e.of(name))?;
        // Pieces of tensors come in any length; what is uploaded begins at an even place.
        let mut piece = memory::with_capacity(PIECE.min(tensor.elements()), "weights")?;
        let mut done = 0;
        for stored in names.iter().flat_map(|name| self.stored(name.as_ref())) {
            let file =
                self.source.file(&stored).ok_or_else(|| self.source.error(format!("{stored} is missing")))?;
            file.pieces(&stored, dtype, &mut |mut values| {
                while !values.is_empty() {
                    let (now, rest) = values.split_at(values.len().min(PIECE - piece.len()));
                    piece.extend_from_slice(now);
                    values = rest;
                    if piece.len() == PIECE {
                        tensor.write_part(done, &piece)?;
                        done += PIECE;
                        piece.clear();
                    }
                }
                Ok(())
            })?;
        }
        if done + piece.len() != tensor.elements() {
            let wanted = format!("{} values for {tensor:?}", tensor.elements());
            return Err(Error::argument("load", "names", wanted, done + piece.len()));
        }
        tensor.write_part(done, &piece)?;
        Ok(tensor)
    }

    /// Positions of a frame's tokens, f32 [N, d]: the file's; sinusoids where it has none, or has those of another grid.
    pub(super) fn positions(&self, device: &Device) -> Result<Tensor> {
        let c = &self.config;
        let (grid, shape) = ([c.height / c.patch, c.width / c.patch], [c.tokens(), c.dim]);
        let stored = self.shape(POSITIONS);
        let rows = stored.as_ref().and_then(|shape| shape.iter().rev().nth(1).copied());
        if rows == Some(c.tokens()) {
            return self.load(device, &[POSITIONS], DType::F32, shape);
        }
        if !c.dim.is_multiple_of(4) {
            let why = format!(
                "no positions for {grid:?} patches, and sinusoids take a multiple of 4 channels, not {}",
                c.dim
            );
            return Err(self.source.error(why));
        }
        let base = match rows.and_then(square) {
            None => grid[0].max(grid[1]),
            Some(side) => {
                let (mut all, names) = (vec![], self.stored(POSITIONS));
                for name in &names {
                    let file = self.source.file(name);
                    file.map_or(Ok(()), |file| file.append_f32(name, DType::F32, &mut all))?;
                }
                let ours = positions::sinusoids([side, side], side, c.dim)?;
                // As far as the narrowest stored type rounds.
                if all.iter().zip(&ours).any(|(a, b)| (a - b).abs() > 1e-2) {
                    return Err(self.source.error(format!(
                        "{} holds positions of a grid of {side}×{side} that are no sinusoids; wanted frames of that grid",
                        names.join(" and ")
                    )));
                }
                side
            }
        };
        Tensor::from_f32(device, DType::F32, shape, &positions::sinusoids(grid, base, c.dim)?)
    }

    /// What classes are embedded as, f32 [classes + 1, d]; where there are none, zeros.
    pub(super) fn labels(&self, device: &Device) -> Result<Tensor> {
        let shape = [self.config.classes + 1, self.config.dim];
        match self.shape(LABELS) {
            None => Tensor::zeros(device, DType::F32, shape),
            Some(_) => self.load(device, &[LABELS], DType::F32, shape),
        }
    }

    /// Checks that what a file has several times is the same each time: this model has it once.
    pub(super) fn check_copies(&self) -> Result<()> {
        for name in self.source.names() {
            let Some(original) = name.strip_prefix(&self.prefix).and_then(|name| self.layout.original(name))
            else {
                continue;
            };
            let original = format!("{}{original}", self.prefix);
            let data = |name: &str| self.source.file(name).map(|file| file.data(name)).transpose();
            if data(name)? != data(&original)? {
                return Err(self.source.error(format!(
                    "{name} is not what {original} is; wanted a model that embeds time and class once for all blocks"
                )));
            }
        }
        Ok(())
    }

    /// The names of tensors in the files, by ours.
    fn stored(&self, ours: &str) -> Vec<String> {
        stored(self.layout, &self.prefix, ours)
    }

    fn shape(&self, ours: &str) -> Option<Vec<usize>> {
        joined(&self.source, self.layout, &self.prefix, ours)
    }

    /// One error that says all that is missing, wrong or too much, or, where all names are other ones, in what way.
    fn check(&self) -> Result<()> {
        let expected = expected(&self.config);
        let (mut missing, mut wrong, mut known) = (vec![], vec![], BTreeSet::new());
        let mut found = false;
        for (ours, shape) in &expected {
            let names = self.stored(ours);
            // A part has its share of the rows.
            let mut part = shape.clone();
            part[0] /= names.len();
            let optional = match ours.as_str() {
                POSITIONS => self.regrid,
                LABELS => self.config.classes == 0,
                _ => false,
            };
            for name in names {
                let info = self.source.info(&name);
                found |= info.is_some();
                match info {
                    None if optional => {}
                    None => missing.push(format!("{name} is missing (wanted {part:?})")),
                    Some(t) if t.shape != part && !(ours == POSITIONS && self.other_grid(&t.shape)) => {
                        wrong.push(format!("{name} is {:?} (wanted {part:?})", t.shape))
                    }
                    Some(t) if Stored::of(t.dtype).is_none() => {
                        wrong.push(format!("{name} is {} (wanted {})", t.dtype, Stored::NAMES));
                    }
                    Some(_) => {}
                }
                known.insert(name);
            }
        }
        if !found {
            return Err(self.source.error(strangers(&self.source, Some(&expected))));
        }
        let names = self.source.names().filter(|name| !known.contains(*name));
        // Beside the model below a prefix there may be others, such as an optimiser's.
        let extra = names.filter(|name| {
            let own = name.strip_prefix(&self.prefix);
            own.is_some_and(|name| self.layout.original(name).is_none())
        });
        let extra = extra.map(|name| format!("{name} is not part of this model")).collect();
        let faults: Vec<String> = [missing, wrong, extra].into_iter().filter_map(some).collect();
        if faults.is_empty() { Ok(()) } else { Err(self.source.error(faults.join("; "))) }
    }

    /// Whether positions of this shape are those of another square grid.
    fn other_grid(&self, shape: &[usize]) -> bool {
        self.regrid && matches!(shape, &[1, n, d] if d == self.config.dim && square(n).is_some())
    }
}

fn stored(layout: &Layout, prefix: &str, ours: &str) -> Vec<String> {
    layout.stored(ours).into_iter().map(|name| format!("{prefix}{name}")).collect()
}

/// The shape of a tensor by our name: of parts, that of all of them.
fn joined(source: &Source, layout: &Layout, prefix: &str, ours: &str) -> Option<Vec<usize>> {
    let mut parts = stored(layout, prefix, ours).into_iter();
    let mut shape = source.info(&parts.next()?)?.shape.clone();
    for part in parts {
        let rows = source.info(&part)?.shape.first().copied()?;
        shape.first_mut()?.checked_add(rows).map(|all| shape[0] = all)?;
    }
    Some(shape)
}

/// Whose names the tensors have, and the prefix before them. Where a file has several models, that of averaged weights
/// (`ema`) is the one to sample with, and the one with the shortest prefix otherwise.
fn layout(source: &Source) -> Option<(&'static Layout, String)> {
    let mut found: Vec<(&'static Layout, &str)> = vec![];
    for name in source.names() {
        for layout in &LAYOUTS {
            let prefix = name.strip_suffix(layout.anchor);
            found.extend(prefix.filter(|p| p.is_empty() || p.ends_with('.')).map(|prefix| (layout, prefix)));
        }
    }
    let averaged = |prefix: &str| prefix.split('.').any(|part| part == "ema");
    found.sort_by_key(|(_, prefix)| (!averaged(prefix), prefix.len()));
    found.first().map(|(layout, prefix)| (*layout, prefix.to_string()))
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

/// What is wrong with tensors that are none of a model's.
fn strangers(source: &Source, expected: Option<&BTreeMap<String, Vec<usize>>>) -> String {
    let there: Vec<&str> = source.names().collect();
    let few = |names: &mut dyn Iterator<Item = &str>| {
        names.take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    };
    let is = |anchor: &str| {
        there.iter().any(|name| name.strip_suffix(anchor).is_some_and(|p| p.is_empty() || p.ends_with('.')))
    };
    if let Some((_, what)) = OTHERS.iter().find(|(anchor, _)| is(anchor)) {
        return format!(
            "holds {what}; wanted a class-conditional DiT or Latte, with the names of {} or of {}",
            LAYOUTS[0].whose, LAYOUTS[1].whose
        );
    }
    let ours = expected.map_or(few(&mut LAYOUTS.iter().map(|layout| layout.anchor)), |expected| {
        few(&mut expected.keys().map(String::as_str))
    });
    match there.len() {
        0 => "holds no tensors; wanted those of a model".into(),
        n => format!(
            "none of its {n} tensors has a name of this model: it has {} and so on; wanted {ours} and so on, as in \
             {} or in {}",
            few(&mut there.iter().copied()),
            LAYOUTS[0].whose,
            LAYOUTS[1].whose,
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
