//! The commands that the pages and the program's help show.

use std::path::Path;

/// A command as it is written, and where.
#[derive(Debug, Clone, PartialEq)]
pub struct Shown {
    pub place: String,
    pub line: String,
}

/// The pages that show commands.
pub const PAGES: [&str; 11] = [
    "README.md",
    "CONTRIBUTING.md",
    "docs/teacache.md",
    "docs/policies.md",
    "docs/performance.md",
    "docs/kernels.md",
    "docs/lab.md",
    "docs/models.md",
    "docs/results.md",
    "models/README.md",
    "benches/results/README.md",
];

/// Every line of a block of code that runs `steep`, joined with those that it goes on in, and what stands between
/// backticks in the text and has arguments.
pub fn of_page(root: &Path, page: &str) -> Vec<Shown> {
    let text = std::fs::read_to_string(root.join(page)).unwrap_or_else(|e| panic!("{page}: {e}"));
    let shown = |line: &str| Shown { place: page.into(), line: line.into() };
    let mut all = vec![];
    for (i, part) in text.split("```").enumerate() {
        if i % 2 == 1 {
            all.extend(lines(part).iter().map(|line| shown(line)));
            continue;
        }
        let spans = part.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " "));
        // One that ends in an option's name speaks of the option.
        let complete = |s: &String| s.split(' ').next_back().is_some_and(|last| !last.starts_with('-'));
        let spans = spans.filter(|s| s.starts_with("steep ") && s.contains(" -") && complete(s));
        all.extend(spans.map(|span| shown(&span)));
    }
    all
}

/// The examples of a verb's help.
pub fn of_help(verb: &str, help: &str) -> Vec<Shown> {
    let shown = |line: String| Shown { place: format!("{verb} --help"), line };
    lines(help).into_iter().map(shown).collect()
}

fn lines(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|line| line.starts_with("steep "));
    lines.map(str::to_string).collect()
}
