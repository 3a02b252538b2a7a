//! Journals: what was finished survives, what was torn is dropped, what is somebody else's is left alone.
#![cfg(feature = "cli")]

use std::fs;

use serde_json::{Map, Value, json};
use steep::evaluate::journal::{Journal, agree, read};

fn header(steps: usize) -> Map<String, Value> {
    let Value::Object(map) = json!({ "journal": "test", "steps": steps }) else { unreachable!() };
    map
}

#[test]
fn lines_come_back_and_torn_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.jsonl");
    let (mut journal, had) = Journal::open(&path, &header(5)).unwrap();
    assert!(had.is_empty());
    for i in 0..3 {
        journal.append(&json!({ "i": i, "x": 0.1 + 0.2 })).unwrap();
    }
    drop(journal);
    let whole = fs::read(&path).unwrap();
    // Killed at any byte: whole lines stay, and the file goes on behind them.
    for end in 0..=whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        let lines = whole[..end].iter().filter(|&&b| b == b'\n').count();
        let (mut journal, had) = Journal::open(&path, &header(5)).unwrap();
        assert_eq!(had.len(), lines.saturating_sub(1), "{end}");
        assert!(had.iter().enumerate().all(|(i, v)| v["i"] == i && v["x"] == 0.1 + 0.2));
        for i in had.len()..3 {
            journal.append(&json!({ "i": i, "x": 0.1 + 0.2 })).unwrap();
        }
        drop(journal);
        assert_eq!(fs::read(&path).unwrap(), whole, "{end}");
    }
    let (head, records) = read(&path).unwrap();
    assert_eq!((head, records.len()), (header(5), 3));
    // An editor has put its mark before it.
    let marked = ["\u{feff}".as_bytes(), &whole].concat();
    fs::write(&path, &marked).unwrap();
    assert_eq!(read(&path).unwrap().1.len(), 3);
    let (mut journal, had) = Journal::open(&path, &header(5)).unwrap();
    assert_eq!(had.len(), 3);
    journal.append(&json!({ "i": 3 })).unwrap();
    assert!(fs::read(&path).unwrap().starts_with(&marked));
    assert_eq!(read(&path).unwrap().1.len(), 4);
}

#[test]
fn what_is_not_ours_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.jsonl");
    let refused = |content: &[u8], words: &[&str]| {
        fs::write(&path, content).unwrap();
        let why = Journal::open(&path, &header(5)).err().expect("an error").to_string();
        assert!(words.iter().all(|w| why.contains(w)) && !why.contains('\n'), "{why}");
        assert_eq!(fs::read(&path).unwrap(), content);
    };
    refused(b"a poem\n", &["j.jsonl", "line 1", "JSON"]);
    refused(b"a poem without an end", &["not a journal"]);
    refused(b"[1]\n", &["not a journal"]);
    refused(b"{\"journal\":\"test\",\"steps\":7}\n", &["another run", "steps is 7 there and 5 here"]);
    refused(b"{\"journal\":\"test\"}\n", &["steps is not recorded there"]);
    refused(b"{\"journal\":\"test\",\"steps\":5,\"x\":1}\n", &["x is 1 there and not recorded here"]);
    refused(b"{\"journal\":\"test\",\"steps\":5}\n{\"i\":0}\n{\"i\":\n{\"i\":2}\n", &["line 3"]);
    assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("No such file"));
    assert!(Journal::open(folder.path(), &header(5)).is_err());
    assert!(agree(&path, &header(1), &header(1)).is_ok());
    // The weights have a hash; their name is for people.
    let named = |name: &str| {
        let mut header = header(1);
        header.insert("model".into(), json!(name));
        header
    };
    assert!(agree(&path, &named("a"), &named("b")).is_ok() && agree(&path, &named("a"), &header(1)).is_ok());
    assert!(agree(&path, &header(1), &named("b")).is_ok() && agree(&path, &named("a"), &header(2)).is_err());
}

#[test]
fn one_run_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("j.jsonl");
    let first = Journal::open(&path, &header(5)).unwrap();
    let why = Journal::open(&path, &header(5)).err().expect("an error").to_string();
    assert!(why.contains("another run writes to it"), "{why}");
    drop(first);
    assert!(Journal::open(&path, &header(5)).is_ok());
}
