//! `steep bench`.

use serde_json::Value;
use steep::cases::bench::{Bound, Rating};

use crate::Place;

/// A row above its ceiling has no percentage, in words or as JSON: it is in a cache, or the ceiling is none for it.
#[test]
fn no_rate_is_more_than_its_ceiling() {
    let of = |bound, share, cached| Rating::of(bound, share, cached);
    assert_eq!(of(Bound::Copy, 5.66, true), Rating::InCache);
    assert_eq!(of(Bound::Copy, 5.66, false), Rating::Above);
    assert_eq!(of(Bound::Matmul, 1.2, true), Rating::Above);
    assert_eq!(of(Bound::Copy, 0.52, true), Rating::Share(0.52));
    assert_eq!(of(Bound::Matmul, 1.004, false), Rating::Share(1.0), "printed as 100 %");
    // Small operands: several times as fast as a copy that no cache holds.
    let place = Place::new();
    let results = place.ok(&["bench", "--device", "cpu", "--op", "take", "--json"]);
    let results: Value = serde_json::from_str(&results).unwrap();
    assert_eq!(results["format"], "steep results 1");
    let rows = &results["devices"][0]["timed"];
    let mut cached = 0;
    for row in rows.as_array().unwrap() {
        let number = |key: &str| row[key].as_f64().unwrap_or_else(|| panic!("{key} in {row}"));
        // All that is said can be worked out from what is measured.
        let rate = number("bytes") / number("ms") / 1e6;
        assert!((number("gbps") / rate - 1.0).abs() < 1e-9 && row["gflops"].is_null(), "{row}");
        let share = rate / number("ceiling");
        match row["ceiling_pct"].as_f64() {
            Some(percent) => {
                assert!((percent / 100.0 - share.min(1.0)).abs() < 1e-9 && share <= 1.005, "{row}")
            }
            None => assert!(share > 1.005, "{row}"),
        }
        assert!(!(row["in_cache"] == true && row["ceiling_pct"].is_number()), "{row}");
        let samples: Vec<f64> =
            row["samples_ms"].as_array().unwrap().iter().map(|s| s.as_f64().unwrap()).collect();
        let within = |low: f64, high: f64| samples.iter().filter(|s| (low..=high).contains(*s)).count();
        assert_eq!(samples.len(), 5, "{row}");
        assert!(samples.contains(&number("ms")) && within(number("low_ms"), number("high_ms")) == 3, "{row}");
        cached += usize::from(row["in_cache"] == true);
    }
    let said = place.ok(&["bench", "--device", "cpu", "--op", "take"]);
    assert!(cached > 0 && said.contains("in cache, "), "{rows}\n{said}");
    let rows = said.lines().skip(3).count();
    let rated = said.lines().filter(|l| {
        [" % of copy ", "  in cache, above copy ", "  above copy "].iter().any(|w| l.contains(w))
    });
    assert_eq!(rated.count(), rows, "{said}");
    // Columns stand below one another.
    let column = |l: &str| l[..l.find(" f32 ").or(l.find(" dtype ")).expect("a type")].chars().count();
    let ends: Vec<usize> = said.lines().skip(2).map(column).collect();
    assert!(ends.iter().all(|end| *end == ends[0]), "{said}");
}

/// Every source that the processor can run is listed, and none is wrong.
#[test]
fn what_is_verified_is_said() {
    let place = Place::new();
    let args = ["verify", "--device", "cpu", "--op", "take"];
    let results: Value = serde_json::from_str(&place.ok(&[&args[..], &["--json"]].concat())).unwrap();
    let (device, machine) = (&results["devices"][0], &results["machine"]);
    assert!(device["facts"]["clock"] == "host" && device["timed"].as_array().unwrap().is_empty(), "{device}");
    assert!(machine["os"] == std::env::consts::OS && machine["threads"].as_u64().unwrap() > 0, "{machine}");
    let rows = device["verified"].as_array().unwrap();
    let cpu = steep::Device::cpu();
    let take = steep::cases::ALL.iter().find(|op| op.kernel.name == "take").unwrap();
    let sources: Vec<&str> = rows.iter().map(|row| row["source"].as_str().unwrap()).collect();
    assert_eq!(sources, steep::cases::run::sources(&cpu, take.kernel));
    for row in rows {
        assert!(
            row["cases"].as_u64().unwrap() as usize == take.tests().count() && row["wrong"] == 0,
            "{row}"
        );
        assert!(row["fault"].is_null() && row["of_bound"].as_f64().unwrap() <= 1.0, "{row}");
    }
    let said = place.ok(&args);
    assert!(said.ends_with(&format!("\nall {} are right\n", rows.len())), "{said}");
    let why = crate::complaint(&place.run(&[&args[..], &["--dtype", "bf16"]].concat()), 2);
    assert_eq!(why, "--op take in bf16: wanted a type that the op knows");
    assert!(
        crate::complaint(&place.run(&["verify", "--op", "x"]), 2).starts_with("op `x`: wanted patch_embed, ")
    );
}

/// Times that were kept are compared with, sizes are chosen, a roofline is drawn and drawn again.
#[test]
fn times_are_kept_and_compared() {
    let place = Place::new();
    let run = |args: &str| {
        let mut command = place.command(&args.split(' ').collect::<Vec<_>>());
        command.env("STEEP_CACHE", place.path("kept")).output().unwrap()
    };
    let ok = |args: &str| {
        let out = run(args);
        assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
        String::from_utf8(out.stdout).unwrap()
    };
    let bench = "bench --device cpu --op modulate --shapes 32x64,7x5";
    let said = ok(&format!("{bench} --save before --roofline modulate.svg"));
    assert!(said.contains(" 32×64 ") && said.contains(" 7×5 ") && said.contains("; warm: "), "{said}");
    assert!(said.contains("before.json and modulate.svg"), "{said}");
    let kept: Value =
        serde_json::from_str(&std::fs::read_to_string(place.path("kept/times/before.json")).unwrap())
            .unwrap();
    let device = &kept["devices"][0];
    assert!(device["copy_gbps"].as_f64() > Some(0.0) && device["matmul_gflops"].as_f64() > Some(0.0));
    // Nine operations of the formula for each element.
    let row = &device["timed"][0];
    assert_eq!([&row["operations"], &row["bytes"]], [9 * 32 * 64, 4 * (2 * 32 * 64 + 2 * 2 * 64)]);

    let said = ok(&format!("{bench} --against before --cold"));
    assert!(said.contains("; cold: ") && said.contains("\nagainst before of 20"), "{said}");
    let compared: Vec<&str> = said.lines().filter(|l| l.contains(" times as fast (95 %: ")).collect();
    assert!(compared.len() >= 2 && compared.iter().all(|l| l.contains("ceiling of each run")), "{said}");
    // The same file says nothing of another size; in JSON each change has its numbers.
    let other = ok("bench --device cpu --op modulate --shapes 8x8 --against kept/times/before.json --json");
    let other: Value = serde_json::from_str(&other).unwrap();
    assert_eq!(other["against"], serde_json::json!([]));
    let same: Value = serde_json::from_str(&ok(&format!("{bench} --against before --json"))).unwrap();
    let change = &same["against"][0];
    let both = [change["ratio"].as_f64(), change["half"].as_f64(), change["beside_ceiling"].as_f64()];
    assert!(both.iter().all(|v| v.is_some_and(|v| v.is_finite() && v >= 0.0)), "{change}");

    let drawn = |name: &str| std::fs::read_to_string(place.path(name)).unwrap();
    let (chart, source) = (drawn("modulate.svg"), row["source"].as_str().unwrap());
    for words in ["modulate, on cpu", "operations per byte", "copy ", "matrix product ", "32×64", source] {
        assert!(chart.contains(words), "{words}");
    }
    ok("bench --redraw kept/times/before.json --roofline again.svg");
    assert_eq!(drawn("again.svg"), chart);

    for (args, words) in [
        ("bench --shapes 3x3", "--shapes: wanted one op"),
        ("bench --op modulate --shapes 3", "size 3 of modulate: wanted rows×d, such as 64x64"),
        ("bench --op modulate --save ../a", "name `../a`: wanted letters"),
        ("bench --op modulate --against never", "--against never: wanted times that --save never kept"),
        ("bench --op modulate --roofline a.png", "a.png: wanted a name that ends in .svg"),
        ("bench --redraw modulate.svg --roofline b.svg", "modulate.svg: expected value at line 1"),
        ("bench --redraw kept/times/before.json --roofline kept/times/before.json", "is an input"),
        ("try a.wgsl --shapes 3x3", "a.wgsl: "),
    ] {
        let out = run(args);
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && said.contains(words) && said.lines().count() == 1, "{said}");
    }
}
