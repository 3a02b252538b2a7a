//! Runs that are killed at a random moment, by the signal that no program can answer.
//!
//! Ten minutes: `cargo test --test cli kills -- --ignored --nocapture`. `STEEP_KILLS` is how many, 50 by default.
#![cfg(unix)]

use std::fs;
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::{Place, fixture, text};

/// How many at once.
const HANDS: usize = 4;

/// After each kill nothing is half written: files that were there are as they were, a journal is read, and loses at most
/// the line that was being written. The next run succeeds, and leaves no temporary file behind.
#[test]
#[ignore = "takes ten minutes"]
fn killed_runs_leave_nothing_half_written() {
    let kills: usize = std::env::var("STEEP_KILLS").map_or(50, |n| n.parse().unwrap());
    let next = Mutex::new((0, Random(20261126), [0; 4]));
    let hand = || {
        loop {
            let (verb, wait) = {
                let mut next = next.lock().unwrap();
                if next.0 == kills {
                    return;
                }
                let verb = next.0 % 4;
                next.0 += 1;
                next.2[verb] += 1;
                let seconds = if verb == 3 { 0.3 } else { 10.0 };
                (verb, Duration::from_secs_f64(seconds * (1.0 + 5.0 * next.1.below(1000) as f64 / 1000.0)))
            };
            let kept = kill(verb, wait);
            println!("{} killed after {:.1} s: {kept}", VERBS[verb], wait.as_secs_f64());
        }
    };
    std::thread::scope(|scope| (0..HANDS).for_each(|_| drop(scope.spawn(hand))));
    println!("{:?} of {VERBS:?}", next.lock().unwrap().2);
}

const VERBS: [&str; 4] = ["generate", "calibrate", "compare", "generate, while it writes"];

/// Kills a run, looks at what it left, and runs on. Returns what was kept, in words.
fn kill(verb: usize, wait: Duration) -> String {
    let place = Place::new();
    let latte = fixture("tiny-latte");
    let shipped = "generate --device cpu --quiet --out x.gif --json x.json --skip-map x.svg";
    let (long, short) = match verb {
        0 => (format!("{shipped} --steps 100000"), format!("{shipped} --steps 2")),
        1 => {
            let calibrate = format!(
                "calibrate --model {latte} --device cpu --steps 20 --quiet --pairs p.jsonl --out x.json"
            );
            (format!("{calibrate} --seeds 100000"), format!("{calibrate} --seeds 1"))
        }
        2 => {
            let compare =
                format!("compare uniform:2 tea:0.2 --model {latte} --device cpu --steps 20 --quiet --out c");
            (format!("{compare} --seeds 100000"), format!("{compare} --seeds 3"))
        }
        _ => (format!("{shipped} --steps 1 --scale 64"), format!("{shipped} --steps 2")),
    };
    let words = |line: &'static str| line.split(' ').collect::<Vec<_>>();
    let outputs = ["x.gif", "x.json", "x.svg"];
    if verb != 2 {
        outputs.iter().for_each(|name| fs::write(place.path(name), "kept").unwrap());
    }
    let mut command = place.command(&words(long.clone().leak()));
    let mut child = command.env("RAYON_NUM_THREADS", "1").stderr(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while start.elapsed() < wait && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(5));
    }
    let ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();

    let journal = match verb {
        1 => Some(place.path("p.jsonl")),
        2 => Some(place.path("c/rounds.jsonl")),
        _ => None,
    };
    let mut kept = match &journal {
        Some(path) => {
            let bytes = fs::read(path).unwrap();
            let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
            let lines = std::str::from_utf8(&bytes[..whole]).unwrap().lines();
            let lines: Vec<serde_json::Value> = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
            assert!(lines.len() > 1, "{long}: nothing was kept");
            format!("{} whole lines and {} bytes of the next", lines.len(), bytes.len() - whole)
        }
        None => "no run is kept".into(),
    };
    if verb != 2 {
        let old = outputs.iter().filter(|name| fs::read(place.path(name)).unwrap() == b"kept").count();
        assert!(old == 3 || ended || verb == 3, "{long}: written over before the end");
        kept += &format!(", {old} of 3 files as they were");
        // Each is the old one or a whole new one.
        let gif = fs::read(place.path("x.gif")).unwrap();
        assert!(gif == b"kept" || (gif.starts_with(b"GIF89a") && gif.ends_with(b";")), "{long}");
        let json = fs::read_to_string(place.path("x.json")).unwrap();
        assert!(json == "kept" || serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{long}");
    }
    let out = place.run(&words(short.clone().leak()));
    assert!(out.status.success(), "{short}: {}", text(&out.stderr));
    let folder = if verb == 2 { place.path("c") } else { place.0.path().to_path_buf() };
    let known =
        ["x.gif", "x.json", "x.svg", "p.jsonl", "clips.gif", "decisions.svg", "pareto.svg", "results.json"];
    for entry in fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let ours =
            ["rounds.jsonl", "table.csv", "table.md"].contains(&name.as_str()) || name.starts_with("map-");
        assert!(ours || known.contains(&name.as_str()), "{short}: {name} was left behind");
    }
    if let Some(path) = journal {
        let (_, records) = steep::evaluate::journal::read(&path).unwrap();
        assert!(!records.is_empty());
    }
    kept
}
