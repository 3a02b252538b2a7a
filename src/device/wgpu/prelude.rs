//! What stands in front of a WGSL source before it is compiled: its constants and its element types.

use crate::DType;

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
    /// Of one type, and nothing else known.
    pub fn plain(dtype: DType) -> Variant {
        Variant { operands: dtype, output: dtype, shader_f16: false, lanes: None, constants: vec![] }
    }
}

macro_rules! piece {
    ($name:literal) => {
        include_str!(concat!("../../../wgsl/prelude/", $name, ".wgsl"))
    };
}

/// The whole module: prelude, then the pieces of the source.
pub fn module(variant: &Variant, constants: &[(&str, u32)], pieces: &[&str]) -> String {
    let Variant { operands, output, shader_f16, lanes, .. } = variant;
    let native = *operands == DType::F16 && *shader_f16;
    let lanes = lanes.map(|n| ("LANES", n));
    let constants = constants.iter().copied().chain(variant.constants.iter().copied()).chain(lanes);
    let mut text = String::new();
    if native {
        text += "enable f16;\n";
    }
    for (name, value) in constants {
        text += &format!("const {name} = {value}u;\n");
    }
    text += match operands {
        DType::F16 if native => concat!(piece!("f16"), piece!("f16_words")),
        DType::F16 => concat!(piece!("f16_packed"), piece!("f16_words")),
        DType::BF16 => piece!("bf16"),
        DType::F32 | DType::U32 => piece!("f32"),
    };
    text += if output == operands { piece!("o_is_t") } else { piece!("o_is_f32") };
    for piece in pieces {
        text += piece;
    }
    text
}
