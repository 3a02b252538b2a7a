//! `steep calibrate`, and what `generate` makes of its result.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::{Place, complaint, fixture, text};

/// A copy of the small Latte in `place`, for the calibration to lie beside.
fn model(place: &Place) -> String {
    fs::copy(fixture("tiny-latte"), place.path("m.safetensors")).unwrap();
    "m.safetensors".into()
}

fn calibrate(place: &Place, more: &str) -> Output {
    let args = format!("calibrate --model m.safetensors --device cpu --steps 8 --first-seed 5 {more}");
    place.run(&args.split_whitespace().collect::<Vec<_>>())
}

#[track_caller]
fn ok(out: Output) -> String {
    let said = text(&out.stderr);
    assert!(out.status.success(), "{said}");
    // A small random model may well be told that its fit is poor.
    assert!(said.lines().all(|l| l.starts_with("steep: warning: R²")), "{said}");
    text(&out.stdout)
}

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(place.path(name)).unwrap()).unwrap()
}

#[test]
fn a_calibration_is_written_and_found() {
    let place = Place::new();
    model(&place);
    let said = ok(calibrate(&place, "--seeds 2 --plot fit.svg"));
    for part in ["56 pairs of 8 clips", "held-out R²", "fitted range", "wrote m.teacache.json and fit.svg"] {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    assert_eq!(place.names(), ["fit.svg", "m.safetensors", "m.teacache.json"]);
    let made = json(&place, "m.teacache.json");
    assert_eq!((&made["steps"], &made["degree"], &made["clips"]), (&json!(8), &json!(4), &json!(8)));
    assert_eq!(
        (&made["dtype"], &made["prediction"], &made["guidance"]),
        (&json!("f32"), &json!("velocity"), &json!(3.0))
    );
    assert_eq!(made["sha256"].as_str().unwrap().len(), 64);
    let plot = fs::read_to_string(place.path("fit.svg")).unwrap();
    // One dot more is the legend's.
    assert_eq!(plot.matches("<circle").count(), 57);
    for degree in 1..=4 {
        assert!(plot.contains(&format!("degree {degree}, R² 0.")), "no degree {degree} in the legend");
    }

    // `generate` takes it where no coefficients are named, in either gate.
    let record = |cache: &str| -> Value {
        let args = [
            "generate",
            "--model",
            "m.safetensors",
            "--device",
            "cpu",
            "--steps",
            "8",
            "--quiet",
            "--json",
            "-",
        ];
        serde_json::from_str(&place.ok(&[&args[..], &["--cache", cache]].concat())).unwrap()
    };
    let run = record("tea:0.4");
    assert_eq!((&run["coefficients"], &run["range"]), (&made["coefficients"], &made["range"]));
    let raw = record("tea:0.4:raw");
    assert_eq!(raw["coefficients"], made["coefficients"]);
    let identity = record("tea:0.4:identity");
    assert_eq!(
        (&identity["coefficients"], &identity["range"]),
        (&json!([0.0, 0.0, 0.0, 1.0, 0.0]), &Value::Null)
    );
    assert_eq!(record("uniform:2")["coefficients"], Value::Null);
    let f = |x: f64| {
        made["coefficients"].as_array().unwrap().iter().fold(0.0, |s, c| s * x + c.as_f64().unwrap())
    };
    let low = made["range"][0].as_f64().unwrap();
    for step in run["steps"].as_array().unwrap().iter().filter(|s| s["rescaled"].is_number()) {
        let (d, rescaled) = (step["d"].as_f64().unwrap(), step["rescaled"].as_f64().unwrap());
        let wanted = f(d.max(low));
        assert!((rescaled - wanted).abs() < 1e-3 * wanted.abs().max(0.01), "{d}: {rescaled} {wanted}");
    }

    // MagCache's table is there, too, and serves it.
    let magnitudes = made["magnitudes"].as_array().unwrap();
    assert_eq!((magnitudes.len(), &magnitudes[0]), (8, &json!(1.0)));
    assert!(magnitudes.iter().all(|m| m.as_f64().unwrap() > 0.0), "{magnitudes:?}");
    let mag = record("mag:10:2@m.teacache.json");
    // Of the steps 1 to 7, every third computes.
    assert_eq!(mag["skipped"], json!(5), "{mag}");
}

#[test]
fn another_run_is_warned_and_other_weights_are_refused() {
    let place = Place::new();
    model(&place);
    ok(calibrate(&place, "--seeds 1"));
    let generate = |more: &str| {
        let args = format!("generate --model m.safetensors --device cpu --quiet {more}");
        place.run(&args.split_whitespace().collect::<Vec<_>>())
    };
    let out = generate("--steps 9 --cache tea:0.2 --dtype bf16");
    assert!(out.status.success());
    let said = text(&out.stderr);
    let warnings: Vec<&str> = said.lines().collect();
    assert_eq!(
        warnings,
        [
            "steep: warning: m.teacache.json: calibrated at steps 8, used at 9",
            "steep: warning: m.teacache.json: calibrated at dtype f32, used at bf16",
        ]
    );
    let out = generate("--steps 9 --cache tea:0.2:identity");
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));

    // One weight changes its last bit.
    let mut bytes = fs::read(place.path("m.safetensors")).unwrap();
    let last = bytes.len() - 4;
    bytes[last] ^= 1;
    fs::write(place.path("m.safetensors"), &bytes).unwrap();
    let said = complaint(&generate("--steps 8 --cache tea:0.2 --out x.safetensors"), 2);
    for part in ["m.teacache.json", "other weights", "steep calibrate", "tea:THRESHOLD:identity"] {
        assert!(said.contains(part), "{said}");
    }
    assert!(!place.path("x.safetensors").exists());
    assert!(generate("--steps 8 --cache tea:0.2:identity").status.success());
    assert!(generate("--steps 8 --cache uniform:2").status.success());

    for damage in ["", "{", "[]", "{\"steps\": 8}"] {
        fs::write(place.path("m.teacache.json"), damage).unwrap();
        let said = complaint(&generate("--steps 8 --cache tea:0.2"), 2);
        assert!(
            said.contains("m.teacache.json: not a calibration") && said.contains("steep calibrate"),
            "{said}"
        );
    }
}

/// A kill at any byte: the same calibration as without it.
#[test]
fn pairs_survive_a_kill() {
    let place = Place::new();
    model(&place);
    ok(calibrate(&place, "--classes 0,2 --seeds 2 --pairs pairs.jsonl"));
    let whole = fs::read(place.path("pairs.jsonl")).unwrap();
    let wanted = fs::read(place.path("m.teacache.json")).unwrap();
    assert_eq!(whole.iter().filter(|&&b| b == b'\n').count(), 5, "a header and four clips");
    let third = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0;
    for end in [0, 40, third + 1, third + 30, whole.len() - 1] {
        fs::write(place.path("pairs.jsonl"), &whole[..end]).unwrap();
        fs::remove_file(place.path("m.teacache.json")).unwrap();
        ok(calibrate(&place, "--classes 0,2 --seeds 2 --pairs pairs.jsonl"));
        assert_eq!(fs::read(place.path("pairs.jsonl")).unwrap(), whole, "killed at {end}");
        assert_eq!(fs::read(place.path("m.teacache.json")).unwrap(), wanted);
    }
    // In another order, and without running anything.
    let lines: Vec<&[u8]> = whole.split_inclusive(|&b| b == b'\n').collect();
    fs::write(place.path("pairs.jsonl"), [lines[0], lines[4], lines[2], lines[3], lines[1]].concat())
        .unwrap();
    ok(calibrate(&place, "--seeds 0 --pairs pairs.jsonl"));
    assert_eq!(fs::read(place.path("m.teacache.json")).unwrap(), wanted);
    ok(calibrate(&place, "--seeds 0 --pairs pairs.jsonl --degree 2 --out other.json"));
    assert_eq!(json(&place, "other.json")["degree"], 2);
    assert_eq!(json(&place, "other.json")["coefficients"][1], 0.0);
}

#[test]
fn pairs_that_cannot_be_used() {
    let place = Place::new();
    model(&place);
    ok(calibrate(&place, "--classes 1 --seeds 2 --pairs pairs.jsonl"));
    let whole = fs::read_to_string(place.path("pairs.jsonl")).unwrap();
    fs::remove_file(place.path("m.teacache.json")).unwrap();
    let refused = |pairs: String, more: &str, words: &[&str]| {
        fs::write(place.path("pairs.jsonl"), &pairs).unwrap();
        let said =
            complaint(&calibrate(&place, &format!("--classes 1 --seeds 2 --pairs pairs.jsonl {more}")), 2);
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
        assert_eq!(fs::read_to_string(place.path("pairs.jsonl")).unwrap(), pairs);
        assert!(!place.path("m.teacache.json").exists());
    };
    refused(whole.replacen("\"x\":[", "\"x\":[oops,", 1), "", &["line 2", "JSON"]);
    refused(
        whole.replacen("\"x\":[", "\"x\":[0.1,", 1),
        "",
        &["line 2", "seed 5: 8 of x, 7 of y", "wanted 7"],
    );
    refused(whole.replacen("\"x\":[", "\"z\":[", 1), "", &["line 2", "missing field `x`"]);
    refused(whole.replacen("\"y\":[", "\"y\":[-", 1), "", &["line 2", "distances, 0 or more"]);
    refused("a poem\n".into(), "", &["pairs.jsonl", "line 1"]);
    refused(whole.clone(), "--guidance 2", &["another run", "guidance is 3.0 there and 2.0 here"]);
    refused(whole.clone(), "--dtype bf16", &["dtype is \"f32\" there"]);
}

#[test]
fn targets_are_found() {
    let place = Place::new();
    model(&place);
    let out = calibrate(&place, "--seeds 1 --target-speedup 1.5 --target-psnr 20 --target-clips 2 --json");
    let said: Value = serde_json::from_str(&ok(out)).unwrap();
    assert_eq!(said["fits"].as_array().unwrap().len(), 4);
    assert_eq!(said["calibration"], json(&place, "m.teacache.json"));
    let [speedup, psnr] = &said["targets"].as_array().unwrap()[..] else { panic!("{said}") };
    assert!(speedup["replayed_ratio"].as_f64().unwrap() >= 1.5 && speedup["ratio"].as_f64().unwrap() >= 1.0);
    assert!(psnr["psnr"].as_f64().unwrap() >= 20.0 && psnr["worst_psnr"].as_f64() <= psnr["psnr"].as_f64());
    // What was found is what a run does.
    let threshold = psnr["threshold"].as_f64().unwrap();
    let cache = format!("tea:{threshold}");
    let args = ["generate", "--model", "m.safetensors", "--device", "cpu", "--steps", "8", "--seed", "5"];
    let record = place.ok(&[&args[..], &["--cache", &cache, "--compare", "--quiet", "--json", "-"]].concat());
    let record: Value = serde_json::from_str(&record).unwrap();
    assert!(record["psnr"].as_f64().unwrap() >= psnr["worst_psnr"].as_f64().unwrap() - 1e-9);
    // Two of eight steps always compute. What was fitted is kept all the same.
    fs::remove_file(place.path("m.teacache.json")).unwrap();
    let said = complaint(&calibrate(&place, "--seeds 1 --target-speedup 4.5"), 2);
    assert!(said.contains("--target-speedup 4.5") && said.contains("at most 4.00"), "{said}");
    assert!(place.path("m.teacache.json").exists());
}

#[test]
fn settings_that_make_no_sense() {
    let place = Place::new();
    model(&place);
    for (more, words) in [
        ("--seeds 0", &["--seeds 0", "--pairs"][..]),
        ("--degree 5", &["5", "1..=4"]),
        ("--classes 0,4", &["class 4", "0 to 3"]),
        ("--classes 1,1", &["1,1", "each class once"]),
        ("--target-psnr -1", &["-1"]),
        ("--target-speedup NaN", &["--target-speedup NaN"]),
        ("--out none/x.json", &["none/x.json"]),
        ("--out m.safetensors", &["is an input"]),
        ("--pairs none/x.jsonl --seeds 1", &["none/x.jsonl"]),
    ] {
        let said = complaint(&calibrate(&place, more), 2);
        assert!(words.iter().all(|w| said.contains(w)), "{more}: {said}");
    }
    let args = ["calibrate", "--model", "m.safetensors", "--steps", "1", "--seeds", "1"];
    assert!(complaint(&place.run(&args), 2).contains("at least 2"));
    assert_eq!(place.names(), ["m.safetensors"]);
}
