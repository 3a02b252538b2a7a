//! Every WGSL source, without a GPU: naga takes it, in all variants, and it asks for no more than browsers give.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use steep::DType;
use steep::device::wgpu::prelude::{Variant, module};
use steep::device::{Code, Kernel, Need, Source};
use steep::ops::ALL;

// What WebGPU promises everywhere (W3C WebGPU, section 3.6.2).
const STORAGE_BUFFERS: usize = 8;
const WORKGROUP_BYTES: u32 = 16384;
const INVOCATIONS: u32 = 256;

/// The values that a kernel's calls bring as constants.
fn constants(kernel: &Kernel) -> Vec<Vec<(&'static str, u32)>> {
    match kernel.name {
        "attention" => [8, 24, 64, 72, 128].map(|head| vec![("HEAD", head), ("QUERIES", 64)]).to_vec(),
        "linear" => (0..5).flat_map(|e| [0, 1].map(|few| vec![("EPILOGUE", e), ("FEW_ROWS", few)])).collect(),
        "patch_embed" => {
            [1, 2, 3, 8].map(|patch| vec![("PATCH", patch), ("ACROSS", 5), ("TOKENS", 15)]).to_vec()
        }
        _ => vec![vec![]],
    }
}

/// Every variant of a source that an adapter may ask for.
fn variants(kernel: &Kernel, needs: Need) -> Vec<Variant> {
    let lanes: &[Option<u32>] = match needs {
        Need::CpuAdapter => &[Some(4), Some(8), Some(16)],
        _ => &[None, Some(32)],
    };
    let mut all = vec![];
    for (operands, shader_f16) in
        [(DType::F32, false), (DType::F16, false), (DType::F16, true), (DType::BF16, false)]
    {
        for output in BTreeSet::from([operands.name(), "f32"]) {
            for constants in constants(kernel) {
                for &lanes in lanes {
                    let (output, constants) = (output.parse().unwrap(), constants.clone());
                    all.push(Variant { operands, output, shader_f16, lanes, constants });
                }
            }
        }
    }
    all
}

fn validate(case: &str, text: &str, native_f16: bool, needs: Need) -> (Module, ModuleInfo) {
    let parsed = naga::front::wgsl::parse_str(text);
    let module = parsed.unwrap_or_else(|e| panic!("{case}: {}", e.emit_to_string(text)));
    // Packing halves is part of every WGSL.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    capabilities.set(Capabilities::SHADER_FLOAT16, native_f16);
    let subgroups = needs != Need::Nothing;
    capabilities.set(Capabilities::SUBGROUP, subgroups);
    let mut validator = Validator::new(ValidationFlags::all(), capabilities);
    if subgroups {
        validator.subgroup_operations(SubgroupOperationSet::all());
    }
    let info = validator.validate(&module);
    let info = info.unwrap_or_else(|e| panic!("{case}: {}", e.emit_to_string(text)));
    (module, info)
}

fn check(kernel: &Kernel, source: &Source) {
    let Code::Wgsl { text, constants, multiple, tile } = source.code else { panic!("not WGSL") };
    assert!(multiple.is_power_of_two() && multiple <= 64 && tile.iter().all(|&t| t > 0));
    for variant in variants(kernel, source.needs) {
        let case = format!("{} ({}) {variant:?}", kernel.name, source.label);
        let native = variant.operands == DType::F16 && variant.shader_f16;
        let text = module(&variant, constants, text);
        let (module, info) = validate(&case, &text, native, source.needs);

        let [entry] = &module.entry_points[..] else { panic!("{case}: wanted one entry point") };
        assert_eq!(entry.stage, ShaderStage::Compute);
        assert_eq!(entry.name, kernel.name, "{case}");
        let [x, y, z] = entry.workgroup_size;
        assert!(x * y * z <= INVOCATIONS && z <= 64, "{case}: workgroup of {x}×{y}×{z}");

        let used = |(handle, _): &(naga::Handle<naga::GlobalVariable>, _)| {
            !info.get_entry_point(0)[*handle].is_empty()
        };
        let globals: Vec<_> = module.global_variables.iter().filter(used).map(|(_, g)| g).collect();
        let storage = globals.iter().filter(|g| matches!(g.space, AddressSpace::Storage { .. })).count();
        assert!(storage <= STORAGE_BUFFERS, "{case}: {storage} storage buffers");
        let shared = globals.iter().filter(|g| g.space == AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|g| module.types[g.ty].inner.size(module.to_ctx())).sum();
        assert!(bytes <= WORKGROUP_BYTES, "{case}: {bytes} bytes of workgroup memory");
        assert!(globals.iter().all(|g| g.space != AddressSpace::Immediate), "{case}: immediates");
    }
}

#[test]
fn every_source_is_valid_and_within_the_limits_of_browsers() {
    for kernel in ALL {
        assert!(!kernel.wgsl.is_empty(), "{} has no WGSL", kernel.name);
        for source in kernel.wgsl {
            check(kernel, source);
        }
    }
}

/// One WGSL source of each op takes every call on every adapter.
#[test]
fn every_op_has_a_source_for_every_shape() {
    for kernel in ALL {
        let takes_all = |source: &Source| match source.code {
            Code::Wgsl { multiple, .. } => multiple == 1 && source.needs == Need::Nothing,
            Code::Cpu { .. } | Code::Cuda(_) => false,
        };
        assert!(kernel.wgsl.iter().any(takes_all), "{}: every WGSL source is picky", kernel.name);
    }
}

/// The executor's own shader, which turns a flag into workgroup counts.
#[test]
fn the_gate_is_valid() {
    let text = std::fs::read_to_string(root().join("wgsl/gate.wgsl")).unwrap();
    validate("gate", &module(&Variant::plain(DType::F32), &[], &[&text]), false, Need::Nothing);
}

/// The test above would not notice a file that no source lists.
#[test]
fn every_file_is_somebodys() {
    let pieces = |kernel: &&Kernel| -> Vec<&'static str> {
        let text = |source: &Source| match source.code {
            Code::Wgsl { text, .. } => text.to_vec(),
            Code::Cpu { .. } | Code::Cuda(_) => vec![],
        };
        kernel.wgsl.iter().flat_map(text).collect()
    };
    let all: Vec<&str> = ALL.iter().flat_map(pieces).collect();
    for folder in ["wgsl", "wgsl/ladder", "wgsl/cpu", "wgsl/common"] {
        for path in files(&root().join(folder)) {
            let text = std::fs::read_to_string(&path).unwrap();
            let known = path.ends_with("wgsl/gate.wgsl") || all.contains(&text.as_str());
            assert!(known, "no source has {}", path.display());
            let long = text.lines().find(|line| line.chars().count() > 120);
            assert!(long.is_none(), "{}: {}", path.display(), long.unwrap());
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| path.is_file()).collect()
}
