//! The commands that the pages and the help show, run as they stand. That each can be parsed is tested beside the parser.

use std::fs;
use std::path::Path;

#[path = "../common/commands.rs"]
mod shown;

use crate::{Place, STEEP, fixture, text};

/// What is not run, by its beginning or a part of it, and why.
const NOT_RUN: [(&str, &str); 15] = [
    ("steep compare --seeds ", "samples hundreds of clips"),
    ("steep compare --steps ", "samples hundreds of clips"),
    ("steep compare 'tea", "samples hundreds of clips"),
    ("steep compare --merge ", "takes the parts of a comparison"),
    ("--redraw big", "takes a finished comparison"),
    ("--redraw FILE", "stands for any file"),
    ("steep calibrate --pairs", "samples 70 clips"),
    ("steep calibrate --seeds", "samples 10 clips"),
    ("steep calibrate --model ", "writes beside the model"),
    ("--search", "evaluates the model 1275 times"),
    ("DiT-XL-2", "takes weights that are not here"),
    ("hf:", "asks the Hugging Face hub, as tests/cli/hub does a small one"),
    ("steep bench", "makes buffers of 256 MiB, and times for long"),
    ("steep try rel_l1.wgsl --bench", "times for long, as tests/lab does"),
    ("steep try rel_l1.cu", "is told that a starter is wrong, as tests/lab shows"),
];

#[test]
fn the_commands_that_are_shown_run() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let place = Place::new();
    let mut all: Vec<_> = shown::PAGES.iter().flat_map(|page| shown::of_page(root, page)).collect();
    for verb in [
        "generate",
        "calibrate",
        "compare",
        "plan",
        "decode",
        "forward",
        "inspect",
        "bench",
        "verify",
        "devices",
    ] {
        all.extend(shown::of_help(verb, &place.ok(&[verb, "--help"])));
    }
    // What they read.
    fs::write(place.path("distances.txt"), "0.2 0.1 0.1 0.05 0.1").unwrap();
    fs::copy(fixture("tiny-latte"), place.path("model.safetensors")).unwrap();
    fs::copy(fixture("moving-mnist-32.fixture"), place.path("in.safetensors")).unwrap();
    std::os::unix::fs::symlink(root.join("tests/fixtures/published/taesd"), place.path("taesd")).unwrap();
    fs::write(place.path("latents.safetensors"), latents()).unwrap();
    fs::create_dir(place.path("docs")).unwrap();
    for folder in ["models", "benches"] {
        std::os::unix::fs::symlink(root.join(folder), place.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink(STEEP, place.path("steep")).unwrap();
    let (mut run, mut left) = (0, vec![]);
    for shown in all {
        let known = NOT_RUN.iter().position(|(part, _)| shown.line.contains(part));
        // `steep compare` alone compares what is compared by default.
        if shown.line == "steep compare" || known.is_some() {
            left.extend(known);
            continue;
        }
        let out = place.shell(&format!("set -o pipefail; PATH=.:$PATH; {}", shown.line));
        assert!(out.status.success(), "{shown:?}: {}", text(&out.stderr));
        run += 1;
    }
    assert!(run >= 10, "{run}");
    for (i, (part, why)) in NOT_RUN.iter().enumerate() {
        assert!(left.contains(&i), "no command has {part:?} any more ({why})");
    }
}

/// A frame of latents as `generate` writes them.
fn latents() -> Vec<u8> {
    let zeros = vec![0u8; 4 * 4 * 4 * 4];
    let view =
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1, 4, 4, 4], &zeros).unwrap();
    safetensors::serialize([("video", view)], None).unwrap()
}
