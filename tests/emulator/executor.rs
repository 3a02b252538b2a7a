//! The executor itself, byte for byte the one that drives a GPU, on a driver and a compiler that are the
//! emulator's (`driver/`): whole models, whole runs, and what it says when something is wrong.

use std::path::Path;
use std::process::{Command, Output};

use crate::harness;

/// The program, with the emulator for a GPU.
fn steep(arguments: &str, settings: &[(&str, &str)]) -> Output {
    let (_, environment) = harness::driver();
    // Machine code is kept in a folder of the test's own.
    let cache = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_steep"))
        .args(arguments.split_whitespace())
        .current_dir(harness::root())
        .envs(environment)
        .env("STEEP_CACHE", cache.path())
        .envs(settings.iter().copied())
        .output()
        .unwrap()
}

/// Its output; that it went well, and that the driver had nothing to complain of.
pub fn fine(arguments: &str, settings: &[(&str, &str)]) -> String {
    let out = steep(arguments, settings);
    let complaints = String::from_utf8_lossy(&out.stderr);
    assert!(out.status.success() && !complaints.contains("emulator:"), "{arguments}: {complaints}");
    String::from_utf8(out.stdout).unwrap()
}

/// Its one line of complaint.
pub fn refused(arguments: &str, settings: &[(&str, &str)]) -> String {
    let out = steep(arguments, settings);
    assert_eq!(out.status.code(), Some(2), "{arguments}: {out:?}");
    let text = String::from_utf8(out.stderr).unwrap();
    let mut lines = text.lines().filter(|line| !line.starts_with("emulator:") && !line.is_empty());
    let line = lines.find(|line| line.starts_with("steep: ")).unwrap_or_else(|| panic!("{text}")).to_string();
    assert_eq!(lines.next(), None, "{text}");
    line
}

pub fn tensor(path: &Path, name: &str) -> Vec<f32> {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data();
    data.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// The largest difference, as a share of the largest number.
pub fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    a.iter().zip(b).fold(0.0, |most: f32, (a, b)| most.max((a - b).abs())) / largest
}

/// Both small models, in every type, against the CPU executor in the same type. In 16 bits, the two round at the
/// same places, but sums of another order fall on other sides of a tie.
#[test]
fn forward_is_as_on_the_cpu() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    for model in ["tiny-latte", "tiny-dit"] {
        for (dtype, bound) in [("f32", 1e-5), ("f16", 4e-3), ("bf16", 3e-2)] {
            let out = |device: &str| {
                let path = folder.path().join(format!("{model}-{dtype}-{device}.safetensors"));
                let fixtures = format!("tests/fixtures/{model}");
                let arguments = format!(
                    "forward --model {fixtures}.safetensors {fixtures}.fixture.safetensors --dtype {dtype} \
                     --device {device} --out {}",
                    path.display()
                );
                fine(&arguments, &[]);
                tensor(&path, "out")
            };
            let error = apart(&out("cuda"), &out("cpu"));
            println!("{model} {dtype}: {error:.1e} of {bound:.1e}");
            assert!(error <= bound, "{model} {dtype}: {error:.2e}, bound {bound:.1e}");
        }
    }
}

/// Published models from their own files, against the numbers of their own code.
#[test]
fn published_models_give_what_their_own_code_gives() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    for (name, file) in [("latte", "latte.pt --config {\"heads\":2}"), ("diffusers", "diffusers")] {
        let fixtures = "tests/fixtures/published";
        let expected = format!("{fixtures}/{name}.expected.safetensors");
        fine(
            &format!("forward {expected} --model {fixtures}/{file} --device cuda --out {}", out.display()),
            &[],
        );
        let error = apart(&tensor(&out, "out"), &tensor(&harness::root().join(expected), "out"));
        println!("{name}: {error:.1e}");
        assert!(error <= 2e-5, "{name}: {error}");
    }
    // DDPM uploads noise between steps that the device decides by itself.
    let clip = |device: &str| {
        let settings = "--class 2 --seed 1 --steps 5 --sampler ddpm --spacing linspace --cache tea:0.2:identity --gate device";
        let model = "generate --model tests/fixtures/published/latte.pt --config {\"heads\":2}";
        fine(&format!("{model} {settings} --device {device} --quiet --out {}", out.display()), &[]);
        tensor(&out, "video")
    };
    let error = apart(&clip("cuda"), &clip("cpu"));
    assert!(error <= 1e-4, "ddpm: {error}");
}

/// Decoders, against the CPU executor, which gives the pictures of their own code. Few latents: an emulated convolution is slow.
#[test]
fn decoders_give_what_they_give_on_the_cpu() {
    if !harness::available() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let [latents, out] = ["latents", "out"].map(|name| folder.path().join(format!("{name}.safetensors")));
    let z: Vec<u8> = (0..24).flat_map(|i: i32| (i as f32 * 0.7).sin().to_le_bytes()).collect();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 4, 2, 3], &z).unwrap();
    safetensors::serialize_to_file([("video", view)], None, &latents).unwrap();
    for (vae, dtype, bound) in
        [("diffusers", "f32", 1e-4), ("diffusers", "bf16", 1e-1), ("taesd", "f32", 1e-4)]
    {
        let decode = |device: &str| {
            let vae = format!("tests/fixtures/published/{vae} --dtype {dtype}");
            let arguments = format!("decode {} --vae {vae} --quiet", latents.display());
            fine(&format!("{arguments} --device {device} --out {}", out.display()), &[]);
            tensor(&out, "video")
        };
        let error = apart(&decode("cuda"), &decode("cpu"));
        println!("{vae} {dtype}: {error:.1e}");
        assert!(error <= bound, "{vae} {dtype}: {error}");
    }
}

struct Run {
    letters: String,
    clip: Vec<f32>,
    /// What the driver was asked for, a letter each; see `driver/driver.h`.
    log: String,
    /// The kernels that each graph executed.
    graphs: Vec<Vec<String>>,
}

fn generate(device: &str, gate: &str, settings: &[(&str, &str)]) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let [log, executed] = ["log", "executed"].map(|name| folder.path().join(name));
    let (clip, json) = (folder.path().join("clip.safetensors"), folder.path().join("run.json"));
    let arguments = format!(
        "generate --model tests/fixtures/tiny-latte.safetensors --class 1 --seed 3 --steps 6 --cache tea:0.3 \
         --device {device} --gate {gate} --out {} --json {}",
        clip.display(),
        json.display()
    );
    let logs = [("EMULATOR_LOG", log.to_str().unwrap()), ("EMULATOR_EXECUTED", executed.to_str().unwrap())];
    fine(&arguments, &[&logs, settings].concat());
    let record: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let steps = record["steps"].as_array().unwrap().iter();
    let letters = steps.map(|step| step["decision"].as_str().unwrap()).collect();
    let log = std::fs::read_to_string(log).unwrap_or_default();
    Run { letters, clip: tensor(&clip, "video"), log, graphs: executed_by_graphs(&executed) }
}

/// What the driver noted: the kernels that each graph executed.
pub fn executed_by_graphs(path: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| line.split_whitespace().map(String::from).collect()).collect()
}

/// A whole cached run. The steps of the device's gate are one graph, launched anew with a few arguments changed; those
/// of the host's are two.
#[test]
fn a_cached_run_decides_as_on_the_cpu() {
    if !harness::available() {
        return;
    }
    let cpu = generate("cpu", "host", &[]);
    println!("{}", cpu.letters);
    assert!(cpu.letters.contains('S') && cpu.letters.contains('C'), "{}", cpu.letters);
    let host = generate("cuda", "host", &[("EMULATOR_SEED", "1")]);
    let [device, plain] = ["conditional", "plain"]
        .map(|graphs| generate("cuda", "device", &[("EMULATOR_SEED", "900"), ("STEEP_GRAPH", graphs)]));
    assert_eq!(host.letters, cpu.letters);
    assert_eq!(device.letters, cpu.letters);
    assert_eq!(plain.letters, cpu.letters);
    assert!(host.clip == device.clip && plain.clip == device.clip, "the gates' or the graphs' clips differ");
    let error = apart(&device.clip, &cpu.clip);
    assert!(error < 1e-4, "{error:.2e}");
    // A short first run warms up. Its first step goes call by call, those after it as one graph each.
    let (warm_up, run) = runs(&device.log);
    let (first, rest) = warm_up.split_at(warm_up[1..].find('E').unwrap() + 1);
    assert!(first.len() > 20 && first[1..].bytes().all(|b| b == b'L'), "{}", device.log);
    let mut pairs = rest.as_bytes()[1..].chunks(2);
    assert!(rest.len() > 4 && pairs.all(|pair| pair == b"GE"), "{}", device.log);
    // Six steps, six graphs: the host neither waits nor allocates before the last is under way.
    assert_eq!(run, "EGEGEGEGEGEGE", "{}", device.log);
    // The last graphs are the run's steps. In a skipped one, no kernel of the blocks is launched.
    let steps = |run: &Run| run.graphs[run.graphs.len() - cpu.letters.len()..].to_vec();
    let attention = |names: &[String]| names.iter().filter(|name| *name == "attention").count();
    for ((letter, plain), names) in cpu.letters.chars().zip(steps(&plain)).zip(steps(&device)) {
        let (asked, kernels): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| name == "condition");
        assert_eq!(asked.len(), 1);
        match letter {
            'S' => assert!(attention(&kernels) == 0 && kernels.len() + 20 < plain.len(), "{kernels:?}"),
            _ => assert!(attention(&kernels) > 1 && kernels == plain, "{kernels:?}, {plain:?}"),
        }
    }
    // With the host's gate it waits for each decision, and for nothing else.
    let (_, run) = runs(&host.log);
    assert_eq!(run.matches('W').count(), 6, "{}", host.log);
    assert!(!run.contains('A') && run.contains('G'), "{}", host.log);
}

/// The two runs of a log, each from the first event before its steps; each ends with the host waiting for its results.
/// Before its steps, a run makes its tensors and computes what depends on schedule and condition alone. Before both, the
/// executor tried conditional nodes.
fn runs(log: &str) -> (&str, &str) {
    let steps = log[log.find('E').unwrap()..].trim_end_matches('W');
    let (warm_up, run) = steps.split_at(steps.rfind("WW").unwrap_or_else(|| panic!("{log}")));
    (warm_up.trim_end_matches('W'), &run[run.find('E').unwrap_or_else(|| panic!("{log}"))..])
}

#[test]
fn errors_name_the_op_and_the_way_out() {
    if !harness::available() {
        return;
    }
    let forward = "forward --model tests/fixtures/tiny-dit.safetensors \
        tests/fixtures/tiny-dit.fixture.safetensors --device cuda --out /tmp/never-written.safetensors";
    let line = refused(forward, &[("EMULATOR_FAULT", "attention")]);
    assert!(line.contains("attention") && line.contains("illegal memory access"), "{line}");
    assert!(line.contains("STEEP_SYNC=1"), "{line}");
    let line = refused(forward, &[("EMULATOR_FAULT", "attention"), ("STEEP_SYNC", "1")]);
    assert!(line.contains(": attention: an illegal memory access"), "{line}");
    let line = refused(forward, &[("EMULATOR_MEMORY", "20000")]);
    assert!(line.contains("out of memory") && line.contains("are free"), "{line}");
    let line = refused(forward, &[("EMULATOR_CAPABILITY", "70")]);
    assert!(line.contains("7.0") && line.contains("wanted 7.5"), "{line}");
    let line = refused(forward, &[("STEEP_NVRTC", "/nowhere/libnvrtc.so")]);
    assert!(line.contains("STEEP_NVRTC: /nowhere/libnvrtc.so"), "{line}");
    let line = refused(&forward.replace("cuda", "cuda:1"), &[]);
    assert!(line.contains("cuda:1") && line.contains("0 to 0"), "{line}");
    let line = refused(&forward.replace("cuda", "cuda:x"), &[]);
    assert!(line.contains("cuda:N"), "{line}");
    let line = refused(forward, &[("LD_LIBRARY_PATH", "/nowhere")]);
    assert!(line.contains("cuda") && line.contains("driver"), "{line}");
    assert!(!Path::new("/tmp/never-written.safetensors").exists());
}

/// What was compiled once is not compiled again; what is damaged is.
#[test]
fn machine_code_is_kept() {
    if !harness::available() {
        return;
    }
    let cache = tempfile::tempdir().unwrap();
    let cache_at = cache.path().join("below").display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out.safetensors");
    let forward = format!(
        "forward --model tests/fixtures/tiny-dit.safetensors tests/fixtures/tiny-dit.fixture.safetensors \
         --device cuda --out {}",
        out.display()
    );
    fine(&forward, &[("STEEP_CACHE", &cache_at)]);
    let first = std::fs::read(&out).unwrap();
    let kept: Vec<_> = std::fs::read_dir(&cache_at).unwrap().map(|e| e.unwrap().path()).collect();
    assert!(kept.len() > 5 && kept.iter().all(|p| p.extension().unwrap() == "code"), "{kept:?}");
    // A compiler that cannot compile is not asked.
    fine(&forward, &[("STEEP_CACHE", &cache_at), ("EMULATOR_COMPILE", "false")]);
    assert!(std::fs::read(&out).unwrap() == first);
    std::fs::write(&kept[0], "damaged").unwrap();
    fine(&forward, &[("STEEP_CACHE", &cache_at)]);
    assert!(std::fs::read(&out).unwrap() == first);
    assert!(std::fs::read(&kept[0]).unwrap() != b"damaged");
}
