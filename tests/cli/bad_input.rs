//! Bad input: one line, exit status 2, nothing overwritten.

use std::fs;
use std::process::Command;

use crate::common::checkpoint::{checkpoint, file};
use crate::{Place, STEEP, complaint, fixture};

/// Runs `generate` onto a file that exists, and returns the complaint.
#[track_caller]
fn refused(args: &[&str]) -> String {
    let place = Place::new();
    fs::write(place.path("x.safetensors"), "kept").unwrap();
    let out = place.run(&[&["generate", "--out", "x.safetensors", "--steps", "3"], args].concat());
    let said = complaint(&out, 2);
    assert_eq!(fs::read_to_string(place.path("x.safetensors")).unwrap(), "kept");
    assert_eq!(place.names(), ["x.safetensors"]);
    said
}

/// [`refused`], and the complaint has these words.
#[track_caller]
fn refuses(args: &[&str], words: &[&str]) {
    let said = refused(args);
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
}

/// A setting twice is a usage error, so these go without the defaults of [`refused`].
#[track_caller]
fn refuses_settings(args: &[&str], words: &[&str]) {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let said = complaint(&place.run(&[&["generate", "--model", &model], args].concat()), 2);
    for word in words {
        assert!(said.contains(word), "no {word:?} in {said:?}");
    }
    assert!(place.names().is_empty());
}

#[test]
fn settings_out_of_range() {
    let latte = fixture("tiny-latte");
    let model = ["--model", &latte];
    for (args, words) in [
        (["--class", "5"], &["class 5", "0 to 3"][..]),
        (["--class", "-1"], &["'-1'"]),
        (["--class", "two"], &["class 'two'", "have no names"]),
        (["--class", "2.5"], &["'2.5'", "the number or the name of a class"]),
        (["--cache", "tea:-1"], &["tea:-1", "from 0 to inf"]),
        (["--cache", "tea:nan"], &["tea:nan", "from 0 to inf"]),
        (["--cache", "mask:10"], &["mask:10", "3 digits", "got 2"]),
        (["--cache", "mask:011"], &["begins with 1"]),
        (["--cache", "tea:0.1:no-such-model"], &["no-such-model", "latte-1"]),
        (["--cache", "sometimes"], &["sometimes", "uniform:N"]),
        (["--device", "abacus"], &["abacus", "cpu", "wgpu:core", "cuda:N"]),
        (["--dtype", "f8"], &["f8", "bf16"]),
        (["--guidance", "NaN"], &["guidance NaN", "finite"]),
        (["--fps", "0"], &["--fps", "1..=1000"]),
        (["--scale", "65"], &["--scale", "1..=64"]),
        (["--gate", "nobody"], &["nobody", "host, device"]),
    ] {
        refuses(&[&model[..], &args].concat(), words);
    }
}

/// A number below zero is complained of by the name of its option.
#[test]
fn numbers_below_zero_name_their_option() {
    for (args, words) in [
        (
            &["generate", "--seed", "-1"][..],
            &["--seed -1", "wanted 0 to 18446744073709551615", "$RANDOM"][..],
        ),
        (&["generate", "--seed", "random"], &["--seed random", "$RANDOM"]),
        (&["generate", "--seed", "18446744073709551616"], &["--seed 18446744073709551616", "0 to"]),
        (&["plan", "--search", "5", "--seed", "-1"], &["--seed -1", "0 to"]),
        (&["plan", "--search", "-5"], &["--search -5", "a whole number from 0"]),
        (&["generate", "--steps", "-3"], &["--steps -3", "a whole number from 0"]),
        (&["generate", "--fps", "-3"], &["-3", "--fps", "1..=1000"]),
        (&["calibrate", "--first-seed", "-1"], &["--first-seed -1", "a whole number from 0"]),
        (&["compare", "--seeds", "-1"], &["--seeds -1", "a whole number from 0"]),
        (&["compare", "--classes", "0,x"], &["classes \"0,x\"", "not \"x\""]),
        (&["compare", "--classes", "3,1,3"], &["classes \"3,1,3\"", "each class once, not 3 twice"]),
        (&["compare", "--classes", "-1"], &["classes \"-1\"", "not \"-1\""]),
        (&["compare", "--shard", "3/2"], &["shard \"3/2\"", "i/n with i from 1 to n"]),
        (&["compare", "--shard", "-1"], &["shard \"-1\"", "i/n with i from 1 to n"]),
    ] {
        let said = complaint(&Place::new().run(args), 2);
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said:?}");
        }
    }
}

#[test]
fn steps_out_of_range() {
    refuses_settings(&["--steps", "0"], &["steps 0"]);
    refuses_settings(&["--steps", "18446744073709551615"], &["1 to 100000"]);
    let dit = fixture("tiny-dit");
    let said = complaint(&Place::new().run(&["generate", "--model", &dit, "--steps", "1001"]), 2);
    assert!(said.contains("1 to 1000"), "{said}");
}

#[test]
fn usage_errors_are_one_line_too() {
    for (args, words) in [
        (&["generate", "--stesp", "3"][..], &["--stesp", "'--steps'"][..]),
        (&["dream"], &["dream"]),
        (&["plan"], &["--threshold", "FILE"]),
        (&["forward"], &["--out", "IN"]),
    ] {
        let said = complaint(&Place::new().run(args), 2);
        for word in words {
            assert!(said.contains(word), "no {word:?} in {said:?}");
        }
        assert!(!said.contains("Usage"), "{said}");
    }
}

/// The small Latte with its bytes changed.
fn damaged(place: &Place, damage: impl Fn(&mut Vec<u8>)) -> String {
    let mut bytes = fs::read(fixture("tiny-latte")).unwrap();
    damage(&mut bytes);
    let path = place.path("damaged.safetensors");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_string()
}

/// Replaces text in the header by as much text.
fn edit(bytes: &mut [u8], from: &str, to: &str) {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
    bytes[at..][..to.len()].copy_from_slice(to.as_bytes());
}

#[test]
fn checkpoints_that_cannot_be_used() {
    let place = Place::new();
    refuses(&["--model", "missing.safetensors"], &["missing.safetensors", "No such file"]);
    refuses(&["--model", "."], &["./x.safetensors", "not a whole"]);
    type Damage = fn(&mut Vec<u8>);
    let cases: [(Damage, &[&str]); 9] = [
        (|b| b.truncate(b.len() - 1), &["not a whole safetensors file"]),
        (|b| b.truncate(100), &["not a whole safetensors file"]),
        (|b| b.clear(), &["is empty"]),
        (|b| edit(b, r#"depth\": 4"#, r#"depth\": 5"#), &["blocks.4.", "missing"]),
        (|b| edit(b, r#"depth\": 4"#, r#"depth\": 3"#), &["blocks.3.", "not part of this model"]),
        (|b| edit(b, r#"heads\": 2"#, r#"heads\": 0"#), &["heads 0"]),
        (|b| edit(b, r#"dim\": 96"#, r#"dim\": 98"#), &["wanted", "98"]),
        (|b| edit(b, r#""config""#, r#""gifnoc""#), &["do not tell how many heads"]),
        (
            |b| {
                let end = b.len();
                b[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
            },
            &["NaN", "wanted finite weights"],
        ),
    ];
    for (damage, words) in cases {
        let model = damaged(&place, damage);
        refuses(&["--model", &model], &[&["damaged.safetensors"], words].concat());
    }
}

/// Outputs are looked at before the work: these would run for hours.
#[test]
fn outputs_that_cannot_be_written() {
    for (args, words) in [
        (&["--out", "none/x.gif"][..], &["none/x.gif", "existing folder"][..]),
        (&["--out", "x.avi"], &["x.avi", ".gif, .png, .y4m or .safetensors"]),
        (&["--out", "gif"], &["wanted a name that ends in"]),
        (&["--skip-map", "."], &["folder"]),
        (&["--json", "none/run.json"], &["none/run.json"]),
        (&["--out", "a.gif", "--json", "./a.gif"], &["named twice"]),
    ] {
        refuses_settings(&[&["--steps", "100000"], args].concat(), words);
    }
}

#[test]
fn the_model_is_not_written_over() {
    let place = Place::new();
    let model = damaged(&place, |_| ());
    let before = fs::read(&model).unwrap();
    for out in ["damaged.safetensors", "./damaged.safetensors", &model] {
        let args = ["generate", "--model", &model, "--steps", "1", "--out", out];
        assert!(complaint(&place.run(&args), 2).contains("is an input"));
    }
    let input = fixture("tiny-latte.fixture");
    let args = ["forward", &input, "--model", &model, "--out", &model];
    assert!(complaint(&place.run(&args), 2).contains("is an input"));
    assert_eq!(fs::read(&model).unwrap(), before);
}

/// Whatever a run has read, by whatever name: the model, the calibration beside it, a table of magnitudes, recorded pairs, the
/// classifier, inputs, results.
#[cfg(unix)]
#[test]
fn nothing_that_was_read_is_written_over() {
    let place = Place::new();
    let copy = |from: &str, to: &str| {
        fs::copy(from, place.path(to)).unwrap();
    };
    copy(&fixture("tiny-latte"), "m.safetensors");
    copy(&fixture("tiny-latte.fixture"), "in.safetensors");
    copy(concat!(env!("CARGO_MANIFEST_DIR"), "/models/digits.safetensors"), "digits.safetensors");
    let calibrated = place.run(&words("calibrate --model m.safetensors --steps 8 --seeds 1 --pairs p.jsonl"));
    assert!(calibrated.status.success());
    copy(place.path("m.teacache.json").to_str().unwrap(), "table.json");
    fs::create_dir(place.path("out")).unwrap();
    place.ok(&words("compare --model m.safetensors --steps 8 --seeds 1 --digits none uniform:2 --out made"));
    copy(place.path("made/results.json").to_str().unwrap(), "results.json");

    let compare = "compare --model m.safetensors --steps 8 --seeds 1 --out out --digits none";
    let made_by_compare = "out/table.csv";
    for (input, args, output) in [
        ("m.safetensors", "generate --model m.safetensors --out x.safetensors", "x.safetensors"),
        ("m.safetensors", "generate --model m.safetensors --json x.json", "x.json"),
        ("m.safetensors", "generate --model m.safetensors --skip-map x.svg", "x.svg"),
        (
            "m.teacache.json",
            "generate --model m.safetensors --steps 8 --cache tea:0.1 --json x.json",
            "x.json",
        ),
        (
            "table.json",
            "generate --model m.safetensors --steps 8 --cache mag:0.1@table.json --json x.json",
            "x.json",
        ),
        (
            "in.safetensors",
            "forward in.safetensors --model m.safetensors --out x.safetensors",
            "x.safetensors",
        ),
        (
            "m.safetensors",
            "forward in.safetensors --model m.safetensors --out x.safetensors",
            "x.safetensors",
        ),
        (
            "p.jsonl",
            "calibrate --model m.safetensors --steps 8 --seeds 1 --pairs p.jsonl --out x.json",
            "x.json",
        ),
        (
            "p.jsonl",
            "calibrate --model m.safetensors --steps 8 --seeds 1 --pairs p.jsonl --plot x.svg",
            "x.svg",
        ),
        ("m.safetensors", "calibrate --model m.safetensors --steps 8 --seeds 1 --out x.json", "x.json"),
        ("m.safetensors", &format!("{compare} uniform:2"), made_by_compare),
        ("m.teacache.json", &format!("{compare} tea:0.1"), made_by_compare),
        ("table.json", &format!("{compare} mag:0.1@table.json"), made_by_compare),
        (
            "digits.safetensors",
            "compare --steps 8 --seeds 1 --out out uniform:2 --digits digits.safetensors",
            made_by_compare,
        ),
        ("results.json", "compare --redraw results.json --out out", "out/pareto.svg"),
    ] {
        let before = fs::read(place.path(input)).unwrap();
        let link = place.path(output);
        for hard in [false, true] {
            let made = if hard { fs::hard_link } else { link_to }(place.path(input), &link);
            made.unwrap();
            let said = complaint(&place.run(&words(args)), 2);
            assert!(said.contains(output) && said.contains("is an input"), "{args}, hard {hard}: {said}");
            assert!(fs::read(&link).unwrap() == before, "{args}: written over");
            fs::remove_file(&link).unwrap();
        }
        // By its own path.
        let direct = args.replace(output, &format!("./{input}"));
        if direct != args && !args.contains("--out x.safetensors") {
            let said = complaint(&place.run(&words(&direct)), 2);
            assert!(said.contains("is an input"), "{direct}: {said}");
        }
        assert!(fs::read(place.path(input)).unwrap() == before, "{args}: written over");
    }
}

#[cfg(unix)]
fn link_to(input: std::path::PathBuf, link: &std::path::PathBuf) -> std::io::Result<()> {
    std::os::unix::fs::symlink(input, link)
}

fn words(line: &str) -> Vec<&str> {
    line.split(' ').collect()
}

/// Numbers that nobody means are refused at once, and not when time or memory has run out.
#[test]
fn absurd_numbers_are_refused_at_once() {
    let place = Place::new();
    fs::write(place.path("d.txt"), "0.1 0.2 0.3").unwrap();
    let latte = fixture("tiny-latte");
    let start = std::time::Instant::now();
    for (args, word) in [
        ("generate --steps 1000000000000000000 --cache uniform:2", "1 to 100000"),
        ("generate --steps 3 --fps 4000000000", "1..=1000"),
        ("compare uniform:2 --seeds 1000000000000000000", "1..=1000000"),
        ("compare uniform:2 --seeds 1 --shard 1/18446744073709551615", "n up to 1000000"),
        ("compare uniform:2 --seeds 1 --shard auto --shards 18446744073709551615", "1..=1000000"),
        ("compare steps:1000000000000000000 --seeds 1", "1 to 100000"),
        ("calibrate --seeds 1000000000000000000", "..=1000000"),
        ("calibrate --seeds 1 --target-speedup 2 --target-clips 18446744073709551615", "1..=1000000"),
        ("plan --search 10 --steps 1000000000000000000", "at most 1000"),
        ("plan --search 18446744073709551615 --steps 18446744073709551615", "at most 1000"),
        ("plan --search 3 --steps 5 --runs 18446744073709551615", "--runs"),
    ] {
        let said =
            complaint(&place.run(&[&words(args)[..], &["--model", &latte, "--device", "cpu"]].concat()), 2);
        assert!(said.contains(word), "{args}: no {word:?} in {said:?}");
    }
    let said = complaint(&place.run(&words("plan --threshold 0.1 --steps 1000000000000000000 d.txt")), 2);
    assert!(said.contains("--steps 1000000000000000000"), "{said}");
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    // These are fine: the seeds go on at 0, and no stretch of steps is too long.
    let seeds =
        "calibrate --steps 8 --first-seed 18446744073709551615 --seeds 2 --classes 0 --out c.json --quiet";
    let longest =
        "plan --search 3 --steps 5 --longest 18446744073709551615 --seed 18446744073709551615 --runs 5";
    for args in [seeds, longest] {
        let out = place.run(&[&words(args)[..], &["--model", &latte, "--device", "cpu"]].concat());
        assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
    }
}

#[test]
fn threads_are_as_many_as_make_sense() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let run = |threads: &str| {
        let args = ["generate", "--model", &model, "--steps", "1", "--device", "cpu"];
        place.command(&args).env("RAYON_NUM_THREADS", threads).output().unwrap()
    };
    for absurd in ["100000", "18446744073709551615", "99999999999999999999", "-1", "many"] {
        let said = complaint(&run(absurd), 2);
        assert!(said.starts_with(&format!("RAYON_NUM_THREADS={absurd}: wanted 1 to ")), "{said}");
    }
    for (threads, word) in [("1", "(1 thread, "), ("3", "(3 threads, "), ("256", "(256 threads, ")] {
        let out = run(threads);
        assert!(
            out.status.success() && String::from_utf8_lossy(&out.stdout).contains(word),
            "{threads}: {out:?}"
        );
    }
    for default in ["", "0"] {
        assert!(run(default).status.success());
    }
    // There is no room for their stacks.
    #[cfg(target_os = "linux")]
    {
        let script =
            format!("ulimit -v 300000; exec {STEEP} generate --model {model} --steps 1 --device cpu");
        let mut command = Command::new("bash");
        let out = command.args(["-c", &script]).env("RAYON_NUM_THREADS", "256").output().unwrap();
        let said = complaint(&out, 2);
        assert!(said.contains("256 threads") && said.contains("wanted fewer"), "{said}");
    }
}

/// Runs in a process that may address so many kibibytes.
fn limited(place: &Place, kibi: u32, args: &str) -> std::process::Output {
    let script = format!("ulimit -v {kibi}; exec {STEEP} {args} --device cpu");
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(place.0.path()).env("RAYON_NUM_THREADS", "1");
    command.output().unwrap()
}

/// A small file that describes a large run, which is refused before anything is done.
#[cfg(target_os = "linux")]
#[test]
fn a_run_that_does_not_fit_is_refused_at_once() {
    let place = Place::new();
    let config = r#"{"frames":65536,"height":8,"width":8,"channels":1,"patch":2,"dim":64,"depth":2,"heads":2,"mlp_ratio":4,"classes":2,"temporal":false,"learn_sigma":false,"prediction":"velocity"}"#;
    let (header, data) = checkpoint(config);
    fs::write(place.path("m.safetensors"), file(header.to_string().as_bytes(), &data)).unwrap();
    let start = std::time::Instant::now();
    for args in [
        "generate --model m.safetensors --out x.gif",
        "compare --model m.safetensors --digits none uniform:2 --seeds 1",
        "calibrate --model m.safetensors --seeds 1",
        "plan --search 10 --model m.safetensors",
    ] {
        let said = complaint(&limited(&place, 4_000_000, args), 2);
        for words in ["this run takes ", " GB of memory (", "activations 5.94 GB, ", "that are free here"] {
            assert!(said.contains(words), "{args}: no {words:?} in {said:?}");
        }
    }
    let said = complaint(&limited(&place, 4_000_000, "bench --op linear --shapes 8192x8192x8192"), 2);
    assert!(
        said.contains(
            "this run takes 6.98 GB of memory (checking 4.83 GB, ceilings 1.34 GB, tensors 805.3 MB"
        ),
        "{said}"
    );
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
    // What it would take can be asked.
    let said = place.ok(&["inspect", "m.safetensors"]);
    assert!(said.contains("GB (weights 0.7 MB, activations 5.94 GB"), "{said}");
}

/// Frames are made one at a time: at 64 times their size, the clip's values would take 268 MB, and did so several times.
#[cfg(target_os = "linux")]
#[test]
fn a_large_picture_takes_little_memory() {
    let place = Place::new();
    let out = limited(&place, 420_000, "generate --steps 1 --scale 64 --out x.y4m --quiet");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let written = fs::metadata(place.path("x.y4m")).unwrap().len();
    assert!(written > 16 * 2048 * 2048, "{written}");
}

/// What a format cannot hold is known before the work: these would run for hours.
#[test]
fn pictures_that_a_format_cannot_hold() {
    for model in ["tiny-latte", "tiny-dit"] {
        let channels = if model == "tiny-latte" { "2 channels" } else { "4 channels" };
        for out in ["x.gif", "x.png", "x.y4m"] {
            let place = Place::new();
            let model = fixture(model);
            let args = ["generate", "--model", &model, "--steps", "1000", "--sampler", "ab4", "--out", out];
            let said = complaint(&place.run(&args), 2);
            assert!(
                said.starts_with(out) && said.contains(channels) && said.contains(".safetensors"),
                "{said}"
            );
            assert!(place.names().is_empty());
        }
    }
    // 1025 columns fit a GIF at 63, not at 64; two clips side by side are wider than one.
    let place = Place::new();
    let wide = place.path("wide.safetensors");
    fs::write(&wide, untrained(1024)).unwrap();
    let base = ["generate", "--model", "wide.safetensors", "--device", "cpu"];
    let run = |more: &str| place.run(&base.into_iter().chain(more.split(' ')).collect::<Vec<_>>());
    let said = complaint(&run("--steps 100000 --scale 64 --out x.gif"), 2);
    for words in ["x.gif", "65536 by 128 pixels", "at most 65535", "--scale than 64"] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    assert!(complaint(&run("--steps 100000 --compare --scale 40 --out x.gif"), 2).contains("81960 by 80"));
    assert!(run("--steps 1 --quiet --scale 63 --out x.gif").status.success());
    assert!(run("--steps 1 --quiet --scale 64 --out x.png").status.success());
}

/// A model of grey clips of one frame, 2 rows high, that draws noise.
fn untrained(width: usize) -> Vec<u8> {
    let config = format!(
        r#"{{"frames":1,"height":2,"width":{width},"channels":1,"patch":2,"dim":8,"depth":1,"heads":1,"mlp_ratio":1,"classes":1,"temporal":false,"learn_sigma":false,"prediction":"velocity"}}"#
    );
    let mut shapes: Vec<(String, Vec<usize>)> = vec![
        ("pos_embed".into(), vec![1, width / 2, 8]),
        ("y_embedder.embedding_table.weight".into(), vec![2, 8]),
    ];
    for (name, shape) in [
        ("x_embedder.proj", vec![8, 1, 2, 2]),
        ("t_embedder.mlp.0", vec![8, 256]),
        ("t_embedder.mlp.2", vec![8, 8]),
        ("blocks.0.adaLN_modulation.1", vec![48, 8]),
        ("blocks.0.attn.qkv", vec![24, 8]),
        ("blocks.0.attn.proj", vec![8, 8]),
        ("blocks.0.mlp.fc1", vec![8, 8]),
        ("blocks.0.mlp.fc2", vec![8, 8]),
        ("final_layer.adaLN_modulation.1", vec![16, 8]),
        ("final_layer.linear", vec![4, 8]),
    ] {
        shapes.push((format!("{name}.bias"), vec![shape[0]]));
        shapes.push((format!("{name}.weight"), shape));
    }
    let zeros = vec![0; 4 * shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).max().unwrap()];
    let view = |shape: &Vec<usize>| {
        let data = &zeros[..4 * shape.iter().product::<usize>()];
        safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape.clone(), data).unwrap()
    };
    let views = shapes.iter().map(|(name, shape)| (name, view(shape)));
    let metadata = std::collections::HashMap::from([("config".to_string(), config)]);
    safetensors::serialize(views, Some(metadata)).unwrap()
}

/// A limit of 1 KiB on the size of files stands in for a full disk. All files or none.
#[test]
fn a_full_disk_leaves_everything_as_it_was() {
    let place = Place::new();
    let names = ["map.svg", "run.json", "x.safetensors"];
    for name in names {
        fs::write(place.path(name), "kept").unwrap();
    }
    let settings = "--steps 1 --json run.json --skip-map map.svg --out x.safetensors";
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {STEEP} generate --model {} {settings}",
        fixture("tiny-latte")
    );
    let out = Command::new("bash").args(["-c", &script]).current_dir(place.0.path()).output().unwrap();
    assert!(complaint(&out, 2).contains("x.safetensors: wanted to write"));
    for name in names {
        assert_eq!(fs::read_to_string(place.path(name)).unwrap(), "kept", "{name}");
    }
    assert_eq!(place.names(), names, "no temporary file is left");
}
