//! Published models from their own files, against the numbers of their own code: `reference/published.py` made both.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use steep::cache::letters;
use steep::device::Gate;
use steep::model::{Checkpoint, Condition, Dit, Model, Source, TensorFile};
use steep::sample::{Method, Spacing};
use steep::{DType, Device, Tensor, generate};

mod common;
#[path = "common/random.rs"]
mod random;
use common::devices;

const STEPS: usize = 10;
const GUIDANCE: f32 = 4.0;

fn path(name: &str) -> String {
    format!("{}/tests/fixtures/published/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// A model as it was published, and what its own code makes of it.
struct Published {
    file: &'static str,
    expected: &'static str,
    /// What no tensor and no `config.json` tells.
    config: Option<&'static str>,
}

/// Too small for heads to be known by their size, as the published ones are.
const HEADS: Option<&str> = Some(r#"{"num_heads": 2}"#);
const DIT: Published = Published { file: "dit.safetensors", expected: "dit", config: HEADS };
const LATTE: Published = Published { file: "latte.pt", expected: "latte", config: HEADS };
const UNLABELLED: Published =
    Published { file: "latte-unlabelled.safetensors", expected: "latte-unlabelled", config: HEADS };
const DIFFUSERS: Published = Published { file: "diffusers", expected: "diffusers", config: None };
const ALL: [Published; 4] = [DIT, LATTE, UNLABELLED, DIFFUSERS];

impl Published {
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint::configured(Source::open(path(self.file)).unwrap(), self.config).unwrap()
    }

    fn expected(&self) -> (BTreeMap<String, String>, TensorFile) {
        let file = TensorFile::open(path(&format!("{}.expected.safetensors", self.expected))).unwrap();
        (file.metadata(), file)
    }

    fn numbers(&self, name: &str) -> Vec<f32> {
        let (_, file) = self.expected();
        let data = file.data(name).unwrap();
        match file.info(name).unwrap().dtype {
            safetensors::Dtype::I64 => {
                data.as_chunks().0.iter().map(|x| i64::from_le_bytes(*x) as f32).collect()
            }
            _ => data.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect(),
        }
    }

    /// How far one evaluation is from the source's, as a share of its largest value.
    fn error(&self, model: &Dit) -> f32 {
        let c = model.config();
        let (times, labels) = (self.numbers("t"), self.numbers("y"));
        let classes = labels.iter().map(|&y| (y as usize).min(c.classes)).collect();
        let shape = [times.len(), c.frames, c.channels, c.height, c.width];
        let x = Tensor::from_f32(model.device(), DType::F32, shape, &self.numbers("x")).unwrap();
        let mut pass = model.begin(&Condition::Classes(classes), &times).unwrap();
        pass.evaluate(Gate::Open, &x, 0).unwrap();
        let out = pass.prediction(c, times.len()).unwrap();
        relative(&pollster::block_on(out.read_f32()).unwrap(), &self.numbers("out"))
    }
}

/// The largest difference, as a share of the largest value.
fn relative(ours: &[f32], theirs: &[f32]) -> f32 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0f32, |all, x| all.max(x.abs()));
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn published_models_give_what_their_own_code_gives() {
    for device in devices() {
        let bound = if device.name().starts_with("cpu") { 2e-5 } else { 2e-4 };
        for model in ALL {
            let error = model.error(&Dit::load(&device, &model.checkpoint(), DType::F32).unwrap());
            println!("{} on {}: {error:.1e}", model.expected, device.name());
            assert!(error <= bound, "{} on {}: {error}", model.expected, device.name());
        }
    }
}

/// In each of these the published models differ from one another, and the numbers show it.
#[test]
fn the_differences_between_published_models_count() {
    for (model, wrong) in [
        (DIFFUSERS, r#"{"time_divisor": 128}"#),
        (DIFFUSERS, r#"{"mlp_epsilon": 1e-6}"#),
        (DIT, r#"{"heads": 2, "time_divisor": 127}"#),
        (DIT, r#"{"heads": 4}"#),
    ] {
        let source = Source::open(path(model.file)).unwrap();
        let checkpoint = Checkpoint::configured(source, Some(wrong)).unwrap();
        let error = model.error(&Dit::load(&Device::cpu(), &checkpoint, DType::F32).unwrap());
        assert!(error > 1e-4, "{} with {wrong}: {error}", model.expected);
    }
    let [original, diffusers] = [DIT, DIFFUSERS].map(|model| model.checkpoint().config().clone());
    assert_eq!((original.time_divisor, original.mlp_epsilon, original.guided), (128.0, 1e-6, Some(3)));
    assert_eq!((diffusers.time_divisor, diffusers.mlp_epsilon, diffusers.guided), (127.0, 1e-3, None));
    assert_eq!(LATTE.checkpoint().config().guided, None);
}

/// Ten steps of each source's own sampler, without a cache and with one.
#[test]
fn runs_end_where_their_own_samplers_end() {
    for device in devices() {
        for (model, spacing) in [
            (DIT, Spacing::Leading),
            (DIT, Spacing::Linspace),
            (LATTE, Spacing::Linspace),
            (UNLABELLED, Spacing::Linspace),
            (DIFFUSERS, Spacing::Leading),
        ] {
            let dit = Dit::load(&device, &model.checkpoint(), DType::F32).unwrap();
            let run = generate(&dit)
                .condition(Condition::Classes(vec![2.min(dit.config().classes)]))
                .noise(model.numbers("noise"))
                .steps(STEPS)
                .guidance(GUIDANCE)
                .spacing(spacing);
            let what = format!("{} on {}, {spacing}", model.expected, device.name());
            let plain = pollster::block_on(run.clone().run()).unwrap();
            let error = relative(&plain.clips, &model.numbers(&format!("final_{spacing}")));
            println!("{what}: {error:.1e}");
            assert!(error <= 1e-3, "{what}: {error}");
            let name = format!("cached_{spacing}");
            let (metadata, file) = model.expected();
            if file.info(&name).is_none() {
                continue;
            }
            let cache = format!("tea:{}:identity", metadata["threshold"]).parse().unwrap();
            let cached = pollster::block_on(run.cache(cache).run()).unwrap();
            assert_eq!(format!("{:?}", letters(&cached.trace())), metadata["decisions"], "{what}");
            let error = relative(&cached.clips, &model.numbers(&name));
            println!("{what}, cached: {error:.1e}");
            assert!(error <= 1e-3, "{what}, cached: {error}");
        }
    }
}

/// The published sampler with the noise of its steps; and on every device.
#[test]
fn ddpm_ends_where_the_original_ends() {
    let first = DIT.numbers("noise");
    let n = first.len();
    let rolled = |step: usize| (0..n).map(move |i| (i + n - 7 * step % n) % n);
    let fresh: Vec<f32> = (1..STEPS).flat_map(rolled).map(|i| first[i]).collect();
    for device in devices() {
        let dit = Dit::load(&device, &DIT.checkpoint(), DType::F32).unwrap();
        let run = generate(&dit).class(2).noise(first.clone()).steps(STEPS).guidance(GUIDANCE);
        let run = run.sampler(Method::Ddpm).spacing(Spacing::Linspace).step_noise(fresh.clone());
        let clips = pollster::block_on(run.clone().run()).unwrap().clips;
        let error = relative(&clips, &DIT.numbers("final_ddpm"));
        println!("ddpm on {}: {error:.1e}", device.name());
        assert!(error <= 1e-3, "{}: {error}", device.name());
        let few = pollster::block_on(run.step_noise(fresh[1..].to_vec()).run()).unwrap_err().to_string();
        assert!(few.contains("noise of steps: 2303 values: wanted 256 for each of 9 steps"), "{few}");
    }
    // A seed draws each step's noise anew, and the same each time.
    let dit = Dit::load(&Device::cpu(), &DIT.checkpoint(), DType::F32).unwrap();
    let run = |seed, method| {
        let run = generate(&dit).class(1).seed(seed).steps(4).spacing(Spacing::Linspace).sampler(method);
        pollster::block_on(run.run()).unwrap().clips
    };
    assert_eq!(run(1, Method::Ddpm), run(1, Method::Ddpm));
    assert!(relative(&run(1, Method::Ddpm), &run(1, Method::FirstOrder)) > 0.01);
    let shipped = Dit::shipped(&Device::cpu()).unwrap();
    let said = pollster::block_on(generate(&shipped).sampler(Method::Ddpm).run()).unwrap_err().to_string();
    assert_eq!(said, "sampler ddpm: wanted a model that predicts noise and its variances");
}

/// Guidance of three channels leaves the fourth as the class alone has it.
#[test]
fn the_original_guides_three_channels() {
    let all =
        Checkpoint::configured(Source::open(path(DIT.file)).unwrap(), Some(r#"{"heads": 2, "guided": 4}"#));
    let dit = Dit::load(&Device::cpu(), &all.unwrap(), DType::F32).unwrap();
    let run = generate(&dit).class(2).noise(DIT.numbers("noise")).steps(STEPS).guidance(GUIDANCE);
    let run = pollster::block_on(run.spacing(Spacing::Linspace).run()).unwrap();
    let error = relative(&run.clips, &DIT.numbers("final_linspace"));
    assert!(error > 0.01, "{error}");
}

/// The error of a checkpoint that cannot be opened or loaded.
fn refused(at: &Path, config: Option<&str>) -> String {
    let opened = Source::open(at).and_then(|source| Checkpoint::configured(source, config));
    match opened.and_then(|checkpoint| Dit::load(&Device::cpu(), &checkpoint, DType::F32).map(drop)) {
        Ok(()) => panic!("{} with {config:?} was taken", at.display()),
        Err(e) => e.to_string(),
    }
}

/// A safetensors file with its tensors renamed or left out.
fn renamed(from: &str, to: &Path, name: impl Fn(&str) -> Option<String>) {
    let file = TensorFile::open(path(from)).unwrap();
    let kept: Vec<_> = file.tensors().into_iter().filter_map(|(old, ..)| Some((name(&old)?, old))).collect();
    let view = |old: &str| {
        let info = file.info(old).unwrap();
        (info.dtype, info.shape.clone(), file.data(old).unwrap().into_owned())
    };
    let data: Vec<_> = kept.iter().map(|(new, old)| (new, view(old))).collect();
    let views = data.iter().map(|(name, (dtype, shape, data))| {
        (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, to).unwrap();
}

/// A copy of the diffusers fixture that may be spoilt.
fn copy(folder: &Path) -> PathBuf {
    let to = folder.join("model");
    for inner in ["transformer", "scheduler"] {
        std::fs::create_dir_all(to.join(inner)).unwrap();
        for entry in std::fs::read_dir(path(&format!("diffusers/{inner}"))).unwrap() {
            let entry = entry.unwrap();
            std::fs::copy(entry.path(), to.join(inner).join(entry.file_name())).unwrap();
        }
    }
    to
}

fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn what_nothing_tells_is_asked_for_once() {
    let said = refused(path("dit.safetensors").as_ref(), None);
    for words in ["do not tell how many heads", "--config '{\"heads\": 16}'", "config.json"] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    let alone = folder.path().join("m.safetensors");
    renamed("dit.safetensors", &alone, |name| (name != "pos_embed").then(|| name.into()));
    let said = refused(&alone, None);
    assert!(said.contains("how many heads") && said.contains("\"height\": 32, \"width\": 32"), "{said}");
    // A file beside it, and the words of the originals.
    std::fs::write(folder.path().join("config.json"), r#"{"num_heads": 2, "input_size": 8, "depth": 2}"#)
        .unwrap();
    let opened = Checkpoint::open(&alone).unwrap();
    let error = DIT.error(&Dit::load(&Device::cpu(), &opened, DType::F32).unwrap());
    assert!(error <= 2e-5, "without positions: {error}");
    for (config, words) in [
        (r#"{"heads": 3}"#, "dim 16 (wanted a multiple of heads, 3)"),
        (r#"{"head": 2}"#, "--config: head: wanted frames, height"),
        (r#"{"heads": 2, "depth": 3}"#, "blocks.2.adaLN_modulation.1.bias is missing (wanted [96])"),
        (r#"{"attention_head_dim": 5}"#, "3 heads of 5: wanted 16 channels in all"),
        (r#"{"norm_type": "ada_norm_single"}"#, "norm_type is \"ada_norm_single\": wanted \"ada_norm_zero\""),
        ("[2]", "not a JSON object"),
        ("{heads", "not JSON"),
    ] {
        let said = refused(&alone, Some(config));
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
}

/// Heads of the published sizes are known: no one who downloads such a file is asked.
#[test]
fn published_sizes_have_known_heads() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("s.safetensors");
    let config = r#"{"frames":1,"height":4,"width":4,"channels":4,"patch":2,"dim":384,"depth":12,"heads":6,"mlp_ratio":1,"classes":3,"temporal":false,"learn_sigma":true,"prediction":"epsilon"}"#;
    let (mut header, data) = common::checkpoint::checkpoint(config);
    header.as_object_mut().unwrap().remove("__metadata__");
    std::fs::write(&at, common::checkpoint::file(header.to_string().as_bytes(), &data)).unwrap();
    let c = Checkpoint::open(&at).unwrap().config().clone();
    assert_eq!((c.heads, c.depth, c.classes, c.height, c.guided), (6, 12, 3, 4, Some(3)));
}

#[test]
fn frames_of_another_grid_have_the_positions_between() {
    let source = Source::open(path("dit.safetensors")).unwrap();
    let larger = r#"{"heads": 2, "height": 12, "width": 16}"#;
    let dit = Dit::load(&Device::cpu(), &Checkpoint::configured(source, Some(larger)).unwrap(), DType::F32)
        .unwrap();
    let run = generate(&dit).class(1).steps(2).spacing(Spacing::Leading);
    assert_eq!(pollster::block_on(run.run()).unwrap().shape, [1, 1, 4, 12, 16]);
    // Positions that were learned are of no use elsewhere.
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("m.safetensors");
    let mut bytes = std::fs::read(path("dit.safetensors")).unwrap();
    let file = TensorFile::open(path("dit.safetensors")).unwrap();
    let (from, _) = file.info("pos_embed").unwrap().data_offsets;
    bytes[from..from + 4].copy_from_slice(&0.5f32.to_le_bytes());
    std::fs::write(&at, bytes).unwrap();
    let said = refused(&at, Some(larger));
    assert!(said.contains("positions of a grid of 4×4 that are no sinusoids"), "{said}");
    Checkpoint::configured(Source::open(&at).unwrap(), HEADS).unwrap();
}

#[test]
fn prefixes_of_wrappers_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("m.safetensors");
    for prefix in ["module.", "_orig_mod.", "model.diffusion_model.", "ema.module."] {
        renamed("dit.safetensors", &at, |name| Some(format!("{prefix}{name}")));
        let opened = Checkpoint::configured(Source::open(&at).unwrap(), HEADS).unwrap();
        let error = DIT.error(&Dit::load(&Device::cpu(), &opened, DType::F32).unwrap());
        assert!(error <= 2e-5, "{prefix}: {error}");
    }
    // Of averaged weights and those of the last step, the averaged ones are sampled with; the rest of a file is let be.
    let file = TensorFile::open(path("dit.safetensors")).unwrap();
    let zeros = vec![0u8; 1 << 16];
    let tensors = file.tensors();
    let both = tensors.iter().flat_map(|(name, _, shape)| {
        let data = file.data(name).unwrap().into_owned();
        let other = zeros[..data.len()].to_vec();
        [(format!("ema.{name}"), shape, data), (format!("model.{name}"), shape, other)]
    });
    let all: Vec<_> = both.collect();
    let views = all.iter().map(|(name, shape, data)| {
        (name, safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.to_vec(), data).unwrap())
    });
    safetensors::serialize_to_file(views, None, &at).unwrap();
    let opened = Checkpoint::configured(Source::open(&at).unwrap(), HEADS).unwrap();
    assert!(DIT.error(&Dit::load(&Device::cpu(), &opened, DType::F32).unwrap()) <= 2e-5);
}

#[test]
fn damaged_folders_are_one_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let at = copy(folder.path());
    Checkpoint::open(&at).unwrap();
    let (inner, index) =
        (at.join("transformer"), "transformer/diffusion_pytorch_model.safetensors.index.json");
    let part = inner.join("diffusion_pytorch_model-00002-of-00003.safetensors");
    // The folder itself and the index are the same checkpoint.
    let hash = Checkpoint::open(&at).unwrap().sha256().unwrap();
    for same in [inner.clone(), at.join(index)] {
        assert_eq!(Checkpoint::open(&same).unwrap().sha256().unwrap(), hash);
    }
    assert_eq!(Checkpoint::open(&at).unwrap().name(), "model");

    let whole = std::fs::read(&part).unwrap();
    std::fs::write(&part, &whole[..whole.len() / 2]).unwrap();
    let said = refused(&at, None);
    assert!(said.starts_with(&part.display().to_string()) && said.contains("not a whole"), "{said}");
    std::fs::remove_file(&part).unwrap();
    let said = refused(&at, None);
    assert!(
        said.contains("it names diffusion_pytorch_model-00002-of-00003.safetensors, which is not"),
        "{said}"
    );
    std::fs::copy(inner.join("diffusion_pytorch_model-00001-of-00003.safetensors"), &part).unwrap();
    assert!(refused(&at, None).contains("where it says; wanted files of one checkpoint"));
    std::fs::write(&part, whole).unwrap();

    edit(&at.join(index), "\"diffusion_pytorch_model-00001", "\"../diffusion_pytorch_model-00001");
    assert!(refused(&at, None).contains("wanted the name of a file beside the index"));
    std::fs::write(at.join(index), "{}").unwrap();
    assert!(refused(&at, None).contains("no `weight_map`"));

    for (file, from, to, words) in [
        (
            "scheduler/scheduler_config.json",
            "\"linear\"",
            "\"scaled_linear\"",
            "beta_schedule is \"scaled_linear\"",
        ),
        (
            "scheduler/scheduler_config.json",
            "\"epsilon\"",
            "\"v_prediction\"",
            "prediction_type is \"v_prediction\"",
        ),
        ("transformer/config.json", "ada_norm_zero", "ada_norm_single", "norm_type is \"ada_norm_single\""),
        ("transformer/config.json", "\"num_layers\": 2", "\"num_layers\": 3", "transformer_blocks.2."),
    ] {
        let at = copy(tempfile::tempdir_in(folder.path()).unwrap().keep().as_ref());
        edit(&at.join(file), from, to);
        let said = refused(&at, None);
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    assert!(refused(&empty, None).contains("is a folder that has nothing"));
    for name in ["a.safetensors", "b.safetensors"] {
        std::fs::copy(path("dit.safetensors"), empty.join(name)).unwrap();
    }
    assert!(refused(&empty, None).contains("has 2 checkpoints (a.safetensors, b.safetensors, ..)"));
}

/// diffusers keeps the embedding of time and class in every block. This model has it once: copies must be copies.
#[test]
fn copies_that_differ_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = copy(folder.path());
    let part = std::fs::read_dir(at.join("transformer")).unwrap().map(|entry| entry.unwrap().path());
    let name = "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight";
    let mut parts = part.filter(|part| part.extension().is_some_and(|e| e == "safetensors"));
    let (part, file) = parts
        .find_map(|part| {
            Some((part.clone(), TensorFile::open(&part).unwrap())).filter(|(_, f)| f.info(name).is_some())
        })
        .unwrap();
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[file.info(name).unwrap().data_offsets.0] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    let said = refused(&at, None);
    assert!(said.contains(&format!("{name} is not what transformer_blocks.0.")), "{said}");
}

#[test]
fn files_of_other_models_are_recognised() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("m.safetensors");
    for (theirs, what) in [
        ("adaln_single.linear.weight", "adaLN-single"),
        ("model.diffusion_model.patch_embedding.weight", "Wan"),
        ("decoder.conv_in.weight", "autoencoder"),
    ] {
        renamed("dit.safetensors", &at, |name| (name == "pos_embed").then(|| theirs.into()));
        let said = refused(&at, HEADS);
        assert!(
            said.contains("holds") && said.contains(what) && said.contains("wanted a class-conditional"),
            "{said}"
        );
    }
}

/// Types of numbers: what can be read is, and the rest is named.
#[test]
fn quantised_weights_are_refused_by_name_and_doubles_are_read() {
    use safetensors::Dtype;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("m.safetensors");
    let file = TensorFile::open(path("dit.safetensors")).unwrap();
    let name = "final_layer.linear.bias";
    for dtype in [Dtype::F64, Dtype::F8_E4M3] {
        let data: Vec<_> = file
            .tensors()
            .into_iter()
            .map(|(tensor, _, shape)| {
                let floats = file.data(&tensor).unwrap();
                let numbers = floats.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x));
                match (tensor == name, dtype) {
                    (true, Dtype::F64) => {
                        (tensor, dtype, shape, numbers.flat_map(|x| f64::from(x).to_le_bytes()).collect())
                    }
                    (true, _) => (tensor, dtype, shape, numbers.map(|_| 0).collect()),
                    _ => (tensor, Dtype::F32, shape, floats.into_owned()),
                }
            })
            .collect();
        let views = data.iter().map(|(name, dtype, shape, data): &(_, _, _, Vec<u8>)| {
            (name, safetensors::tensor::TensorView::new(*dtype, shape.clone(), data).unwrap())
        });
        safetensors::serialize_to_file(views, None, &at).unwrap();
        if dtype == Dtype::F64 {
            let opened = Checkpoint::configured(Source::open(&at).unwrap(), HEADS).unwrap();
            let error = DIT.error(&Dit::load(&Device::cpu(), &opened, DType::F32).unwrap());
            assert!(error <= 2e-5, "{error}");
        } else {
            let said = refused(&at, HEADS);
            assert!(said.contains(&format!("{name} is F8_E4M3 (wanted F32, F16, BF16 or F64)")), "{said}");
        }
    }
}

/// What is not a tensor is never made, and what is wrong with a file is said.
#[test]
fn pytorch_files_are_read_without_running_anything() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("m.pt");
    let whole = std::fs::read(path("latte.pt")).unwrap();
    let put = |from: &[u8], to: &[u8]| {
        assert_eq!(from.len(), to.len());
        let mut bytes = whole.clone();
        let places: Vec<usize> =
            whole.windows(from.len()).enumerate().filter(|(_, w)| *w == from).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        places.iter().for_each(|&at| bytes[at..at + from.len()].copy_from_slice(to));
        std::fs::write(&at, bytes).unwrap();
        refused(&at, HEADS)
    };
    for (from, to, words) in [
        (
            &b"_rebuild_tensor_v2"[..],
            &b"_rebuild_qtensor__"[..],
            "asks for \"torch._utils._rebuild_qtensor__\"",
        ),
        (b"argparse\nNamespace", b"os      \nsystem   ", "asks for \"os.system\""),
        (b"HalfStorage", b"BitsStorage", "asks for \"torch.BitsStorage\""),
        (b"little", b"big\n\n\n", "bytes in the other order"),
        (b"latte/data/7", b"latte/data/x", "is in an entry that is not there"),
        (b"latte/data.pkl", b"latte/data.txt", "has no data.pkl"),
        (b"PK\x05\x06", b"PK\x05\x07", "not whole"),
    ] {
        let said = put(from, to);
        assert!(said.contains("is a PyTorch file") && said.contains(words), "no {words:?} in {said:?}");
    }
    // Cut short anywhere, and with any byte changed: an error or a model, and no panic.
    let bytes = |bytes: Vec<u8>| Checkpoint::configured(TensorFile::from_bytes("m", bytes)?, HEADS);
    assert!(bytes(whole.clone()).is_ok());
    for length in (0..whole.len()).step_by(997) {
        assert!(bytes(whole[..length].to_vec()).is_err());
    }
    let rounds = std::env::var("STEEP_ROUNDS").map_or(3_000, |n| n.parse().unwrap());
    let mut random = random::Random(7);
    let mut errors = 0;
    for round in 0..rounds {
        let name = ["latte.pt", "dit.safetensors"][round % 2];
        let mut spoilt = if round % 2 == 0 { whole.clone() } else { std::fs::read(path(name)).unwrap() };
        // Half of them where the file says what is where.
        let said = if round % 4 < 2 { 8192.min(spoilt.len()) } else { spoilt.len() };
        for _ in 0..=random.below(4) {
            let place = random.below(said);
            spoilt[place] = random.bits() as u8;
        }
        errors += usize::from(bytes(spoilt).is_err());
    }
    assert!(errors > rounds / 4 && errors < rounds, "{errors} of {rounds}");
}

#[test]
fn classes_have_names() {
    // The names of ImageNet, for a model of a thousand classes.
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("s.safetensors");
    let config = r#"{"frames":1,"height":4,"width":4,"channels":1,"patch":2,"dim":4,"depth":1,"heads":1,"mlp_ratio":1,"classes":1000,"temporal":false,"learn_sigma":true,"prediction":"epsilon"}"#;
    let (header, data) = common::checkpoint::checkpoint(config);
    std::fs::write(&at, common::checkpoint::file(header.to_string().as_bytes(), &data)).unwrap();
    let imagenet = Checkpoint::open(&at).unwrap();
    for (name, class) in [
        ("golden retriever", 207),
        ("Tinca tinca", 0),
        (" TENCH", 0),
        ("bathroom tissue", 999),
        ("tank suit", 639),
    ] {
        assert_eq!(imagenet.class_named(name), Ok(class), "{name}");
    }
    for (name, words) in [
        ("crane", "one of them: 134 is crane; 517 is crane"),
        ("retriever", "205 is flat-coated retriever; 206 is curly-coated retriever; 207 is golden retriever"),
        ("unicorn", "class 'unicorn': wanted the name of a class, or its number"),
        ("", "the name of a class, or its number"),
    ] {
        let said = imagenet.class_named(name).unwrap_err().to_string();
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    // A pipeline's own, and a model that has neither.
    let at = copy(folder.path());
    assert!(Checkpoint::open(&at).unwrap().class_named("ant").unwrap_err().to_string().contains("no names"));
    std::fs::write(at.join("model_index.json"), r#"{"id2label": {"0": "ant, pismire", "3": "bee"}}"#)
        .unwrap();
    let own = Checkpoint::open(&at).unwrap();
    assert_eq!((own.class_named("Bee"), own.class_named("pismire")), (Ok(3), Ok(0)));
    std::fs::write(at.join("model_index.json"), "{").unwrap();
    assert!(Checkpoint::open(&at).unwrap().class_named("bee").unwrap_err().to_string().contains("not JSON"));
}
