//! Every WGSL source, without a GPU: naga takes it, in all variants, and it asks for no more than browsers give.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use naga::valid::{Capabilities, ModuleInfo, SubgroupOperationSet, ValidationFlags, Validator};
use naga::{AddressSpace, Module, ShaderStage};
use steep::DType;
use steep::device::wgpu::prelude::{INCLUDES, Module as Assembled, Variant};
use steep::device::{Code, Kernel, Need, Source, Text};
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
        "denoise" | "renoise" => [1, 2, 3, 8]
            .map(|patch| vec![("PATCH", patch), ("ACROSS", 5), ("DOWN", 3), ("CHANNELS", 4)])
            .to_vec(),
        "conv2d" => {
            let some = |[size, up, add]: [u32; 3]| {
                let image = [("HEIGHT", 6), ("WIDTH", 10), ("CHANNELS", 8)];
                [("SIZE", size), ("UP", up), ("ADD", add)].into_iter().chain(image).collect()
            };
            [[1, 1, 0], [3, 1, 1], [3, 2, 0]].map(some).to_vec()
        }
        _ => vec![vec![]],
    }
}

/// Every variant of a source that an adapter may ask for.
fn variants(kernel: &Kernel, needs: Need) -> Vec<Variant> {
    let lanes: &[Option<u32>] = match needs {
        Need::CpuAdapter => &[Some(4), Some(8), Some(16)],
        Need::FixedSubgroups => &[Some(8), Some(32), Some(64)],
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
    let Code::Wgsl { text, constants, multiple, tile, .. } = source.code else { panic!("not WGSL") };
    assert!(multiple.is_power_of_two() && multiple <= 64 && tile.iter().all(|&t| t > 0));
    for variant in variants(kernel, source.needs) {
        let case = format!("{} ({}) {variant:?}", kernel.name, source.label);
        let native = variant.operands == DType::F16 && variant.shader_f16;
        let assembled = Assembled::new(&variant, constants, text).unwrap();
        let (module, info) = validate(&case, assembled.text(), native, source.needs);

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
            Code::Cpu(_) | Code::Cuda(_) => false,
        };
        assert!(kernel.wgsl.iter().any(takes_all), "{}: every WGSL source is picky", kernel.name);
    }
}

fn assembled(text: Text) -> Assembled {
    Assembled::new(&Variant::plain(DType::F32), &[("WG", 64)], text).unwrap()
}

/// The executor's own shader, which turns a flag into workgroup counts.
#[test]
fn the_gate_is_valid() {
    let text = std::fs::read_to_string(root().join("wgsl/gate.wgsl")).unwrap().leak();
    validate("gate", assembled(Text::new("gate.wgsl", text)).text(), false, Need::Nothing);
}

/// Where each line of a module comes from, as the kernel's file and those that it includes say it.
#[test]
fn lines_know_their_files() {
    let text = "// first\n#include \"common/cut.wgsl\"\n#include \"common/sum.wgsl\"\n#include \"common/cut.wgsl\"\nlast\n";
    let module = assembled(Text::new("own.wgsl", text));
    let lines: Vec<&str> = module.text().lines().collect();
    assert_eq!(module.origin(1), Some(("constants", 1)));
    let mut counts = std::collections::HashMap::new();
    for (i, line) in lines.iter().enumerate() {
        let (file, n) = module.origin(i + 1).unwrap();
        *counts.entry(file).or_insert(0) += 1;
        let whole = match file {
            "constants" => "const WG = 64u;".to_string(),
            "own.wgsl" => text.to_string(),
            _ => std::fs::read_to_string(root().join("wgsl").join(file)).unwrap(),
        };
        assert_eq!(whole.lines().nth(n - 1), Some(*line), "{file}:{n}");
    }
    // Each file once, and of our own what is not an include.
    assert_eq!((counts["own.wgsl"], lines.last()), (2, Some(&"last")));
    let cut = INCLUDES.iter().find(|text| text.file == "common/cut.wgsl").unwrap();
    assert_eq!(counts["common/cut.wgsl"], cut.text.lines().count());
    assert_eq!((module.origin(0), module.origin(lines.len() + 1)), (None, None));
    let message = format!("error at wgsl:{}:3 and wgsl:999:1", lines.len());
    assert_eq!(module.located(&message), "error at own.wgsl:5:3 and wgsl:999:1");
}

#[test]
fn what_cannot_be_included_is_named() {
    let text = Text::new("own.wgsl", "\n#include \"common/nothing.wgsl\"");
    let error = Assembled::new(&Variant::plain(DType::F32), &[], text).unwrap_err().to_string();
    assert!(
        error.starts_with("device WGSL: own.wgsl:2: no file `common/nothing.wgsl`: wanted one of "),
        "{error}"
    );
    assert!(error.ends_with("temporal_embed.wgsl") && !error.contains('\n'), "{error}");
}

/// Every file is a source's, or included by one: the tests above would not notice one that nobody has.
#[test]
fn every_file_is_somebodys() {
    let mut used = BTreeSet::from(["gate.wgsl"]);
    for source in ALL.iter().flat_map(|kernel| kernel.wgsl) {
        let Code::Wgsl { text, .. } = source.code else { panic!("not WGSL") };
        // A file of includes alone has no line in the module.
        used.insert(text.file);
        let module = assembled(text);
        used.extend((1..).map_while(|line| module.origin(line)).map(|(file, _)| file));
    }
    for folder in ["", "ladder", "cpu", "subgroup", "common"] {
        for path in files(&root().join("wgsl").join(folder)) {
            let name = Path::new(folder).join(path.file_name().unwrap());
            let text = std::fs::read_to_string(&path).unwrap();
            assert!(used.contains(name.to_str().unwrap()), "no source has {}", path.display());
            let long = text.lines().find(|line| line.chars().count() > 120);
            assert!(long.is_none(), "{}: {}", path.display(), long.unwrap());
        }
    }
    for include in INCLUDES {
        assert!(used.contains(include.file), "nobody includes {}", include.file);
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).into()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path());
    all.filter(|path| path.is_file()).collect()
}
