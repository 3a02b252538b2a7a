//! What the emulator counts is what can be counted by hand: bank conflicts of a padded and an unpadded tile, sectors of
//! coalesced and strided loads, and so on; and what it traces is what happened.

use std::collections::BTreeMap;

use steep::lab::counts::Counts;

use crate::harness::{self, Launch};

fn launch() -> Launch {
    Launch {
        grid: [1, 1, 1],
        threads: 64,
        tensors: vec![(vec![0; 4 * 1024], true), (vec![0; 4 * 1024], false)],
        ..Launch::default()
    }
}

#[test]
fn counts_are_those_of_paper_and_pencil() {
    if !harness::available() {
        return;
    }
    let program = harness::build("tests/emulator/counters.cu", "counters", &[]);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("counts");
    let text = std::fs::read_to_string(harness::root().join("tests/emulator/counters.cu")).unwrap();
    // Without the file, nothing is counted, and nothing written.
    launch().run_with(&program, 1, &[("EMULATOR_COUNTERS", file.as_os_str())]).unwrap();
    assert!(!file.exists());
    // KIND COUNT LANES MOVED LEAST, several with semicolons between.
    let mut wanted = BTreeMap::new();
    let mut waits = BTreeMap::new();
    for (line, n) in text.lines().zip(1..) {
        let Some((_, said)) = comment(line) else { continue };
        let (said, idle) = said.split_once(", idle ").unwrap_or((said, "0 of 0"));
        for part in said.split("; ") {
            let mut words: Vec<&str> = part.split(' ').collect();
            let numbers = words.split_off(words.len() - 4);
            let numbers: Vec<u64> = numbers.iter().map(|n| n.parse().unwrap()).collect();
            wanted.insert((n, words.join(" ")), numbers);
        }
        if said.starts_with("barrier") && idle != "0 of 0" {
            let (idle, slots) = idle.split_once(" of ").unwrap();
            waits.insert(n, [idle.parse::<u64>().unwrap(), slots.parse().unwrap()]);
        }
    }
    assert!(wanted.len() > 15 && waits.len() == 1, "{wanted:?}");
    for seed in 1..=3 {
        std::fs::write(&file, "").unwrap();
        launch().run_with(&program, seed, &[("EMULATOR_COUNTERS", file.as_os_str())]).unwrap();
        let counts = Counts::parse(&std::fs::read_to_string(&file).unwrap()).unwrap();
        let line = |place: &str| {
            let rest = place.strip_prefix("counters.cu:").unwrap_or_else(|| panic!("{place}"));
            rest.split(',').next().unwrap().parse::<usize>().unwrap()
        };
        let mut found = BTreeMap::new();
        for row in &counts.rows {
            let key = (line(&row.place), row.kind.name().to_string());
            found.insert(key, vec![row.count, row.lanes, row.moved, row.least]);
            if let Some(wait) = waits.get(&line(&row.place)) {
                assert_eq!([row.idle, row.slots], *wait, "seed {seed}");
            }
        }
        assert_eq!(found, wanted, "seed {seed}");
        // The column of the unpadded tile: 31 rounds of 32 are lost, which nothing else comes near.
        assert_eq!(counts.rows[0].each(), 32.0);
        assert_eq!((counts.blocks, counts.threads), (1, 64));
    }
}

/// Behind code.
fn comment(line: &str) -> Option<(&str, &str)> {
    line.split_once(" // ").filter(|(code, _)| !code.trim().is_empty())
}
