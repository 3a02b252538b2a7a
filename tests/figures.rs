//! Every committed figure is what the program makes today.
//!
//! `STEEP_UPDATE=1 cargo test --test figures` makes those anew that are made from committed results. The others come from
//! the commands beside them in `docs/teacache.md` and in the README.

#![cfg(feature = "cli")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Runs the program from the repository's root on the CPU.
fn steep(args: &str) {
    let out =
        Command::new(env!("CARGO_BIN_EXE_steep")).current_dir(root()).args(args.split(' ')).output().unwrap();
    assert!(out.status.success(), "{args}: {}", String::from_utf8_lossy(&out.stderr));
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().into()
}

/// A figure of `docs` that is made from committed results alone, to the byte.
fn check(name: &str, fresh: &str) {
    let committed = root().join("docs").join(name);
    if std::env::var_os("STEEP_UPDATE").is_some() {
        std::fs::write(committed, fresh).unwrap();
    } else {
        let update = "STEEP_UPDATE=1 cargo test --test figures";
        assert!(read(&committed) == fresh, "docs/{name} is not what the program draws today: {update}");
    }
}

const OPS: &str = "benches/results/2026-11-28-xeon-2.ops.json";
const PARETO: &str = "benches/results/2026-11-23-epyc-2.50-cpu.compare.json";
const DECISIONS: &str = "benches/results/2026-11-25-xeon-2.teacache.compare.json";
const PAIRS: &str = "benches/results/2026-11-25-xeon-2.pairs.jsonl";
const RUN: &str = "benches/results/2026-11-26-xeon-2.run.json";

#[test]
fn figures_of_comparisons_are_drawn_from_results() {
    for (results, name) in [(PARETO, "pareto.svg"), (DECISIONS, "decisions.svg")] {
        let folder = TempDir::new().unwrap();
        steep(&format!("compare --redraw {results} --out {}", folder.path().display()));
        check(name, &read(path(&folder, name)));
    }
}

#[test]
fn the_roofline_is_drawn_from_results() {
    let folder = TempDir::new().unwrap();
    steep(&format!("bench --redraw {OPS} --roofline {}", path(&folder, "roofline.svg")));
    check("roofline-cpu.svg", &read(path(&folder, "roofline-cpu.svg")));
}

#[test]
fn the_fit_is_drawn_from_pairs() {
    let folder = TempDir::new().unwrap();
    // The program opens the journal for writing.
    let pairs = path(&folder, "pairs.jsonl");
    std::fs::copy(root().join(PAIRS), &pairs).unwrap();
    let (plot, out) = (path(&folder, "fit.svg"), path(&folder, "fit.json"));
    steep(&format!("calibrate --device cpu --seeds 0 --pairs {pairs} --plot {plot} --out {out} --quiet"));
    assert_eq!(read(&pairs), read(PAIRS), "nothing was run again");
    check("fit.svg", &read(plot));
}

/// The numbers of a text, and what is left without them.
fn numbers(text: &str) -> (String, Vec<f64>) {
    let (mut left, mut found, mut number) = (String::new(), vec![], String::new());
    for c in text.chars().chain(['\n']) {
        if c.is_ascii_digit() || c == '.' || (c == '-' && number.is_empty()) {
            number.push(c);
            continue;
        }
        match number.parse() {
            Ok(value) => found.push(value),
            Err(_) => left += &number,
        }
        number.clear();
        left.push(c);
    }
    (left, found)
}

/// Two drawings of one run, perhaps of two processors: the same elements and words, and each number near the other.
fn assert_alike(name: &str, committed: &str, fresh: &str) {
    let ((words, a), (words_now, b)) = (numbers(committed), numbers(fresh));
    assert!(words == words_now, "docs/{name} is not what the program draws today");
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        // Pixels, counts and distances: a tenth of a pixel, or a thousandth of a value.
        assert!(
            (a - b).abs() <= 0.1f64.min(1e-3 * a.abs().max(1.0)).max(1e-3 * a.abs()),
            "docs/{name}: {a} became {b}"
        );
    }
}

/// The frames in grey.
fn frames(gif: &[u8]) -> (Vec<Vec<u8>>, [u16; 2]) {
    let mut options = gif::DecodeOptions::new();
    options.set_color_output(gif::ColorOutput::RGBA);
    let mut decoder = options.read_info(gif).unwrap();
    let mut frames = vec![];
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        frames.push(frame.buffer.chunks(4).map(|p| p[0]).collect());
    }
    (frames, [decoder.width(), decoder.height()])
}

/// Two films of one run, perhaps of two processors: the same size and frames, and hardly a level between their pixels.
fn assert_same_film(name: &str, fresh: &Path) {
    let (committed, fresh) =
        (std::fs::read(root().join("docs").join(name)).unwrap(), std::fs::read(fresh).unwrap());
    let ((a, size), (b, size_now)) = (frames(&committed), frames(&fresh));
    assert_eq!((a.len(), size), (b.len(), size_now), "docs/{name} has another shape");
    for (i, (a, b)) in a.iter().zip(&b).enumerate() {
        let apart: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        let apart = apart / a.len() as f64;
        assert!(apart < 0.5, "docs/{name}, frame {i}: {apart:.2} levels from what the program makes today");
    }
}

/// The README's run: its record, its skip map and its clips are of the same run.
#[test]
fn the_readmes_run_is_todays() {
    let folder = TempDir::new().unwrap();
    let [clip, map, record] = ["steep.gif", "steep.svg", "run.json"].map(|name| path(&folder, name));
    steep(&format!(
        "generate --device cpu --class 6 --cache tea:0.1:identity --compare --out {clip} --skip-map {map} --json {record} --quiet"
    ));
    let decisions = |text: &str| -> String {
        let run: Value = serde_json::from_str(text).unwrap();
        run["steps"].as_array().unwrap().iter().map(|step| step["decision"].as_str().unwrap()).collect()
    };
    assert_eq!(decisions(&read(record)), decisions(&read(RUN)), "{RUN} is of another run");
    assert_alike("steep.svg", &read("docs/steep.svg"), &read(map));
    assert_same_film("steep.gif", Path::new(&clip));
}

#[test]
fn the_skip_map_of_the_page_is_todays() {
    let folder = TempDir::new().unwrap();
    let (clip, map) = (path(&folder, "clip.gif"), path(&folder, "map.svg"));
    steep(&format!("generate --device cpu --class 6 --cache tea:0.02 --out {clip} --skip-map {map} --quiet"));
    assert_alike("skip-map.svg", &read("docs/skip-map.svg"), &read(map));
}

/// The first of the four seeds is all that the film shows.
#[test]
fn the_films_of_the_page_are_todays() {
    let results: Value = serde_json::from_str(&read(DECISIONS)).unwrap();
    let names =
        results["settings"]["policies"].as_array().unwrap().iter().skip(1).map(|p| p.as_str().unwrap());
    let policies = names.collect::<Vec<_>>().join(" ");
    let command = format!("steep compare --seeds 4 {policies}\n");
    assert!(read("docs/teacache.md").contains(&command), "docs/teacache.md: no {command}");
    let folder = TempDir::new().unwrap();
    let out = folder.path().display();
    steep(&format!("compare --device cpu --seeds 1 {policies} --out {out} --quiet"));
    assert_same_film("clips.gif", &folder.path().join("clips.gif"));
}

/// A text's rectangle, by its attributes and a generous width of its letters: left, top, right, bottom.
fn rectangle(attributes: &str, text: &str) -> [f64; 4] {
    let get = |name: &str| Some(attributes.split_once(&format!(" {name}=\""))?.1.split('"').next().unwrap());
    let number = |name: &str| get(name).map(|v| v.parse::<f64>().unwrap());
    let (x, y, size) = (number("x").unwrap(), number("y").unwrap(), number("font-size").unwrap_or(12.0));
    let letters = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&").chars().count() as f64;
    let (width, half) = (0.56 * size * letters, 0.42 * size);
    let left = match get("text-anchor").unwrap_or("start") {
        "start" => x,
        "middle" => x - width / 2.0,
        "end" => x - width,
        other => panic!("{other}"),
    };
    // The middle of the letters, from where their foot is.
    let middle = y - match get("dy") {
        None => 0.36 * size,
        Some("0.76em") => -0.4 * size,
        Some("0.5ex") => 0.1 * size,
        Some("-0.5ex") => 0.62 * size,
        Some(other) => panic!("{other}"),
    };
    let flat = [left - x, middle - half - y, left + width - x, middle + half - y];
    match get("transform") {
        None => [x + flat[0], y + flat[1], x + flat[2], y + flat[3]],
        // Counterclockwise about (x, y).
        Some(turn) if turn.starts_with("rotate(270") => [x + flat[1], y - flat[2], x + flat[3], y - flat[0]],
        Some(other) => panic!("{other}"),
    }
}

/// Fails if a text leaves the picture or meets another.
fn assert_legible(name: &str, svg: &str) {
    let (_, view) = svg.split_once("viewBox=\"0 0 ").unwrap();
    let mut sides = view.split('"').next().unwrap().split(' ').map(|v| v.parse::<f64>().unwrap());
    let (width, height) = (sides.next().unwrap(), sides.next().unwrap());
    let mut all: Vec<(&str, [f64; 4])> = vec![];
    // What a text has within, such as a paler number, counts with it.
    for element in svg.split("<text").skip(1) {
        let (attributes, rest) = element.split_once('>').unwrap();
        let text = rest.split_once("</text>").unwrap().0;
        let plain: String =
            text.split('<').map(|part| part.split_once('>').map_or(part, |(_, t)| t)).collect();
        if plain.trim().is_empty() {
            continue;
        }
        let [left, top, right, bottom] = rectangle(attributes, plain.trim());
        assert!(
            left >= 0.0 && top >= 0.0 && right <= width && bottom <= height,
            "{name}: {text:?} leaves the picture: {left:.0} to {right:.0}, {top:.0} to {bottom:.0}"
        );
        for (other, [l, t, r, b]) in &all {
            assert!(
                !(left < *r && *l < right && top < *b && *t < bottom),
                "{name}: {text:?} meets {other:?}"
            );
        }
        all.push((text, [left, top, right, bottom]));
    }
    assert!(all.len() > 10, "{name}: {} texts", all.len());
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_str().unwrap().ends_with(ending)).collect()
}

#[test]
fn texts_neither_meet_nor_leave_the_picture() {
    let committed = files("docs", ".svg");
    assert!(committed.len() >= 5);
    for path in committed {
        assert_legible(path.to_str().unwrap(), &read(&path));
    }
    // Any comparison that was ever committed.
    let all = files("benches/results", ".compare.json");
    assert!(all.len() > 5);
    for results in all {
        let folder = TempDir::new().unwrap();
        steep(&format!("compare --redraw {} --out {}", results.display(), folder.path().display()));
        for name in ["pareto.svg", "decisions.svg"] {
            assert_legible(&format!("{}, {name}", results.display()), &read(path(&folder, name)));
        }
        // No policy is without its label: as many settings as policies have one.
        let rows: Value = serde_json::from_str(&read(&results)).unwrap();
        let known = |row: &&Value| ["psnr", "speedup"].iter().all(|key| row[key]["value"].is_number());
        let wanted = rows["rows"].as_array().unwrap().iter().filter(known).count();
        let labels = read(path(&folder, "pareto.svg")).matches("font-size=\"105").count();
        assert!(labels >= wanted, "{}: {labels} labels of {wanted} policies", results.display());
    }
}

/// Both modes: every colour of a picture has its dark one.
#[test]
fn committed_pictures_follow_the_readers_mode() {
    for path in files("docs", ".svg") {
        let svg = read(&path);
        let (_, rules) = svg.split_once("@media (prefers-color-scheme: dark)").expect("a dark mode");
        let (rules, body) = rules.split_once("</style>").unwrap();
        for paint in ["fill", "stroke"] {
            for used in body.split(&format!(" {paint}=\"#")).skip(1) {
                let colour = used.split('"').next().unwrap();
                assert!(rules.contains(&format!("[{paint}=\"#{colour}\"]")), "{}: {colour}", path.display());
            }
        }
    }
}
