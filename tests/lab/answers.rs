//! The three answers: a starter, a racy version and a right one, in both languages; and what else a kernel can do wrong.

use steep::lab::Language;

use crate::{Place, device, edited, kernel};

/// Small enough that a test takes seconds.
const SMALL: &str = "--largest 20000 --values 7";

fn answers(language: Language, name: &str, barrier: &str, racy: &[&str]) {
    let Some(device) = device(language) else { return };
    let place = Place::new();
    let new = place
        .command(&format!("--new rel_l1 --language {}", language.to_string().to_lowercase()))
        .output()
        .unwrap();
    assert!(new.status.success() && String::from_utf8_lossy(&new.stdout).contains(name), "{new:?}");
    let again = place.run(&format!("--new rel_l1 --language {}", language.to_string().to_lowercase()));
    again.refused(&[name, "is there already"]);
    let run = || place.run(&format!("{name} --device {device} --dtype f32 {SMALL}"));
    run().wrong(&[
        "the smallest is f32 1 in 1 runs",
        "element 0 is NaN (as before the call: was it written?)",
    ]);
    let right = kernel(name);
    place.write(name, edited(&right, barrier, "//"));
    run().wrong(racy);
    place.write(name, &right);
    run().right();
}

#[test]
fn three_answers_in_cuda() {
    // The smallest run is of one element, and all threads still meet in the tree.
    let racy =
        ["rel_l1.cu:", "race: thread", "shared rel_l1::", "which thread", "no barrier is between them"];
    answers(Language::Cuda, "rel_l1.cu", "    __syncthreads(); // the tree", &racy);
}

#[test]
fn three_answers_in_wgsl() {
    answers(Language::Wgsl, "rel_l1.wgsl", "  workgroupBarrier(); // the tree", &["change, size", "wanted"]);
}

/// Where the racing lines are, the report says: the line that reads and the line that wrote.
#[test]
fn a_race_names_both_lines() {
    let Some(device) = device(Language::Cuda) else { return };
    let text = edited(&kernel("rel_l1.cu"), "    __syncthreads(); // the tree", "    // the tree");
    let place = Place::with("mine.cu", &text);
    let line = |wanted: &str| 1 + text.lines().position(|line| line.contains(wanted)).unwrap();
    let sides = [line("change[t] = c;"), line("size[t] = s;"), line("change[t] += "), line("size[t] += ")];
    let out = place.run(&format!("mine.cu --device {device} --dtype f32 {SMALL}"));
    out.wrong(&["race: thread"]);
    let numbers: Vec<usize> = out
        .out
        .split("mine.cu:")
        .skip(2)
        .map(|rest| rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap())
        .collect();
    assert!(
        numbers.len() == 2 && numbers.iter().all(|n| sides.contains(n)),
        "{numbers:?} {sides:?}: {}",
        out.out
    );
}

/// With `--json`, graders get the same as data.
#[test]
fn findings_are_data() {
    let Some(device) = device(Language::Cuda) else { return };
    let place = Place::with(
        "mine.cu",
        edited(&kernel("rel_l1.cu"), "    __syncthreads(); // the tree", "    // the tree"),
    );
    let out = place.run(&format!("mine.cu --device {device} --dtype f32 --json {SMALL}"));
    assert_eq!(out.status, Some(1), "{}{}", out.out, out.err);
    let all: serde_json::Value = serde_json::from_str(&out.out).unwrap();
    assert_eq!((&all["op"], &all["right"], &all["values"]), (&"rel_l1".into(), &false.into(), &7.into()));
    let report = &all["reports"][0];
    assert!(report["failed"].as_u64().unwrap() > 0 && report["failed"].as_u64() <= report["cases"].as_u64());
    let findings = report["findings"].as_array().unwrap();
    let works: Vec<u64> = findings.iter().map(|finding| finding["work"].as_u64().unwrap()).collect();
    assert!(works.is_sorted() && !works.is_empty());
    assert_eq!((&findings[0]["kind"], &findings[0]["place"]["file"]), (&"fault".into(), &"mine.cu".into()));
}

/// What a wrong kernel of each kind is told, in both languages.
#[test]
fn each_kind_of_mistake_has_its_words() {
    let cuda = [
        ("i < end; i += 128", "i <= end; i += 128", "reads 4 bytes at `cur` + 4, which has 4 bytes"),
        ("prev[i] = cur[i];", "prev[i + 1] = cur[i];", "out of bounds: thread"),
        ("if (gated_off(gate)) {\n        return;\n    }", "", "gates: "),
        ("const u32 t = threadIdx.x", "const u32 t = threadIdx.x % 64", "race: thread"),
        (
            "if (t == 0) {",
            "__shared__ float never[1];\n    if (t == 0) {\n        partials[0] = never[0];",
            "uninitialised: thread 0",
        ),
        ("for (u32 half = 64; half > 0; half /= 2) {", "for (u32 half = 64; half > 0;) {", "endless loop: "),
        (
            "        __syncthreads();\n    }",
            "        if (t < half) {\n            __syncthreads();\n        }\n    }",
            "deadlock: block",
        ),
        ("c += fabsf(next - old);", "c += fabsf(next + old);", "change, size: element 0 is"),
        (
            "Params p, Gate gate",
            "Params p, u32 more, Gate gate",
            "wanted 3 pointers (8 each), Params (8), Gate (24)",
        ),
        ("const float next", "const floot next", "mine.cu:19:15: error: 'floot' does not name a type"),
    ];
    let wgsl = [
        ("t == 0u {", "t == 0u && group.x > 0u {", "is NaN (as before the call"),
        ("  prev[i] = cur[i];", "  prev[i + 1u] = cur[i];", "prev"),
        (
            "prev[i] = cur[i];",
            "prev[i] = cur[i];\n  if i + 1u == p.elements { prev[i + 1u] = 0.0; }",
            "the end of outputs: written past by",
        ),
        (
            "prev[i] = cur[i];",
            "prev[i] = cur[j];",
            "mine.wgsl:24:17: parsing error: no definition in scope for identifier: `j`",
        ),
        ("let old = prev[i];", "let old = prev[i]", "mine.wgsl:24:3: parsing error: expected"),
        ("@binding(2)", "@binding(6)", "binding: 6"),
        ("return vec2(abs(cur[i] - old), abs(old));", "return vec2(abs(cur[i] - old), 1u);", "mine.wgsl:25:"),
    ];
    for (language, edits) in [(Language::Cuda, &cuda[..]), (Language::Wgsl, &wgsl[..])] {
        let Some(device) = device(language) else { continue };
        let name = format!("mine.{}", language.extension());
        let right = kernel(&format!("rel_l1.{}", language.extension()));
        for (from, to, words) in edits {
            let place = Place::with(&name, edited(&right, from, to));
            let out = place.run(&format!("{name} --device {device} --dtype f32 --largest 200 --values 7"));
            println!("{to}\n{}", out.out);
            out.wrong(&[words]);
        }
    }
}

/// What is right is timed among the op's own sources, in sizes of one's own, and compared with what was kept.
#[test]
fn what_is_right_is_timed() {
    let Some(device) = device(Language::Wgsl) else { return };
    let place = Place::with("rel_l1.wgsl", kernel("rel_l1.wgsl"));
    let bench = format!("--device {device} --dtype f32 {SMALL} --shapes 64x48");
    place.run(&format!("rel_l1.wgsl {bench}")).refused(&["--bench with them"]);
    place.run(&format!("rel_l1.wgsl {bench},3 --bench")).refused(&["size 3 of rel_l1: wanted rows×d"]);
    let out = place.run(&format!("rel_l1.wgsl {bench} --bench --save times.json --roofline mine.svg"));
    out.right();
    for words in [" yours ", " 64×48 ", "f32 64×48: yours is ", "(95 %: ", "wrote times.json and mine.svg"]
    {
        assert!(out.out.contains(words), "no {words:?} in {}", out.out);
    }
    let chart = std::fs::read_to_string(place.0.path().join("mine.svg")).unwrap();
    assert!(chart.contains("yours") && chart.contains("rel_l1, on "), "{chart}");
    let out = place.run(&format!("rel_l1.wgsl {bench} --bench --against times.json --json"));
    let found: serde_json::Value = serde_json::from_str(&out.out).unwrap();
    let yours = found["against"].as_array().unwrap().iter().filter(|change| change["source"] == "yours");
    assert!(yours.count() == 1 && found["right"] == true, "{}", found["against"]);
}
