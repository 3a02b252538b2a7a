//! `steep try --counters` and `--trace`: what a kernel does, line by line.

use serde_json::Value;
use steep::lab::Language;

use crate::{Place, device, edited, kernel};

/// A share of a run for each thread, whose neighbours are then far away.
const STRIDED: [&str; 2] = [
    "for (u32 i = share(p.elements, p.runs, blockIdx.x) + t; i < end; i += 128) {",
    "const u32 begin = share(p.elements, p.runs, blockIdx.x), each = (end - begin + 127) / 128;\n    \
     for (u32 i = begin + t * each; i < end && i < begin + (t + 1) * each; i++) {",
];

/// Both are right; only the counts tell them apart.
#[test]
fn a_strided_kernel_moves_more_sectors() {
    let Some(device) = device(Language::Cuda) else { return };
    let coalesced = |text: &str| {
        let place = Place::with("mine.cu", text);
        let asked = format!("mine.cu --device {device} --dtype f32 --largest 20000 --values 7 --counters");
        let out = place.run(&asked);
        out.right();
        for words in [
            "counters: rel_l1 (yours), f32 ",
            "main loops: not looked at: ",
            "sm_80 (A100), an estimate: ",
            "sm_90a (H100), an estimate: ",
        ] {
            assert!(out.out.contains(words), "{words}: {}", out.out);
        }
        let all: Value = serde_json::from_str(&place.run(&format!("{asked} --json")).out).unwrap();
        let counted = &all["counters"][0];
        // Whoever moves most for nothing comes first.
        let worst = &counted["counts"]["rows"][0];
        let estimates = counted["estimates"].as_array().unwrap();
        assert!(
            estimates.len() == 2 && estimates.iter().all(|e| e["us"].as_f64().unwrap() > 0.0),
            "{counted}"
        );
        (counted["sums"]["coalesced"].as_f64().unwrap(), worst["place"].as_str().unwrap().to_string())
    };
    let text = kernel("rel_l1.cu");
    let (right, _) = coalesced(&text);
    let strided = edited(&text, STRIDED[0], STRIDED[1]);
    let (wrong, worst) = coalesced(&strided);
    assert!(right > 0.8 && wrong < 0.3, "{right} {wrong}");
    let line = 1 + strided.lines().position(|line| line.contains("const float next")).unwrap();
    assert!([line, line + 3].iter().any(|n| worst.starts_with(&format!("mine.cu:{n}"))), "{worst}");
}

#[test]
fn shaders_are_not_counted() {
    let Some(device) = device(Language::Wgsl) else { return };
    let place = Place::with("mine.wgsl", kernel("rel_l1.wgsl"));
    let out = place.run(&format!("mine.wgsl --device {device} --largest 200 --counters --trace 0"));
    out.right();
    assert!(out.out.contains("counters: of CUDA alone") && out.out.contains("trace: none: of CUDA alone"));
}

/// A page of who did what; and what led to a fault.
#[test]
fn a_block_is_traced() {
    let Some(device) = device(Language::Cuda) else { return };
    let text = kernel("rel_l1.cu");
    let line = |wanted: &str| 1 + text.lines().position(|line| line.contains(wanted)).unwrap();
    let place = Place::with("mine.cu", &text);
    let run = |more: &str| {
        place.run(&format!("mine.cu --device {device} --dtype f32 --largest 200 --values 7 {more}"))
    };
    let out = run("--trace 0,1");
    out.right();
    assert!(out.out.contains("trace of warp 1 of block 0, f32 1 in 1 runs"), "{}", out.out);
    let tree = format!("  mine.cu:{}  warp 1  waits at barrier 0\n", line("// the tree"));
    // Once for the writers, and once at each step of the tree.
    assert!(
        out.out.contains(&tree) && out.out.matches("  warp 1  waits at barrier 0").count() == 8,
        "{}",
        out.out
    );
    assert!(!out.out.contains("warp 0") && out.out.contains("barrier 0 opens"), "{}", out.out);
    let all: Value = serde_json::from_str(&run("--trace 0 --json").out).unwrap();
    assert!(all["trace"]["lines"].as_array().unwrap().len() > 4 * 8, "{}", all["trace"]);
    run("--trace 77").right();
    run("--trace 0,99").refused(&["--trace 0,99: wanted BLOCK or BLOCK,WARP"]);
    // Half of the threads do not come.
    place.write(
        "mine.cu",
        edited(&text, "        __syncthreads();\n    }", "        if (t < half) __syncthreads();\n    }"),
    );
    let out = run("--trace 0");
    out.wrong(&["deadlock: block", "trace of block 0", "waits at barrier 0", "barrier 0 opens"]);
}
