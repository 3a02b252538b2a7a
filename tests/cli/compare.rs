//! `steep compare`: rounds, parts, tables.

use std::fs;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{Place, complaint, fixture, text, without_plan};

/// The small Latte, four steps, three policies.
const POLICIES: &str = "uniform:2 tea:0.5 steps:2";

fn compare(place: &Place, more: &str) -> Output {
    let args = format!("compare --model {} --device cpu --steps 5 {more}", fixture("tiny-latte"));
    place.run(&args.split_whitespace().collect::<Vec<_>>())
}

#[track_caller]
fn ok(out: Output) -> String {
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    text(&out.stdout)
}

fn results(place: &Place, folder: &str) -> Value {
    serde_json::from_str(&fs::read_to_string(place.path(folder).join("results.json")).unwrap()).unwrap()
}

/// Without what is measured with a clock.
fn timeless(place: &Place, folder: &str) -> Value {
    let mut all = results(place, folder);
    for row in all["rows"].as_array_mut().unwrap() {
        for timed in ["wall_ms", "speedup", "share"] {
            assert!(row.as_object_mut().unwrap().remove(timed).is_some());
        }
    }
    all
}

#[test]
fn a_comparison_is_written_whole() {
    let place = Place::new();
    let said = ok(compare(&place, &format!("{POLICIES} --seeds 3 --out c")));
    for part in ["tiny-latte, 3 clips", "uncached", "uniform:2", "tea:0.5", "steps:2", "±", "PSNR", "wrote c"]
    {
        assert!(said.contains(part), "no {part:?} in\n{said}");
    }
    assert!(said.lines().all(|l| l.chars().count() <= 130), "{said}");
    let mut names: Vec<_> = fs::read_dir(place.path("c")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "clips.gif",
            "decisions.svg",
            "map-tea-0.5.svg",
            "map-uniform-2.svg",
            "pareto.svg",
            "results.json",
            "rounds.jsonl",
            "table.csv",
            "table.md",
        ]
    );
    let all = results(&place, "c");
    let rows = all["rows"].as_array().unwrap();
    let policies: Vec<_> = rows.iter().map(|r| r["policy"].as_str().unwrap()).collect();
    assert_eq!(policies, ["uncached", "uniform:2", "tea:0.5", "steps:2"]);
    let value = |row: usize, key: &str| rows[row][key]["value"].as_f64().unwrap();
    // uniform:2 computes steps 0, 2 and 4 of 5.
    assert_eq!((value(1, "computed"), value(3, "computed"), value(0, "computed")), (3.0, 2.0, 5.0));
    assert_eq!(rows[1]["by_step"], json!([1.0, 0.0, 1.0, 0.0, 1.0]));
    assert_eq!((value(1, "bound"), value(0, "speedup"), value(0, "share")), (5.0 / 3.0, 1.0, 1.0));
    assert!((value(1, "share") - value(1, "speedup") / value(1, "bound")).abs() < 1e-12);
    assert!((0..4).all(|row| value(row, "wall_ms") > 0.0));
    assert_eq!(rows[0]["psnr"], Value::Null, "nothing is compared with itself");
    assert!(value(1, "psnr") > 0.0 && rows[1]["psnr"]["half"].as_f64().unwrap() > 0.0);
    assert!(value(1, "foreground_psnr") > 0.0);
    // Six columns are less than the window of SSIM; two channels are no picture of a digit.
    for absent in ["ssim", "accuracy", "frechet", "frechet_real"] {
        assert_eq!(rows[1][absent], Value::Null, "{absent}");
    }
    // The mean over seeds and its interval, by hand.
    let lines = fs::read_to_string(place.path("c/rounds.jsonl")).unwrap();
    let rounds: Vec<Value> = lines.lines().skip(2).map(|l| serde_json::from_str(l).unwrap()).collect();
    let psnrs: Vec<f64> = rounds.iter().map(|r| r["runs"][1]["psnr"].as_f64().unwrap()).collect();
    let mean = psnrs.iter().sum::<f64>() / 3.0;
    let deviation = (psnrs.iter().map(|p| (p - mean).powi(2)).sum::<f64>() / 2.0).sqrt();
    assert!((value(1, "psnr") - mean).abs() < 1e-9);
    let half = rows[1]["psnr"]["half"].as_f64().unwrap();
    assert!((half - 4.30265 * deviation / 3f64.sqrt()).abs() < 1e-6 * half.max(1.0), "{half}");
    // Each seed has its class.
    let classes: Vec<_> = rounds.iter().map(|r| r["class"].as_u64().unwrap()).collect();
    assert_eq!(classes, [0, 1, 2]);

    let csv = fs::read_to_string(place.path("c/table.csv")).unwrap();
    let head = csv.lines().next().unwrap().split(',').count();
    assert!(csv.lines().count() == 5 && csv.lines().all(|l| l.split(',').count() == head));
    assert!(csv.starts_with("policy,clips,computed,computed_half,wall_ms,"));
    assert_eq!(fs::read_to_string(place.path("c/table.md")).unwrap().lines().count(), 6);
    let pareto = fs::read_to_string(place.path("c/pareto.svg")).unwrap();
    for family in ["uniform:…", "tea:…", "steps:…"] {
        assert!(pareto.contains(family), "no {family} in the legend");
    }
    assert!(fs::read(place.path("c/clips.gif")).unwrap().starts_with(b"GIF89a"));

    // A second time, nothing is left to run.
    let rounds = fs::read(place.path("c/rounds.jsonl")).unwrap();
    assert_eq!(ok(compare(&place, &format!("{POLICIES} --seeds 3 --out c"))), without_plan(&said));
    assert_eq!(fs::read(place.path("c/rounds.jsonl")).unwrap(), rounds);
    // As `generate` would have it.
    let args =
        ["generate", "--model", &fixture("tiny-latte"), "--device", "cpu", "--steps", "5", "--seed", "2"];
    let more = ["--class", "2", "--cache", "tea:0.5", "--compare", "--quiet", "--json", "-"];
    let record: Value = serde_json::from_str(&place.ok(&[&args[..], &more].concat())).unwrap();
    let last: Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(record["psnr"], last["runs"][2]["psnr"]);
}

/// Any number of parts makes the same whole.
#[test]
fn parts_together_are_the_whole() {
    let place = Place::new();
    let settings = format!("{POLICIES} --seeds 5 --classes 1,3");
    ok(compare(&place, &format!("{settings} --out whole --quiet")));
    let whole = timeless(&place, "whole");
    assert_eq!(whole["rounds"], 10);
    for n in [2, 3] {
        let folder = format!("by{n}");
        let mut parts = vec![];
        // Last first: the order of parts is nothing.
        for i in (1..=n).rev() {
            let said = ok(compare(&place, &format!("{settings} --out {folder} --shard {i}/{n}")));
            assert!(said.contains(&format!("rounds-{i}of{n}.jsonl")), "{said}");
            parts.push(format!("{folder}/rounds-{i}of{n}.jsonl"));
        }
        assert!(!place.path(&folder).join("table.csv").exists());
        let merge = format!("compare --out {folder} --quiet --merge {}", parts.join(" "));
        ok(place.run(&merge.split(' ').collect::<Vec<_>>()));
        assert_eq!(timeless(&place, &folder), whole);
        for same in ["decisions.svg", "map-tea-0.5.svg", "clips.gif"] {
            let read = |folder: &str| fs::read(place.path(folder).join(same)).unwrap();
            assert!(read(&folder) == read("whole"), "{same}");
        }
    }
    // The scheduler says which part.
    let args = format!(
        "compare --model {} --device cpu --steps 5 {settings} --out slurm --shard auto",
        fixture("tiny-latte")
    );
    let args: Vec<&str> = args.split_whitespace().collect();
    let mut command = place.command(&args);
    ok(command.env("SLURM_ARRAY_TASK_ID", "1").env("SLURM_ARRAY_TASK_COUNT", "2").output().unwrap());
    let rounds = |path: &str| {
        let text = fs::read_to_string(place.path(path)).unwrap();
        text.lines()
            .skip(2)
            .map(|l| serde_json::from_str::<Value>(l).unwrap()["seed"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(rounds("slurm/rounds-2of2.jsonl"), rounds("by2/rounds-2of2.jsonl"));
    let mut command = place.command(&[&args[..], &["--shards", "3"]].concat());
    ok(command.env("JOB_COMPLETION_INDEX", "2").output().unwrap());
    assert_eq!(rounds("slurm/rounds-3of3.jsonl"), rounds("by3/rounds-3of3.jsonl"));

    // A part that is missing is told, one that is there twice is refused.
    let merge = |files: &str| {
        let args = format!("compare --out merged --merge {files}");
        place.run(&args.split(' ').collect::<Vec<_>>())
    };
    let out = merge("by2/rounds-1of2.jsonl");
    assert!(
        out.status.success() && text(&out.stderr).contains("2 of 5 seeds are in no part"),
        "{}",
        text(&out.stderr)
    );
    let said = complaint(&merge("by2/rounds-1of2.jsonl by3/rounds-1of3.jsonl"), 2);
    assert!(
        said.contains("by3/rounds-1of3.jsonl") && said.contains("a second time; wanted each once"),
        "{said}"
    );
}

/// Killed in the middle of a round, and again in the middle of a line: the same numbers as without.
#[cfg(unix)]
#[test]
fn a_killed_comparison_goes_on() {
    let place = Place::new();
    let settings = format!("{POLICIES} --seeds 12 --classes cycle");
    ok(compare(&place, &format!("{settings} --out whole --quiet")));
    let args =
        format!("compare --model {} --device cpu --steps 5 {settings} --out killed", fixture("tiny-latte"));
    let mut command = place.command(&args.split_whitespace().collect::<Vec<_>>());
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let journal = place.path("killed/rounds.jsonl");
    let lines = || fs::read(&journal).map_or(0, |b| b.iter().filter(|&&b| b == b'\n').count());
    let start = Instant::now();
    while lines() < 3 && start.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let text = fs::read(&journal).unwrap();
    let two = text.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0;
    fs::write(&journal, &text[..two - 20]).unwrap();
    ok(compare(&place, &format!("{settings} --out killed --quiet")));
    assert_eq!(timeless(&place, "killed"), timeless(&place, "whole"));
    let decisions = |folder: &str| fs::read(place.path(folder).join("decisions.svg")).unwrap();
    assert!(decisions("killed") == decisions("whole"));
}

/// The shipped model, with the shipped classifier.
#[test]
fn digits_are_judged() {
    let place = Place::new();
    let args = "compare --device cpu --steps 4 --guidance 3 --seeds 2 --out c uniform:2 tea:{}:identity \
                --thresholds 0,inf --quiet";
    ok(place.run(&args.split_whitespace().collect::<Vec<_>>()));
    let all = results(&place, "c");
    let rows = all["rows"].as_array().unwrap();
    let names: Vec<_> = rows.iter().map(|r| r["policy"].as_str().unwrap()).collect();
    assert_eq!(names, ["uncached", "uniform:2", "tea:0:identity", "tea:inf:identity"]);
    for row in rows {
        let accuracy = row["accuracy"]["value"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&accuracy) && row["jitter"]["value"].as_f64().unwrap() >= 0.0);
    }
    let frechet = |row: usize| rows[row]["frechet"]["value"].as_f64().unwrap();
    assert_eq!(rows[0]["frechet"], Value::Null);
    // A cache that never skips is at no distance from none at all.
    assert!(frechet(2) < 1e-6 && frechet(3) > 1e-3, "{} {}", frechet(2), frechet(3));
    // And as far from real clips; one that skips whatever it may is elsewhere.
    let real = |row: usize| rows[row]["frechet_real"]["value"].as_f64().unwrap();
    assert!((real(2) - real(0)).abs() < 1e-6 * real(0), "{} {}", real(2), real(0));
    assert!((real(3) - real(0)).abs() > 1.0, "{} {}", real(3), real(0));
    assert!(rows[0]["frechet_real"]["half"].as_f64().unwrap() > 0.0);
    assert_eq!(all["settings"]["size"], json!([32, 32]));
    assert_eq!(rows[2]["psnr"]["value"], 100.0);
    assert_eq!(rows[2]["ssim"]["value"], 1.0);
    assert_eq!(rows[2]["velocity_error"]["value"], 0.0);
    assert!(rows[3]["ssim"]["value"].as_f64().unwrap() < 1.0);
    // Without the classifier, the rest is the same.
    ok(place.run(
        &[
            &args.replace("--out c", "--out d").split_whitespace().collect::<Vec<_>>()[..],
            &["--digits", "none"],
        ]
        .concat(),
    ));
    let without = results(&place, "d");
    assert_eq!(without["rows"][1]["accuracy"], Value::Null);
    assert_eq!(without["rows"][1]["psnr"], rows[1]["psnr"]);
}

#[test]
fn bad_input() {
    let place = Place::new();
    fs::write(place.path("file"), "kept").unwrap();
    fs::write(place.path("poem.jsonl"), "roses\n").unwrap();
    fs::write(place.path("other.jsonl"), "{\"journal\":\"steep pairs 1\"}\n").unwrap();
    for (more, words) in [
        ("sometimes", &["sometimes", "uniform:N"][..]),
        ("tea:{}", &["tea:{}", "--thresholds"]),
        ("tea:{} --thresholds 0.1,x", &["'x'", "--thresholds"]),
        ("uniform:2 uniform:2", &["uniform:2", "twice"]),
        ("uncached", &["uncached", "twice"]),
        ("steps:0", &["steps 0"]),
        ("steps:few", &["steps:few", "steps:N"]),
        ("mask:10", &["mask:10", "5 digits"]),
        ("--seeds 0", &["--seeds", "0"]),
        ("--classes 9", &["class 9", "0 to 3"]),
        ("--classes some", &["some", "all, cycle"]),
        ("--shard 3/2", &["3/2", "i from 1 to n"]),
        ("--shard 0/2", &["0/2"]),
        ("--shard half", &["half", "i/n"]),
        ("--shard auto", &["shard auto", "SLURM_ARRAY_TASK_ID"]),
        ("--shards 3", &["--shard"]),
        ("--digits none.safetensors", &["none.safetensors", "No such file"]),
        ("--digits models/digits.safetensors", &["models/digits.safetensors"]),
        ("--out file", &["file", "folder"]),
        ("--merge missing.jsonl", &["missing.jsonl", "No such file"]),
        ("--merge poem.jsonl", &["poem.jsonl", "line 1"]),
        ("--merge other.jsonl", &["other.jsonl", "steep compare"]),
        ("--merge other.jsonl --shard 1/2", &["--shard", "--merge"]),
        ("--guidance NaN", &["guidance NaN"]),
    ] {
        let said = complaint(&compare(&place, more), 2);
        assert!(words.iter().all(|w| said.contains(w)), "{more}: {said}");
    }
    assert_eq!(place.names(), ["file", "other.jsonl", "poem.jsonl"], "nothing was made");
    assert_eq!(fs::read_to_string(place.path("file")).unwrap(), "kept");
}

#[test]
fn rounds_that_are_not_ours() {
    let place = Place::new();
    ok(compare(&place, "uniform:2 --seeds 2 --out c --quiet"));
    let journal = place.path("c/rounds.jsonl");
    let whole = fs::read_to_string(&journal).unwrap();
    let said = complaint(&compare(&place, "uniform:2 --seeds 2 --out c --guidance 2"), 2);
    assert!(said.contains("rounds.jsonl") && said.contains("guidance is 3.0 there and 2.0 here"), "{said}");
    let said = complaint(&compare(&place, "uniform:2 --seeds 2 --out c --sampler ab2"), 2);
    assert!(said.contains("sampler is"), "{said}");
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    for (damage, words) in [
        (whole.replacen("\"runs\":[", "\"runs\":[,", 1), &["line 3"][..]),
        (
            whole.replacen("\"uniform:2\",\"decisions\"", "\"uniform:9\",\"decisions\"", 1),
            &["line 3", "uniform:9 was not asked for"],
        ),
        (whole.replacen("\"wall_ms\":", "\"wall_ms\":-", 1), &["line 3", "a time"]),
        (whole.replacen("\"policy\":\"uncached\"", "\"policy\":\"uniform:2\"", 1), &["line 3", "uncached"]),
        (
            whole.replacen("{\"asked\":{\"policies\"", "{\"asked\":{\"polices\"", 1),
            &["line 2", "missing field `policies`"],
        ),
        ([lines[0], lines[1], lines[2], lines[2]].concat(), &["line 4", "a second time"]),
        (
            whole.replacen("\"seeds\":2", "\"seeds\":18446744073709551615", 1),
            &["line 2", "wanted 1 to 1000000"],
        ),
        (whole.replacen("[\"uncached\",\"uniform:2\"]", "[\"uncached\",\"\u{1b}[2J\"]", 1), &["line 2"]),
        (
            whole.replacen("[\"uncached\",\"uniform:2\"]", "[\"uncached\",\"never:2\"]", 1),
            &["line 2", "never:2"],
        ),
        (whole.replacen("\"device\":\"", "\"device\":\"\\u001b[2J", 1), &["line 3", "control characters"]),
        // What version 0.1.0 wrote.
        (whole.replacen("steep rounds 2", "steep rounds 1", 1), &["version 0.1.0", "sampler", "--fresh"]),
    ] {
        assert_ne!(damage, whole);
        fs::write(&journal, &damage).unwrap();
        let said = complaint(&compare(&place, "uniform:2 --seeds 2 --out c"), 2);
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
        assert_eq!(fs::read_to_string(&journal).unwrap(), damage, "left as it was");
        let said = complaint(&place.run(&["compare", "--out", "d", "--merge", "c/rounds.jsonl"]), 2);
        assert!(words.iter().all(|w| said.contains(w)), "{said}");
    }
    // Begun anew, the settings may be others.
    ok(compare(&place, "uniform:3 --seeds 1 --out c --fresh --quiet"));
    let out = compare(&place, "uniform:3 --seeds 1 --out c --json");
    let said: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(said["rows"][1]["policy"], "uniform:3");
    assert_eq!(said["rows"][1]["psnr"]["half"], Value::Null, "one seed has no interval");
}

/// The seed, class and policies of each finished round of a journal.
fn journal(place: &Place, path: &str) -> Vec<(u64, u64, Vec<String>)> {
    let text = fs::read_to_string(place.path(path)).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let round = |line: Value| {
        let policy = |run: &Value| run["policy"].as_str().unwrap().to_string();
        let runs = line["runs"].as_array()?.iter().map(policy).collect();
        Some((line["seed"].as_u64().unwrap(), line["class"].as_u64().unwrap(), runs))
    };
    lines.filter_map(round).collect()
}

/// More seeds, classes or policies run what is missing and nothing else.
#[test]
fn a_comparison_is_extended() {
    let place = Place::new();
    let ran = |settings: &str| {
        let before = if place.path("c").exists() { journal(&place, "c/rounds.jsonl").len() } else { 0 };
        ok(compare(&place, &format!("{settings} --out c --quiet")));
        let new = journal(&place, "c/rounds.jsonl").split_off(before);
        new.into_iter().map(|(seed, class, runs)| (seed, class, runs.join(" "))).collect::<Vec<_>>()
    };
    let of = |seed, class, runs: &str| (seed, class, runs.to_string());
    let two = "uncached uniform:2";
    assert_eq!(ran("uniform:2 --seeds 2"), [of(0, 0, two), of(1, 1, two)]);
    assert_eq!(ran("uniform:2 --seeds 4"), [of(2, 2, two), of(3, 3, two)]);
    assert_eq!(ran("uniform:2 --seeds 4"), []);
    // An added policy has an uncached run of its own, for its time.
    let added = "uncached tea:0.5 steps:2";
    let all = "uncached uniform:2 tea:0.5 steps:2";
    assert_eq!(
        ran(&format!("{POLICIES} --seeds 5")),
        [of(0, 0, added), of(1, 1, added), of(2, 2, added), of(3, 3, added), of(4, 0, all)]
    );
    assert_eq!(ran("uniform:2 --seeds 2 --classes 0,1"), [of(0, 1, two), of(1, 0, two)]);
    assert_eq!(ran(&format!("{POLICIES} --seeds 5")), []);
    let extended = timeless(&place, "c");
    // Whatever the order was in which it came together, the numbers are those of one run.
    ok(compare(&place, &format!("{POLICIES} --seeds 5 --out whole --quiet")));
    assert_eq!(extended, timeless(&place, "whole"));
    assert_eq!(extended["rounds"], 5);
    // The first clip of the added policies has a picture beside that of the first ones.
    let names = ["clips.gif", "clips-2.gif"].map(|name| place.path("c").join(name).exists());
    assert_eq!(names, [true, true]);
    // The table is of the command, not of all that the folder holds.
    ok(compare(&place, "steps:2 --seeds 3 --out c --quiet"));
    let fewer = results(&place, "c");
    assert_eq!((&fewer["rounds"], &fewer["rows"][1]["policy"]), (&json!(3), &json!("steps:2")));
    assert_eq!(fewer["rows"].as_array().unwrap().len(), 2);

    // Parts of other policies go together, too.
    ok(compare(&place, "uniform:2 --seeds 3 --out a --quiet"));
    ok(compare(&place, "tea:0.5 --seeds 2 --out b --quiet"));
    let out =
        place.run(&["compare", "--out", "ab", "--quiet", "--merge", "a/rounds.jsonl", "b/rounds.jsonl"]);
    assert!(out.status.success());
    assert_eq!(text(&out.stderr), "steep: warning: tea:0.5 has 2 of 3 clips\n");
    let both = results(&place, "ab");
    let clips: Vec<_> =
        both["rows"].as_array().unwrap().iter().map(|r| (&r["policy"], &r["clips"])).collect();
    assert_eq!(
        clips,
        [(&json!("uncached"), &json!(3)), (&json!("uniform:2"), &json!(3)), (&json!("tea:0.5"), &json!(2))]
    );
}

/// Parts from unlike machines: numbers of clips are one, and times are compared on one kind of device only.
#[test]
fn parts_of_unlike_machines_go_together() {
    let place = Place::new();
    let settings = "uniform:2 off --seeds 6";
    ok(compare(&place, &format!("{settings} --out whole --quiet")));
    let mut parts = vec![];
    // Their device, and how long a policy took there beside 100 ms uncached.
    for (i, device, ms) in
        [(1, "cuda:0 (H100)", 50.0), (2, "cuda:3 (H100)", 50.0), (3, "cpu (8 threads)", 25.0)]
    {
        ok(compare(&place, &format!("{settings} --out c --shard {i}/3 --quiet")));
        let path = place.path(&format!("c/rounds-{i}of3.jsonl"));
        let lines = fs::read_to_string(&path).unwrap();
        let edited = lines.lines().map(|line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            if line["runs"].is_array() {
                assert!(line["device"].as_str().unwrap().starts_with("cpu ("), "{line}");
                line["device"] = json!(device);
                line["runs"][0]["wall_ms"] = json!(100.0);
                line["runs"][1]["wall_ms"] = json!(ms);
            }
            format!("{line}\n")
        });
        fs::write(&path, edited.collect::<String>()).unwrap();
        parts.push(format!("c/rounds-{i}of3.jsonl"));
    }
    let merge = |more: &str| {
        let args = format!("compare --out c {more} --merge {}", parts.join(" "));
        place.run(&args.split_whitespace().collect::<Vec<_>>())
    };
    let said = ok(merge(""));
    assert!(
        said.contains("on 2 kinds of device, each timed for itself: cpu (8 threads); cuda (H100)\n"),
        "{said}"
    );
    assert!(
        said.contains("2 clips on cpu (8 threads)\n") && said.contains("4 clips on cuda (H100)\n"),
        "{said}"
    );
    let all = results(&place, "c");
    let [on_cpu, on_cuda] = &all["devices"].as_array().unwrap()[..] else { panic!("{all}") };
    assert_eq!((&on_cpu["device"], &on_cuda["device"]), (&json!("cpu (8 threads)"), &json!("cuda (H100)")));
    assert_eq!((&on_cpu["rows"][1]["clips"], &on_cuda["rows"][1]["clips"]), (&json!(2), &json!(4)));
    let speedup = |rows: &Value| rows[1]["speedup"]["value"].as_f64().unwrap();
    assert_eq!((speedup(&on_cpu["rows"]), speedup(&on_cuda["rows"])), (4.0, 2.0));
    // Two clips at 4× and four at 2×; milliseconds of unlike machines have no mean.
    assert!((speedup(&all["rows"]) - 16.0 / 6.0).abs() < 1e-12, "{all}");
    assert_eq!(
        (&all["rows"][1]["wall_ms"], &on_cuda["rows"][1]["wall_ms"]["value"]),
        (&Value::Null, &json!(50.0))
    );
    // What no clock measures is that of one machine.
    let (ours, whole) = (timeless(&place, "c"), timeless(&place, "whole"));
    assert_eq!(ours["rows"], whole["rows"]);
    assert_eq!(whole["devices"], json!([]));
    // No cache beside no cache has no speedup.
    assert_eq!((&all["rows"][2]["policy"], &all["rows"][2]["speedup"]), (&json!("off"), &Value::Null));

    // The bound of uniform:2 is 5/3: even six clips that agree on 4× cannot be right, and nobody is shown them.
    assert!((all["rows"][1]["bound"]["value"].as_f64().unwrap() - 5.0 / 3.0).abs() < 1e-12);
    assert!(said.contains("too short: uncertain by more than a fifth, or above its bound"), "{said}");
    // Speedup and share of all, and of each kind; and what it means.
    assert_eq!(said.matches("too short").count(), 7, "{said}");

    // Other dtypes do not go together.
    let path = place.path("c/rounds-2of3.jsonl");
    let part = fs::read_to_string(&path).unwrap();
    fs::write(&path, part.replacen("\"dtype\":\"f32\"", "\"dtype\":\"bf16\"", 1)).unwrap();
    let said = complaint(&merge(""), 2);
    assert!(said.contains("rounds-2of3.jsonl") && said.contains("dtype is"), "{said}");
    // A name is no setting.
    fs::write(&path, part.replacen("\"model\":\"tiny-latte\"", "\"model\":\"copy\"", 1)).unwrap();
    ok(merge("--quiet"));
}

/// A policy of one name with two calibrations is two policies.
#[test]
fn another_calibration_is_another_comparison() {
    let place = Place::new();
    let calibrate = |degree: &str| {
        let args = format!(
            "calibrate --model {} --device cpu --steps 5 --seeds 2 --degree {degree} --out m.json --quiet",
            fixture("tiny-latte")
        );
        assert!(place.run(&args.split_whitespace().collect::<Vec<_>>()).status.success());
    };
    calibrate("1");
    ok(compare(&place, "tea:0.5 --calibration m.json --seeds 2 --out c --quiet"));
    calibrate("2");
    let journal = fs::read(place.path("c/rounds.jsonl")).unwrap();
    let said = complaint(&compare(&place, "tea:0.5 --calibration m.json --seeds 3 --out c"), 2);
    assert!(
        said.contains("rounds.jsonl") && said.contains("tea:0.5 was run with a calibration of sha256"),
        "{said}"
    );
    let said = complaint(&compare(&place, "tea:0.5 --seeds 3 --out c"), 2);
    assert!(said.contains("is wanted with null"), "{said}");
    assert_eq!(fs::read(place.path("c/rounds.jsonl")).unwrap(), journal);
    // Policies that take none are not concerned.
    ok(compare(&place, "uniform:2 --seeds 2 --out c --quiet"));
}

/// Few clips: what is not known is not printed as if it were.
#[test]
fn few_clips_tell_little() {
    let place = Place::new();
    let said = ok(place
        .run(&"compare uniform:2 --device cpu --steps 4 --seeds 3 --out c".split(' ').collect::<Vec<_>>()));
    let all = results(&place, "c");
    let row = &all["rows"][1];
    let right = (row["accuracy"]["value"].as_f64().unwrap() * 3.0).round() as usize;
    // Wilson's interval of 0 to 3 of 3.
    let (text, low, high) = [
        ("0 (0–56)", 0.0, 0.5615),
        ("33 (6–79)", 0.0615, 0.7923),
        ("67 (21–94)", 0.2077, 0.9385),
        ("100 (44–100)", 0.4385, 1.0),
    ][right];
    assert!(said.contains(text), "no {text} in\n{said}");
    assert!((row["accuracy"]["low"].as_f64().unwrap() - low).abs() < 1e-4, "{row}");
    assert!((row["accuracy"]["high"].as_f64().unwrap() - high).abs() < 1e-4, "{row}");
    let csv = fs::read_to_string(place.path("c/table.csv")).unwrap();
    assert!(csv.contains(",accuracy,accuracy_low,accuracy_high,frechet,frechet_half,"), "{csv}");
    // No interval that is printed reaches zero, and no speedup is uncertain by more than a fifth.
    let markdown = fs::read_to_string(place.path("c/table.md")).unwrap();
    let mut shown = 0;
    for cell in markdown.split('|').map(str::trim) {
        let Some((value, half)) = cell.split_once('±') else { continue };
        let (value, half): (f64, f64) = (value.parse().unwrap(), half.parse().unwrap());
        assert!(half <= value, "{cell} in\n{markdown}");
        shown += 1;
    }
    assert!(shown > 3, "{markdown}");
    for row in all["rows"].as_array().unwrap() {
        let speedup = &row["speedup"];
        let (value, half) = (speedup["value"].as_f64().unwrap(), speedup["half"].as_f64().unwrap());
        let cell = match half >= 0.005 {
            true => format!("| {value:.2}±{half:.2} |"),
            false => format!("| {value:.2} |"),
        };
        let share = &row["share"];
        let possible = share["value"].as_f64().unwrap() - share["half"].as_f64().unwrap() <= 1.05;
        assert_eq!(markdown.contains(&cell), half <= 0.2 * value && possible, "{cell} in\n{markdown}");
        let real = &row["frechet_real"];
        if real["half"].as_f64().unwrap() > real["value"].as_f64().unwrap() {
            assert!(markdown.contains("| noise |") && said.contains("noise: the 95 % interval reaches zero"));
        }
    }
}
