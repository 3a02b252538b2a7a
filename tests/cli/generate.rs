//! `steep generate`, and `steep` alone.

use std::fs;

use serde_json::Value;

use crate::{Place, STEEP, complaint, fixture, tensor, text};

#[test]
fn steep_alone_shows_what_caching_buys() {
    let place = Place::new();
    let said = place.ok(&[]);
    for part in
        ["moving-mnist-32", "50 computed", "30 skipped", "bound is 2.50×", "PSNR", "SSIM", "FC", "F\n"]
    {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    // On a machine that is busy, no speedup may be sure.
    assert!(said.contains("× faster, ") || said.contains("too noisy to time"), "{said}");
    assert!(!said.contains('\x1b'), "colour outside a terminal");
    assert!(said.lines().count() <= 13 && said.lines().all(|l| l.chars().count() <= 80), "{said}");
    assert_eq!(place.names(), ["steep.gif", "steep.svg"]);
    assert!(fs::read(place.path("steep.gif")).unwrap().starts_with(b"GIF89a"));
    assert!(fs::read_to_string(place.path("steep.svg")).unwrap().starts_with("<svg"));
}

/// What is there stays there: whoever made it.
#[test]
fn steep_alone_takes_the_next_free_names() {
    let place = Place::new();
    fs::write(place.path("steep.gif"), "a holiday").unwrap();
    fs::write(place.path("steep-2.svg"), "a drawing").unwrap();
    let said = place.ok(&[]);
    assert!(said.contains("wrote steep-3.gif and steep-3.svg"), "{said}");
    assert_eq!(place.names(), ["steep-2.svg", "steep-3.gif", "steep-3.svg", "steep.gif"]);
    assert_eq!(fs::read_to_string(place.path("steep.gif")).unwrap(), "a holiday");
    assert!(place.ok(&["--help"]).contains("steep-2.gif"));
}

/// A file's name is its whole name, and nothing in it reaches the terminal as a command.
#[cfg(unix)]
#[test]
fn names_are_whole_and_escaped() {
    let place = Place::new();
    let model = "my model\u{1b}]0;owned\u{7} v2.safetensors";
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/models/moving-mnist-32.safetensors");
    fs::copy(shipped, place.path(model)).unwrap();
    let out = "a\u{1b}[2Jb\u{202e}.GIF";
    let args = ["generate", "--model", model, "--steps", "2", "--out", out, "--skip-map", "x.svg"];
    let said = place.ok(&[&args[..], &["--json", "run.json"]].concat());
    let said = said + &place.ok(&["inspect", model]) + &fs::read_to_string(place.path("x.svg")).unwrap();
    let said = said
        + &place
            .ok(&["compare", "--model", model, "--steps", "2", "--seeds", "1", "off", "--out", "c\u{1b}"]);
    assert!(!said.contains(|c| "\u{1b}\u{7}\u{202e}".contains(c)), "{said:?}");
    for name in [r"my model\u{1b}]0;owned\u{7} v2", r"a\u{1b}[2Jb\u{202e}.GIF", r"wrote c\u{1b}"] {
        assert!(said.contains(name), "no {name:?} in {said:?}");
    }
    assert!(fs::read(place.path(out)).unwrap().starts_with(b"GIF89a"));
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path("run.json")).unwrap()).unwrap();
    assert_eq!(record["model"], model.strip_suffix(".safetensors").unwrap());
}

#[test]
fn endings_are_matched_without_regard_to_case() {
    let place = Place::new();
    for (name, start) in [("a.GIF", &b"GIF89a"[..]), ("b.PnG", b"\x89PNG"), ("c.Y4M", b"YUV4MPEG2")] {
        place.ok(&["generate", "--device", "cpu", "--steps", "1", "--out", name]);
        assert!(fs::read(place.path(name)).unwrap().starts_with(start), "{name}");
    }
    place.generate("--steps 1 --out d.SafeTensors");
    assert_eq!(tensor(&place.path("d.SafeTensors"), "video").0, [3, 2, 10, 6]);
}

/// Every `steep generate` on every page, in every example of the help, and the demonstration: none draws noise.
#[test]
fn examples_keep_the_clip() {
    const LEAST: f64 = 25.0;
    let place = Place::new();
    let root = env!("CARGO_MANIFEST_DIR");
    let mut texts: Vec<String> = ["README.md", "docs/teacache.md", "docs/policies.md", "docs/performance.md"]
        .map(|page| fs::read_to_string(format!("{root}/{page}")).unwrap())
        .into();
    texts.push(place.ok(&["--help"]));
    texts.extend(["generate", "compare", "calibrate", "plan"].map(|verb| place.ok(&[verb, "--help"])));
    fs::create_dir(place.path("docs")).unwrap();
    let mut tried = 0;
    for line in texts.iter().flat_map(|text| text.lines()) {
        let Some(command) = line.trim().strip_prefix("steep generate ") else { continue };
        // What goes into another program, or comes out of one, is left to other tests.
        let mut args: Vec<&str> = command.split(" | ").next().unwrap().split_whitespace().collect();
        if args.contains(&"$(steep") || !args.contains(&"--cache") {
            continue;
        }
        if let Some(json) = args.iter().position(|arg| *arg == "--json") {
            args.drain(json..json + 2);
        }
        args.retain(|arg| !["--compare", "--quiet"].contains(arg));
        let said = place.ok(&[&["generate", "--compare", "--quiet", "--json", "-"], &args[..]].concat());
        let record: Value = serde_json::from_str(&said).unwrap();
        let psnr = record["psnr"].as_f64().unwrap();
        assert!(psnr >= LEAST, "{psnr:.1} dB: steep generate {command}");
        assert_eq!(record["warnings"], Value::Array(vec![]), "steep generate {command}");
        assert!(record["skipped"].as_u64().unwrap() > 0, "steep generate {command}");
        tried += 1;
    }
    assert!(tried >= 4, "{tried}");
}

/// What a cache could not decide is said, on standard error and in the record, and no run that decides is suspected.
#[test]
fn caches_that_cannot_decide_are_told() {
    let place = Place::new();
    for (steps, cache, words) in [
        ("50", "tea:0.2:wan2.1-t2v-14b", Some("rescaled 47 of 48 distances to 0")),
        ("100", "tea:0.2:wan2.1-t2v-14b", Some("rescaled 98 of 98 distances to 0")),
        ("150", "tea:0.04", Some("138 of 148 distances lie outside 0.0261 to 0.2094")),
        ("50", "tea:inf:identity", Some("no threshold can skip were computed, 2 of 50")),
        ("50", "fb:10", Some("no threshold can skip were computed, 1 of 50")),
        ("50", "tea:0.04", None),
        ("50", "tea:0.1:identity", None),
        ("50", "uniform:2", None),
        ("3", "tea:0.1:identity", None),
    ] {
        let args =
            ["generate", "--device", "cpu", "--quiet", "--json", "-", "--steps", steps, "--cache", cache];
        let out = place.run(&args);
        let record: Value = serde_json::from_slice(&out.stdout).unwrap();
        let warnings = record["warnings"].as_array().unwrap();
        let said = text(&out.stderr);
        match words {
            Some(words) => {
                assert!(said.contains(&format!("warning: {cache}: ")) && said.contains(words), "{said}");
                assert!(warnings.iter().any(|w| w.as_str().unwrap().contains(words)), "{record}");
            }
            None => assert!(warnings.is_empty() && said.is_empty(), "{cache}: {said}"),
        }
    }
    let out = place.run(
        &[
            &["compare", "tea:0.2:wan2.1-t2v-14b", "uniform:2", "--device", "cpu", "--seeds", "2"][..],
            &["--out", "c", "--quiet", "--digits", "none"],
        ]
        .concat(),
    );
    let said = text(&out.stderr);
    let of = "steep: warning: tea:0.2:wan2.1-t2v-14b, class 0, seed 0: the coefficients rescaled 47 of 48";
    assert!(out.status.success() && said.starts_with(of) && said.lines().count() == 1, "{said}");
}

#[test]
fn compare_writes_both_clips_side_by_side() {
    let place = Place::new();
    let picture = |more: &str| {
        let args = format!("generate --device cpu --steps 2 {more}");
        place.ok(&args.split(' ').collect::<Vec<_>>())
    };
    picture("--compare --cache uniform:2 --scale 3 --out x.y4m");
    let y4m = fs::read(place.path("x.y4m")).unwrap();
    // Two clips 32 wide, 1 between them; 32 high.
    assert!(y4m.starts_with(b"YUV4MPEG2 W195 H96 F8:1 "), "{}", String::from_utf8_lossy(&y4m[..40]));

    place.generate("--steps 4 --compare --cache uniform:2 --out x.safetensors");
    place.generate("--steps 4 --cache off --out plain.safetensors");
    let (shape, video) = tensor(&place.path("x.safetensors"), "video");
    let (_, uncached) = tensor(&place.path("x.safetensors"), "uncached");
    assert_eq!(shape, [3, 2, 10, 6]);
    assert_eq!(uncached, tensor(&place.path("plain.safetensors"), "video").1);
    assert_ne!(uncached, video);

    picture("--out x.png");
    assert!(fs::read(place.path("x.png")).unwrap().starts_with(b"\x89PNG"));
}

#[test]
fn one_seed_gives_one_file() {
    let place = Place::new();
    let file = |name: &str, settings: &str| {
        place.generate(&format!("--steps 5 --class 2 {settings} --out {name}.safetensors"));
        fs::read(place.path(&format!("{name}.safetensors"))).unwrap()
    };
    let first = file("a", "--seed 7 --cache tea:0.1");
    assert_eq!(first, file("b", "--seed 7 --cache tea:0.1"));
    assert_eq!(
        first,
        file("c", "--seed 7 --cache tea:0.1 --gate device"),
        "the gate's place changes nothing"
    );
    assert_ne!(first, file("d", "--seed 8 --cache tea:0.1"));
    let metadata = |bytes: &[u8]| {
        let (_, header) = safetensors::SafeTensors::read_metadata(bytes).unwrap();
        header.metadata().as_ref().unwrap()["steep"].clone()
    };
    let settings: Value = serde_json::from_str(&metadata(&first)).unwrap();
    assert_eq!(settings["seed"], 7);
    assert_eq!(settings["cache"], "tea:0.1");
    assert_eq!(settings["model"], "tiny-latte");
}

#[test]
fn a_cache_that_skips_nothing_changes_nothing() {
    let place = Place::new();
    let video = |cache: &str| {
        place.generate(&format!("--steps 5 --seed 3 --cache {cache} --out x.safetensors"));
        let (_, video) = tensor(&place.path("x.safetensors"), "video");
        video.into_iter().map(f32::to_bits).collect::<Vec<_>>()
    };
    let off = video("off");
    for never in ["tea:0", "tea:1e-12", "mask:11111", "uniform:1"] {
        assert_eq!(off, video(never), "{never}");
    }
    assert_ne!(off, video("tea:inf"));
}

#[test]
fn the_record_has_every_step() {
    let place = Place::new();
    let record: Value =
        serde_json::from_str(&place.generate(
            "--steps 6 --class 1 --seed 4 --guidance 2.1 --cache tea:0.2 --compare --quiet --json -",
        ))
        .unwrap();
    for (key, wanted) in [("dtype", "f32"), ("model", "tiny-latte"), ("cache", "tea:0.2"), ("gate", "host")] {
        assert_eq!(record[key], wanted);
    }
    assert!(record["device"].as_str().unwrap().starts_with("cpu ("));
    assert_eq!((&record["seed"], &record["class"]), (&4.into(), &1.into()));
    assert_eq!(record["guidance"], 2.1);
    assert_eq!(record["ssim"], Value::Null, "the clip is smaller than SSIM's window");
    assert!(record["psnr"].as_f64().unwrap() > 0.0);
    assert!(record["wall_ms"].as_f64().unwrap() > 0.0 && record["uncached_wall_ms"].as_f64().unwrap() > 0.0);

    let steps = record["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 6);
    let letters: String = steps.iter().map(|s| s["decision"].as_str().unwrap()).collect();
    let computed = letters.chars().filter(|&c| c != 'S').count();
    assert_eq!((&record["computed"], &record["skipped"]), (&computed.into(), &(6 - computed).into()));
    for (i, step) in steps.iter().enumerate() {
        let keys: Vec<_> = step.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["i", "d", "rescaled", "acc", "decision", "t", "ms"]);
        assert_eq!(step["i"], i);
        assert_eq!(step["d"].is_null(), i == 0);
        assert_eq!(step["rescaled"].is_null(), i == 0 || i == 5, "forced steps rescale nothing");
        assert!((step["t"].as_f64().unwrap() - 1000.0 * (1.0 - i as f64 / 6.0)).abs() < 1e-3);
        assert!(step["ms"].as_f64().unwrap() >= 0.0 && step["acc"].is_number());
    }

    // The record replays to the same decisions.
    let replayed = place.pipe(&record.to_string(), &["plan", "--threshold", "0.2", "-"]);
    assert_eq!(text(&replayed.stdout).lines().next().unwrap(), letters);
}

#[test]
fn without_a_comparison_there_is_no_quality() {
    let place = Place::new();
    place.generate("--steps 2 --json run.json");
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path("run.json")).unwrap()).unwrap();
    for absent in ["psnr", "ssim", "uncached_wall_ms"] {
        assert_eq!(record.get(absent), Some(&Value::Null), "{absent}");
    }
    assert_eq!(record["steps"][1]["d"], Value::Null, "`off` measures nothing");
    assert_eq!(place.names(), ["run.json"]);
}

/// A clip that goes nowhere is not dropped without a word; who asked for something else got it.
#[test]
fn a_clip_that_is_not_kept_is_told() {
    let place = Place::new();
    let told = |more: &str| {
        place
            .generate(&format!("--steps 2 {more}"))
            .contains("the clip was not written; --out FILE.gif writes it")
    };
    assert!(told("") && told("--cache uniform:2"));
    for more in ["--compare", "--out x.safetensors", "--skip-map map.svg", "--json run.json", "--quiet"] {
        assert!(!told(more), "{more}");
    }
}

#[test]
fn a_record_on_standard_output_has_it_to_itself() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let out = place.run(&["generate", "--model", &model, "--steps", "2", "--json", "-"]);
    assert!(serde_json::from_slice::<Value>(&out.stdout).is_ok());
    assert!(text(&out.stderr).contains("tiny-latte"), "the report goes to standard error");
    assert_eq!(place.generate("--steps 2 --quiet"), "");
}

/// A number means a class, in every verb. Without a class there is no guidance, and half the work.
#[test]
fn no_class_is_named_none() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    for verb in [&["generate", "--class", "4"][..], &["compare", "uniform:2", "--classes", "4", "--out", "x"]]
    {
        let said = complaint(&place.run(&[verb, &["--model", &model, "--steps", "2"]].concat()), 2);
        assert!(said.starts_with("class 4: wanted 0 to 3"), "{said}");
    }
    let clip = |name: &str, more: &str| {
        place.generate(&format!("--steps 3 --seed 5 --out {name}.safetensors {more}"));
        tensor(&place.path(&format!("{name}.safetensors")), "video").1
    };
    let none = clip("none", "--class none --json none.json");
    assert_eq!(none, clip("alone", "--class none --guidance 1"));
    assert_ne!(none, clip("zero", "--class 0 --guidance 1"));
    let record: Value = serde_json::from_str(&fs::read_to_string(place.path("none.json")).unwrap()).unwrap();
    assert_eq!(record["class"], "none");
}

#[test]
fn the_epsilon_model_and_the_small_types_run_too() {
    let place = Place::new();
    for dtype in ["f32", "f16", "bf16"] {
        let model = fixture("tiny-dit");
        let args = ["--steps", "3", "--dtype", dtype, "--guidance", "1", "--compare", "--cache", "mask:101"];
        let said = place.ok(&[&["generate", "--model", &model], &args[..]].concat());
        assert!(said.contains("CSC") && said.contains(dtype), "{said}");
    }
}

/// `STEEP_ISA` takes the processor's better instruction sets away, and another word is an error that names them.
#[test]
fn instruction_sets_can_be_limited() {
    let place = Place::new();
    let with = |isa: &str, args: &[&str]| place.command(args).env("STEEP_ISA", isa).output().unwrap();
    let sources = |isa: &str| {
        let out = with(isa, &["bench", "--op", "axpby", "--device", "cpu", "--shapes", "1x64", "--json"]);
        let results: Value = serde_json::from_str(&text(&out.stdout)).unwrap();
        let timed = results["devices"][0]["timed"].as_array().unwrap().clone();
        timed.iter().map(|row| row["source"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(sources("portable"), ["portable"]);
    assert!(!sources("avx2").contains(&"avx512".to_string()));
    for args in [&["generate", "--device", "cpu"][..], &["bench", "--device", "cpu"]] {
        let out = with("sse9", args);
        let said = text(&out.stderr);
        assert!(!out.status.success() && said.lines().count() == 1, "{said}");
        assert!(
            said.contains("STEEP_ISA=sse9") && said.contains("portable, avx2, avx512, avx512_bf16"),
            "{said}"
        );
    }
}

#[test]
fn devices_and_inspect_say_what_is_there() {
    let place = Place::new();
    assert!(place.ok(&["devices"]).lines().any(|l| l.starts_with("cpu ")));
    let devices: Value = serde_json::from_str(&place.ok(&["devices", "--json"])).unwrap();
    assert!(devices.as_array().unwrap().iter().any(|d| d["name"] == "cpu"));

    assert!(place.ok(&["inspect"]).contains("4.19 M"));
    let model = fixture("tiny-latte");
    let json: Value = serde_json::from_str(&place.ok(&["inspect", &model, "--json", "--tensors"])).unwrap();
    assert_eq!(json["config"]["dim"], 96);
    let sizes = json["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["shape"].as_array().unwrap().iter().map(|n| n.as_u64().unwrap()).product::<u64>());
    assert_eq!(json["parameters"], sizes.sum::<u64>());
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let place = Place::new();
    for verb in ["plan --list", "--help", "help", "generate --help", "help compare", "--version", "inspect"] {
        for reader in ["head -n 1", "true"] {
            let out = place.shell(&format!("set -o pipefail; {STEEP} {verb} | {reader}"));
            assert!(out.status.success() && out.stderr.is_empty(), "{verb}: {}", text(&out.stderr));
        }
    }
}

#[test]
fn help_ends_well_and_has_an_example() {
    let place = Place::new();
    assert!(place.ok(&["--help"]).contains("steep generate --class 6 --compare"));
    for verb in ["generate", "calibrate", "compare", "plan", "forward", "inspect", "devices"] {
        let help = place.ok(&[verb, "--help"]);
        assert!(help.contains("Example") && help.contains(&format!("steep {verb}")), "{help}");
    }
    for verb in ["generate", "calibrate", "compare", "plan", "forward", "bench"] {
        let help = place.ok(&[verb, "--help"]).split_whitespace().collect::<Vec<_>>().join(" ");
        for name in ["auto, cpu, wgpu, wgpu:N, wgpu:core, wgpu:N:core, cuda or cuda:N", "`auto` is the best"]
        {
            assert!(help.contains(name), "{verb}: no {name:?} in {help}");
        }
    }
}

/// A speedup is printed with its interval or not at all, and never where there can be none.
#[test]
fn a_speedup_is_known_or_not_told() {
    let place = Place::new();
    let run = |cache: &str| {
        let said = place.generate(&format!("--steps 8 --compare --cache {cache} --json r.json"));
        let record = fs::read_to_string(place.path("r.json")).unwrap();
        (said, serde_json::from_str::<Value>(&record).unwrap())
    };
    let (said, record) = run("off");
    assert!(!said.contains("faster") && !said.contains('%') && said.contains("off skips nothing"), "{said}");
    assert_eq!(record["speedup"], Value::Null);
    for cache in ["uniform:2", "tea:0"] {
        let (said, record) = run(cache);
        let pairs = record["timed_pairs"].as_u64().unwrap();
        assert!((3..=24).contains(&pairs), "runs of milliseconds are repeated: {record}");
        let ratio = record["uncached_wall_ms"].as_f64().unwrap() / record["wall_ms"].as_f64().unwrap();
        let Some(value) = record["speedup"]["value"].as_f64() else {
            assert!(
                said.contains("too noisy to time") && !said.contains('±') && !said.contains('%'),
                "{said}"
            );
            continue;
        };
        let half = record["speedup"]["half"].as_f64().unwrap();
        assert!((value - ratio).abs() < 1e-6 && half <= 0.2 * value, "{record}");
        assert!(said.contains(&format!("{value:.2} ± {half:.2}× ")), "{said}");
        assert!(said.contains(&format!("{pairs} pairs of runs")), "{said}");
        assert_eq!(said.contains("faster"), value - half > 1.0, "{said}");
        let percents = said.split(' ').zip(said.split(' ').skip(1)).filter(|(_, unit)| *unit == "%");
        assert!(percents.into_iter().all(|(p, _)| p.parse::<f64>().unwrap() <= 100.0), "{said}");
    }
}
