//! From a WGSL file to the module that is compiled: the file with what it includes, behind its constants and its
//! element types.

use crate::device::{Text, wgsl};
use crate::{DType, Error, Result};

/// What a WGSL source leaves open.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Variant {
    /// T: the narrowest float type among the operands.
    pub operands: DType,
    /// O: the type of the first output, which is T or f32.
    pub output: DType,
    /// Whether f16 is a type of the adapter's, and not only a way to store.
    pub shader_f16: bool,
    /// Invocations of a subgroup, where that is one number.
    pub lanes: Option<u32>,
    /// The call's constants, such as `HEAD`.
    pub constants: Vec<(&'static str, u32)>,
}

impl Variant {
    /// The variant whose tensors all have one type, without constants and for an adapter of which nothing is known.
    pub fn plain(dtype: DType) -> Variant {
        Variant { operands: dtype, output: dtype, shader_f16: false, lanes: None, constants: vec![] }
    }
}

/// The files that a shader can include, by their paths below `wgsl/`. They are part of the crate.
pub const INCLUDES: [Text; 25] = [
    wgsl!("common/activations"),
    wgsl!("common/attention"),
    wgsl!("common/conv_operands"),
    wgsl!("common/conv_window"),
    wgsl!("common/cut"),
    wgsl!("common/exp"),
    wgsl!("common/group_norm"),
    wgsl!("common/layer_norm"),
    wgsl!("common/linear"),
    wgsl!("common/linear_operands"),
    wgsl!("common/matmul"),
    wgsl!("common/modulate"),
    wgsl!("common/modulate_rel_l1"),
    wgsl!("common/patch_operands"),
    wgsl!("common/rel_l1"),
    wgsl!("common/store_block"),
    wgsl!("common/sum"),
    wgsl!("cpu/lanes"),
    wgsl!("cpu/matmul"),
    wgsl!("cpu/sum"),
    wgsl!("ladder/layer_norm_naive"),
    wgsl!("subgroup/matmul"),
    wgsl!("subgroup/sum"),
    wgsl!("axpby"),
    wgsl!("temporal_embed"),
];

/// A module, ready to be compiled. It knows where each of its lines comes from.
#[derive(Debug, Clone)]
pub struct Module {
    text: String,
    /// File and line, of each line of the text.
    origins: Vec<(&'static str, usize)>,
    trusted: bool,
    entry: Option<&'static str>,
}

impl Module {
    /// The whole module for a file: constants, element types, and the file with the lines `#include "PATH"` replaced by
    /// the files they name. Each of those is taken once, however often it is named, and may include others.
    ///
    /// An error names the file and the line that includes what is not in [`INCLUDES`].
    pub fn new(variant: &Variant, constants: &[(&str, u32)], file: Text) -> Result<Module> {
        let Variant { operands, output, shader_f16, lanes, .. } = variant;
        let native = *operands == DType::F16 && *shader_f16;
        let lanes = lanes.map(|n| ("LANES", n));
        let constants = constants.iter().copied().chain(variant.constants.iter().copied()).chain(lanes);
        let enable = native.then(|| "enable f16;".to_string());
        let lines = enable.into_iter().chain(constants.map(|(name, n)| format!("const {name} = {n}u;")));

        let mut module =
            Module { text: String::new(), origins: vec![], trusted: file.trusted, entry: file.entry };
        lines.zip(1..).for_each(|(line, n)| module.push(&line, ("constants", n)));
        let types: &[Text] = match operands {
            DType::F16 if native => &[wgsl!("prelude/f16"), wgsl!("prelude/f16_words")],
            DType::F16 => &[wgsl!("prelude/f16_packed"), wgsl!("prelude/f16_words")],
            DType::BF16 => &[wgsl!("prelude/bf16")],
            DType::F32 | DType::U32 => &[wgsl!("prelude/f32")],
        };
        let output = if output == operands { wgsl!("prelude/o_is_t") } else { wgsl!("prelude/o_is_f32") };
        let mut included = vec![];
        for part in types.iter().copied().chain([output, file]) {
            module.include(part, &mut included)?;
        }
        Ok(module)
    }

    fn push(&mut self, line: &str, origin: (&'static str, usize)) {
        self.text += line;
        self.text += "\n";
        self.origins.push(origin);
    }

    fn include(&mut self, Text { file, text, .. }: Text, included: &mut Vec<&'static str>) -> Result<()> {
        for (line, n) in text.lines().zip(1..) {
            let Some(path) = line.strip_prefix("#include") else {
                self.push(line, (file, n));
                continue;
            };
            let path = path.trim().trim_matches('"');
            let Some(found) = INCLUDES.into_iter().find(|include| include.file == path) else {
                let all = INCLUDES.map(|include| include.file).join(", ");
                return Err(Error::device(
                    "WGSL",
                    format!("{file}:{n}: no file `{path}`: wanted one of {all}"),
                ));
            };
            if !included.contains(&found.file) {
                included.push(found.file);
                self.include(found, included)?;
            }
        }
        Ok(())
    }

    /// What the compiler sees.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether the file's text is [trusted](Text::trusted): what it includes is.
    pub(super) fn trusted(&self) -> bool {
        self.trusted
    }

    /// The entry point of a kernel of this name.
    pub(super) fn entry<'a>(&self, name: &'a str) -> &'a str {
        self.entry.unwrap_or(name)
    }

    /// The file, as a path below `wgsl/`, and the line in it, of a line of the module; both count from 1. The module's
    /// first lines are of a file that does not exist, `constants`.
    pub fn origin(&self, line: usize) -> Option<(&'static str, usize)> {
        self.origins.get(line.checked_sub(1)?).copied()
    }

    /// A compiler's message with every `wgsl:LINE:COLUMN` of the module as `FILE:LINE:COLUMN`.
    pub fn located(&self, message: &str) -> String {
        const MARK: &str = "wgsl:";
        let mut parts = message.split(MARK);
        let mut text = parts.next().unwrap_or_default().to_string();
        for part in parts {
            let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
            let (line, rest) = part.split_at(digits);
            match line.parse().ok().and_then(|line| self.origin(line)) {
                Some((file, line)) => text += &format!("{file}:{line}{rest}"),
                None => text += &format!("{MARK}{part}"),
            }
        }
        text
    }
}
