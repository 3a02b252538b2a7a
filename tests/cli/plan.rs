//! `steep plan`.

use std::fs;

use serde_json::Value;

use crate::tables::{FLUX, Golden, HUNYUAN, LATTE, OPEN_SORA, WAN_RET};
use crate::{Place, complaint, fixture, text};

/// The distances alone, one on each line.
fn lines(golden: &Golden) -> String {
    golden.rows().iter().map(|row| format!("{}\n", row[0])).collect()
}

fn plan(place: &Place, input: &str, args: &str) -> String {
    let args: Vec<&str> = ["plan", "-"].into_iter().chain(args.split_whitespace()).collect();
    let out = place.pipe(input, &args);
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    text(&out.stdout)
}

#[test]
fn golden_traces() {
    let place = Place::new();
    for golden in [&OPEN_SORA, &LATTE, &FLUX, &HUNYUAN] {
        for run in golden.runs {
            let args = format!("--coefficients {} --threshold {}", golden.set, run.threshold);
            let said = plan(&place, &lines(golden), &args);
            let (letters, counts) = said.trim_end().split_once('\n').unwrap();
            assert_eq!(letters, run.letters, "{}", golden.set);
            let (total, skipped) = (letters.len(), letters.len() - run.computes);
            let ratio = run.ratio;
            let wanted = format!(
                "{total} steps, {} computed, {skipped} skipped: at most {ratio:.2}× faster",
                run.computes
            );
            assert_eq!(counts, wanted);
        }
    }
    let said = plan(
        &place,
        &lines(&WAN_RET),
        "--coefficients wan2.1-t2v-1.3b-ret --threshold 0.1 --warmup 5 --no-force-last",
    );
    assert!(said.starts_with("FFFFFSSCSCSCSCSC\n"), "{said}");
}

#[test]
fn all_spellings_of_a_list_are_one() {
    let place = Place::new();
    let numbers: Vec<_> = FLUX.rows().iter().skip(1).map(|row| row[0]).collect();
    let wanted = FLUX.runs[1].letters;
    assert_eq!(wanted, "FCSCSSCSSCSSCSSCSSCSSCSSCSCF");
    let commas = numbers.join(",");
    for input in [
        numbers.join("\n"),
        format!("# FLUX.1-dev\n-, {}\n", numbers.join(", ")),
        format!("nan {}", numbers.join("\t")),
        format!("{commas} # 27 of them\n\n"),
        format!("NaN\r\n{}\r\n", numbers.join("\r\n")),
        format!("\u{feff}{commas}"),
        format!("\u{feff}# saved by an editor\r\n{}", numbers.join("; ")),
    ] {
        for steps in ["", "--steps 28"] {
            let said = plan(&place, &input, &format!("--coefficients flux-1-dev --threshold 0.4 {steps}"));
            assert_eq!(said.lines().next().unwrap(), wanted, "{input}");
        }
    }
    // A number for the first step is kept out of the sum: that step is forced.
    let said = plan(&place, &format!("0.5,{commas}"), "--coefficients flux-1-dev --threshold 0.4 --steps 28");
    assert_eq!(said.lines().next().unwrap(), wanted);
    // Five numbers say the same as the name, from a file too.
    fs::write(place.path("d.txt"), &commas).unwrap();
    let c = "4.98651651e+02,-2.83781631e+02,5.58554382e+01,-3.82021401e+00,2.64230861e-01";
    let said = place.ok(&["plan", "d.txt", "--threshold", "0.4", "--coefficients", c]);
    assert_eq!(said.lines().next().unwrap(), wanted);
}

#[test]
fn negative_values_as_asked() {
    let place = Place::new();
    let list = ".05 .09 .12 .14 .16 .18 .20 .22 .24 .26 .28 .30 .32 .34 .36 .38 .40 .42 .45";
    for (mode, wanted) in
        [("raw", "FSSSSSSSSSSSSSCCCCSF"), ("clamp", "FSSSSCSCSCCCCCCCCCSF"), ("abs", "FCCSCSCSCCCCCCCCCCCF")]
    {
        let args = format!("--coefficients wan2.1-t2v-14b --threshold 0.2 --negative {mode}");
        assert_eq!(plan(&place, list, &args).lines().next().unwrap(), wanted);
    }
    // Coefficients may begin with a minus.
    let said = plan(&place, "0.1 0.1", "--threshold 0.2 --negative abs --coefficients -1,0,0,0,-0.3");
    assert!(said.starts_with("FCF\n"), "{said}");
}

#[test]
fn table_and_json_have_every_step() {
    let place = Place::new();
    let args = "--coefficients flux-1-dev --threshold 0.4";
    let table = plan(&place, &lines(&FLUX), &format!("{args} --table"));
    let rows: Vec<Vec<&str>> = table.lines().skip(4).map(|l| l.split_whitespace().collect()).collect();
    assert_eq!(rows.len(), 28);
    assert_eq!(rows[0], ["0", "-", "-", "0.000000", "F"]);
    assert_eq!(rows[3], ["3", "0.130000", "0.230512", "0.488673", "C"]);

    let json: Value = serde_json::from_str(&plan(&place, &lines(&FLUX), &format!("{args} --json"))).unwrap();
    assert_eq!(json["decisions"], FLUX.runs[1].letters);
    assert_eq!((&json["computed"], &json["skipped"]), (&12.into(), &16.into()));
    assert_eq!(json["steps"].as_array().unwrap().len(), 28);
    assert_eq!(json["steps"][3]["decision"], "C");
    assert!((json["steps"][3]["acc"].as_f64().unwrap() - 0.488672729).abs() < 1e-8);
}

#[test]
fn the_list_names_every_set() {
    let place = Place::new();
    let (list, json) = (place.ok(&["plan", "--list"]), place.ok(&["plan", "--list", "--json"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    for (i, set) in steep::cache::SETS.iter().enumerate() {
        assert!(list.contains(set.name) && list.contains(set.source));
        assert_eq!(json[i]["name"], set.name);
        assert_eq!(json[i]["coefficients"][4].as_f64(), Some(set.coefficients[4]));
    }
}

#[test]
fn lists_that_make_no_sense() {
    let place = Place::new();
    for (input, args, words) in [
        ("0.1 x 0.2", "", "line 1: wanted a distance, 0 or more, `-` or nan, got \"x\""),
        ("0.1\n-0.2", "", "line 2"),
        ("", "", "at least one distance"),
        ("-", "", "at least one distance"),
        ("0.1 0.2", "--steps 9", "9 distances for --steps 9, or 8"),
        ("0.1 0.2", "--steps 0", "got 2"),
        ("0.1 0.2", "--steps 1", "1 distances for --steps 1, or 0"),
        // Decimal commas would be twice as many numbers.
        ("0,1 0,1", "", "line 1: \"0,1\" may be one number or two; wanted a decimal point (0.1)"),
        ("0.5\n0,25\n", "", "line 2: \"0,25\" may be"),
        ("0.1 0,2e-1", "", "decimal point (0.2e-1)"),
        ("0.1;0,2;0.3", "", "\"0,2\" may be"),
        ("1,2,3", "", "\"1,2\" may be"),
        ("-,0,1", "", "\"0,1\" may be"),
        ("\u{feff}\u{feff}0.1", "", "line 1"),
        ("{\"steps\": 3}", "", "`steps`"),
        ("{\"steps\": [{\"d\": \"x\"}]}", "", "step 0"),
        ("{\"steps\": []}", "", "`steps`"),
        ("{\"steps\": [{\"d\": null}, {\"d\": -1}]}", "", "step 1: wanted a number from 0"),
        ("{\"steps\": [{\"d\": null}, {\"d\": null}]}", "", "without distances"),
        ("{", "", "not JSON"),
        ("0.1", "--coefficients nobody", "nobody"),
        ("0.1", "--coefficients 1,2,3", "five numbers"),
    ] {
        let args: Vec<&str> =
            ["plan", "-", "--threshold", "0.1"].into_iter().chain(args.split_whitespace()).collect();
        let said = complaint(&place.pipe(input, &args), 2);
        assert!(said.contains(words), "{input:?}: {said}");
    }
    let said = complaint(&place.run(&["plan", "none.txt", "--threshold", "-0.1"]), 2);
    assert!(said.contains("tea:-0.1"), "{said}");
    let said = complaint(&place.run(&["plan", "none.txt", "--threshold", "0.1"]), 2);
    assert!(said.contains("none.txt"), "{said}");
}

/// A run of one step has no distance, and computes that step. Only where it is said that there is one.
#[test]
fn a_run_of_one_step_is_a_run() {
    let place = Place::new();
    let wanted = "F\n1 steps, 1 computed, 0 skipped: at most 1.00× faster\n";
    for input in ["", "-\n", "# nothing\n", "0.5"] {
        assert_eq!(plan(&place, input, "--threshold 0.1 --steps 1"), wanted, "{input:?}");
    }
    let record = place.generate("--steps 1 --cache tea:0.1 --quiet --json -");
    assert_eq!(plan(&place, &record, "--threshold 0.1"), wanted);
}

/// A comma with a space behind it, or between numbers that have decimal points, stands between numbers.
#[test]
fn commas_between_numbers_are_no_decimal_commas() {
    let place = Place::new();
    for input in ["0.1,0.1,0,0.1", "0, 0.1, 0.1, 1", "0.1 ,0.1 ,0 ,0", "0.1,0.1,nan,-"] {
        let said = plan(&place, input, "--threshold 9");
        assert!(said.contains("5 steps") && !input.starts_with('-'), "{input}: {said}");
    }
}

/// Any rule whose distances can be replayed, and those that need none.
#[test]
fn other_rules_replay_too() {
    let place = Place::new();
    let list = "- 0.1 0.1 0.1 0.1 0.1 0.1";
    for (spec, wanted) in [
        ("sea:0.25", "FSSCSSF\n"),
        ("tea:0.25+max-skips=1", "FSCSCSF\n"),
        ("tea:9+start=3+end=5+taylor", "FFFSSFF\n"),
        ("uniform:3", "CSSCSSC\n"),
        ("mask:1001001", "CSSCSSC\n"),
    ] {
        let said = plan(&place, list, &format!("--cache {spec}"));
        assert!(said.starts_with(wanted), "{spec}: {said}");
    }
    let json: Value = serde_json::from_str(&plan(&place, list, "--cache sea:0.25 --json")).unwrap();
    assert_eq!((&json["cache"], &json["decisions"]), (&"sea:0.25".into(), &"FSSCSSF".into()));
    for (spec, words) in [
        ("fb:0.1", "do not depend on what it decides"),
        ("easy:0.1+taylor", "do not depend on what it decides"),
        ("mask:101", "7 digits"),
        ("seal:0.1", "off, uniform:N"),
    ] {
        let said = complaint(&place.pipe(list, &["plan", "-", "--cache", spec]), 2);
        assert!(said.contains(words), "{spec}: {said}");
    }
}

/// A search prints a schedule with the wanted number of computed steps, which `generate` takes, the same each time.
#[test]
fn a_search_ends_in_a_mask() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let common =
        ["plan", "--model", &model, "--device", "cpu", "--steps", "12", "--runs", "2", "--search", "6"];
    let search = |more: &[&str]| place.ok(&[&common[..], more].concat());
    let said = search(&[]);
    let mask = said.strip_prefix("mask:").and_then(|s| s.strip_suffix("+taylor\n")).expect("a mask");
    assert!(mask.len() == 12 && mask.starts_with('1') && mask.ends_with('1'), "{said}");
    assert_eq!(mask.matches('1').count(), 6);
    assert_eq!(search(&[]), said);
    let reuse = search(&["--reuse"]);
    assert!(reuse.starts_with("mask:1") && !reuse.contains("taylor"), "{reuse}");
    let short = search(&["--longest", "2"]);
    assert!(!short.contains("000"), "{short}");
    let json: Value = serde_json::from_str(&search(&["--json"])).unwrap();
    assert_eq!((json["cache"].as_str(), &json["computed"]), (Some(said.trim()), &6.into()));
    let model = ["--model", &model, "--device", "cpu", "--steps", "12", "--cache", said.trim()];
    let run = place.ok(&[&["generate", "--quiet", "--json", "-"], &model[..]].concat());
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(run["steps"].as_array().unwrap().len(), 12);
}

#[test]
fn searches_that_make_no_sense() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    for (args, words) in [
        ("--search 0", "search 0: wanted 2 to 12"),
        ("--search 13", "search 13: wanted 2 to 12"),
        ("--search 5 --runs 0", "0 is not in 1..=1000000"),
        ("--search 2 --longest 3", "search 2: wanted more of 12 steps, or a larger --longest than 3"),
        ("--search 5 --device nowhere", "nowhere"),
        ("--search 5 --guidance nan", "finite"),
        ("--search 5 list.txt", "cannot be used"),
    ] {
        let args: Vec<&str> =
            ["plan", "--model", &model, "--steps", "12"].into_iter().chain(args.split_whitespace()).collect();
        let args = if args.contains(&"--device") { args } else { [&args[..], &["--device", "cpu"]].concat() };
        let said = complaint(&place.run(&args), 2);
        assert!(said.contains(words), "{args:?}: {said}");
    }
    let said = complaint(&place.run(&["plan", "--cache", "sea:0.1", "--threshold", "0.1", "x"]), 2);
    assert!(said.contains("cannot be used"), "{said}");
}
