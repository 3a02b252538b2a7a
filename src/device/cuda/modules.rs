//! Machine code for sources: compiled once, then kept on disk.

use std::collections::hash_map::DefaultHasher;
use std::ffi::{CString, c_void};
use std::hash::{Hash, Hasher};

use cudarc::driver::{result, sys};

use super::nvrtc::{HEADERS, Nvrtc, OPTIONS, Unit};
use super::queue::GateArgument;
use super::{Cuda, kept};
use crate::device::{Call, Code, CudaCode, Kernel, Source};
use crate::input::kept_folder;
use crate::{DType, Error, Result};

/// What tells a function from others: the source (by its address), T, O, and the constants it takes.
pub(super) type Key = (usize, DType, DType, Vec<u32>);

/// A kernel, loaded.
#[derive(Clone, Copy)]
pub(super) struct Function {
    pub raw: sys::CUfunction,
    pub op: &'static str,
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

/// The source as NVRTC is to see it.
///
/// # Errors
///
/// If the source's bytes of shared memory cannot be worked out.
pub fn unit(code: &CudaCode, operands: DType, output: DType, values: &[u32]) -> Result<Unit> {
    let types = [("T", operands), ("O", output)].map(|(name, dtype)| format!("{name}={dtype}"));
    let taken = code.takes.iter().zip(values).map(|(name, value)| format!("{name}={value}"));
    let constants = code.constants.iter().map(|(name, value)| format!("{name}={value}"));
    let shared = match code.shared_bytes(values)? {
        0 => None,
        bytes => Some(format!("SHARED_BYTES={bytes}")),
    };
    let defines = types.into_iter().chain(taken).chain(constants).chain(shared).collect();
    Ok(Unit { file: code.text.file, text: code.text.text, defines })
}

/// One way to compile a source.
pub struct Variant {
    /// What it comes from.
    pub source: &'static Source,
    /// What the compiler sees.
    pub unit: Unit,
    /// T, the constants taken, and O where the source has it: for people.
    pub label: String,
    /// Bytes of dynamic shared memory.
    pub shared: usize,
}

/// Heads that [`variants`] compiles attention for.
const HEADS: [u32; 3] = [64, 72, 128];

/// Every source of an op in every type that it takes; what takes a head's size, in the usual ones.
pub fn variants(kernel: &Kernel) -> Vec<Variant> {
    let of = |source| variants_of(source).expect("the crate's own sources say what memory they share");
    kernel.cuda.iter().flat_map(of).collect()
}

/// The same of one source.
///
/// # Errors
///
/// If its bytes of shared memory cannot be worked out.
pub fn variants_of(source: &'static Source) -> Result<Vec<Variant>> {
    let mut all = vec![];
    if let Code::Cuda(code) = &source.code {
        let heads: &[&[u32]] = match code.takes {
            [] => &[&[]],
            _ => &[&HEADS[0..1], &HEADS[1..2], &HEADS[2..3]],
        };
        for operands in [DType::F32, DType::F16, DType::BF16] {
            if code.halves && operands.size() != 2 {
                continue;
            }
            for taken in heads {
                all.push(variant(source, code, operands, operands, taken)?);
                if operands != DType::F32 && has_output_type(code) {
                    all.push(variant(source, code, operands, DType::F32, taken)?);
                }
            }
        }
    }
    Ok(all)
}

fn variant(
    source: &'static Source,
    code: &CudaCode,
    operands: DType,
    output: DType,
    taken: &[u32],
) -> Result<Variant> {
    let mut label = operands.to_string();
    if output != operands {
        label += &format!(" to {output}");
    }
    for (name, value) in code.takes.iter().zip(taken) {
        label += &format!(" {}={value}", name.to_lowercase());
    }
    let (unit, shared) = (unit(code, operands, output, taken)?, code.shared_bytes(taken)?);
    Ok(Variant { source, unit, label, shared })
}

/// Whether the source, or a header that it includes, says O.
fn has_output_type(code: &CudaCode) -> bool {
    let included = HEADERS.iter().filter(|(name, _)| code.text.text.contains(&format!("\"{name}\"")));
    included.map(|(_, text)| *text).chain([code.text.text]).any(|text| text.contains(" O *"))
}

fn key(source: &Source, code: &CudaCode, call: &Call<'_, '_>) -> Result<Key> {
    let value = |name: &&'static str| {
        let found = call.constants.iter().find(|(n, _)| n == name);
        let missing = || Error::argument(call.kernel.name, name, "a constant of the call", "none");
        found.map(|(_, value)| *value).ok_or_else(missing)
    };
    let taken = code.takes.iter().map(value).collect::<Result<_>>()?;
    Ok((std::ptr::from_ref(source) as usize, call.operands(), call.output(), taken))
}

impl Cuda {
    /// Whether a block of this GPU has as much shared memory as the source wants for the call, and a grid as many blocks.
    /// What is wrong otherwise, whoever runs it hears.
    pub(in crate::device) fn fits(&self, source: &Source, call: &Call<'_, '_>) -> bool {
        let Code::Cuda(code) = &source.code else { return true };
        let fits = |key: &Key| {
            // What was loaded once need not be worked out at every call.
            self.functions.borrow().contains_key(key)
                || code.shared_bytes(&key.3).map_or(true, |bytes| bytes <= self.most_shared)
        };
        key(source, code, call).map_or(true, |key| fits(&key)) && self.grid(code, call).is_ok()
    }

    /// Blocks along x, y and z.
    pub(super) fn grid(&self, code: &CudaCode, call: &Call<'_, '_>) -> Result<[u32; 3]> {
        let [z, y, x] = [0, 1, 2].map(|i| call.work[i].div_ceil(code.tile[i]));
        let blocks = if code.folded { [x.saturating_mul(y).saturating_mul(z), 1, 1] } else { [x, y, z] };
        let mut grid = [0; 3];
        for ((grid, blocks), most) in grid.iter_mut().zip(blocks).zip(self.most_blocks) {
            *grid = u32::try_from(blocks).ok().filter(|&n| n <= most).ok_or_else(|| {
                self.error(format!("{}: {blocks} blocks in a row, this GPU takes {most}", call.kernel.name))
            })?;
        }
        Ok(grid)
    }

    /// The function that a call runs.
    pub(super) fn function(&self, source: &'static Source, call: &Call<'_, '_>) -> Result<Function> {
        let Code::Cuda(code) = &source.code else { unreachable!("a source of this language") };
        let key = key(source, code, call)?;
        if let Some(function) = self.functions.borrow().get(&key) {
            return Ok(*function);
        }
        let unit = unit(code, key.1, key.2, &key.3)?;
        let op = call.kernel.name;
        let shared = code.shared_bytes(&key.3)?;
        if shared > self.most_shared {
            let why = format!("{op}: {shared} bytes of shared memory, this GPU has {}", self.most_shared);
            return Err(self.error(why));
        }
        let raw = self.load(op, code.text.entry.unwrap_or(op), &unit)?;
        self.check_signature(op, code.text.file, raw, call)?;
        const WITHOUT_ASKING: usize = 48 << 10;
        if shared > WITHOUT_ASKING {
            let attribute = sys::CUfunction_attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function was just loaded.
            let set = unsafe { result::function::set_function_attribute(raw, attribute, shared as i32) };
            self.check(op, set)?;
        }
        let function = Function { raw, op, threads: code.threads, shared: shared as u32 };
        self.functions.borrow_mut().insert(key, function);
        Ok(function)
    }

    /// A kernel that takes other arguments than the call has would read what is not there.
    fn check_signature(&self, op: &str, file: &str, raw: sys::CUfunction, call: &Call<'_, '_>) -> Result<()> {
        let tensors = call.writes.len() + call.reads.len();
        let wanted: Vec<usize> =
            std::iter::repeat_n(8, tensors).chain([call.params.len(), size_of::<GateArgument>()]).collect();
        let mut takes = vec![];
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function was just loaded; two integers to write to.
        while unsafe { sys::cuFuncGetParamInfo(raw, takes.len(), &mut offset, &mut size) }.result().is_ok() {
            takes.push(size);
        }
        if takes == wanted {
            return Ok(());
        }
        let why = format!(
            "{op}: {file}: a kernel whose arguments have {takes:?} bytes: wanted {tensors} pointers (8 each), Params ({}), \
             Gate ({})",
            wanted[tensors],
            wanted[tensors + 1]
        );
        Err(self.error(why))
    }

    /// From the cache on disk if it has the code, else from the compiler.
    pub(super) fn load(&self, op: &str, entry: &str, unit: &Unit) -> Result<sys::CUfunction> {
        let kept = kept_folder().map(|folder| folder.join(file_name(op, unit, &self.target, &self.nvrtc)));
        if let Some(path) = &kept
            && let Some(code) = kept::read(path)
            && let Ok(function) = self.load_code(op, entry, &code)
        {
            return Ok(function);
        }
        let code = self.nvrtc.compile(unit, &self.target)?.code;
        if let Some(path) = &kept {
            // What cannot be kept is compiled again the next time.
            let _ = kept::write(path, &code);
        }
        self.load_code(op, entry, &code)
    }

    fn load_code(&self, op: &str, entry: &str, code: &[u8]) -> Result<sys::CUfunction> {
        // The driver looks for the end by itself and may read a little further.
        let mut image = code.to_vec();
        image.resize(code.len() + 64, 0);
        // SAFETY: an image in memory, which the driver copies.
        let module = unsafe { result::module::load_data(image.as_ptr() as *const c_void) };
        let module = self.check(op, module)?;
        let name = CString::new(entry).expect("entry points have no zero in their names");
        // SAFETY: the module was just loaded; it stays loaded as long as the context.
        self.check(op, unsafe { result::module::get_function(module, name) })
    }
}

/// The op, and a hash of everything that the machine code depends on.
fn file_name(op: &str, unit: &Unit, target: &str, nvrtc: &Nvrtc) -> String {
    let hash = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, unit.file, unit.text, &unit.defines, HEADERS, OPTIONS, target, nvrtc.version)
            .hash(&mut hasher);
        hasher.finish()
    };
    format!("{op}-{target}-{:016x}{:016x}.code", hash(0), hash(1))
}
