//! Completions and manual pages.

use crate::{Place, text};

#[test]
fn completions_know_every_command() {
    let place = Place::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = place.ok(&["completions", shell]);
        for word in ["generate", "try", "completions", "seeds"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    let unknown = place.run(&["completions", "cmd"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown.stderr));
}

#[test]
fn manual_pages_are_roff() {
    let place = Place::new();
    let page = place.ok(&["man"]);
    assert!(page.contains(".TH steep 1") && page.contains("generate"), "{page}");
    let page = place.ok(&["man", "try"]);
    assert!(
        page.contains(".TH steep-try 1") && page.contains("EXAMPLES") | page.contains("Examples"),
        "{page}"
    );
    assert!(page.contains("wgpu:core") && !page.contains("Internal:"), "{page}");
}
