//! The README's tables are made from committed results: `<!-- KIND FILE -->` .. `<!-- end -->`.
//!
//! `STEEP_UPDATE=1 cargo test --test readme` writes them anew.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn number(v: &Value, key: &str) -> f64 {
    v[key].as_f64().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn count(v: &Value, key: &str) -> u64 {
    v[key].as_u64().unwrap_or_else(|| panic!("{key} in {v}"))
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_else(|| panic!("{key} in {v}"))
}

/// The table of a results file.
fn table(kind: &str, results: &Value) -> String {
    let mut t = String::new();
    match kind {
        "run" => {
            let steps = results["steps"].as_array().unwrap().len() as f64;
            let (computed, skipped) = (count(results, "computed"), count(results, "skipped"));
            let (cached, uncached) = (number(results, "wall_ms"), number(results, "uncached_wall_ms"));
            let bound = steps / computed as f64;
            t += "| | uncached | cached |\n|---|---|---|\n";
            writeln!(t, "| steps that run the transformer | {steps} | {computed} ({skipped} skipped) |")
                .unwrap();
            writeln!(t, "| wall time | {:.2} s | {:.2} s |", uncached / 1e3, cached / 1e3).unwrap();
            let speedup = uncached / cached;
            writeln!(t, "| speedup, and its bound (steps / computed) | | {speedup:.2}× of {bound:.2}× |")
                .unwrap();
            let (psnr, ssim) = (number(results, "psnr"), number(results, "ssim"));
            writeln!(t, "| against the uncached clip | | PSNR {psnr:.1} dB, SSIM {ssim:.3} |").unwrap();
            writeln!(t, "\n`{}`, {}.", text(results, "cache"), text(results, "device")).unwrap();
        }
        "forward" => {
            t += "| size | PyTorch eager | torch.compile | steep | over eager | over torch.compile |\n";
            t += "|---|---|---|---|---|---|\n";
            for row in results["results"].as_array().unwrap() {
                let ms = ["eager_ms", "compile_ms", "steep_ms"].map(|k| format!("{:.1} ms", number(row, k)));
                let ratios = ["over_eager", "over_compile"].map(|k| format!("{:.2}×", number(row, k)));
                let size = text(row, "size");
                writeln!(t, "| {size} | {} | {} |", ms.join(" | "), ratios.join(" | ")).unwrap();
            }
            let (cpu, torch) = (text(results, "cpu"), text(results, "torch"));
            writeln!(t, "\n{cpu}, two threads, PyTorch {torch}; medians of interleaved rounds.").unwrap();
        }
        "ops" => {
            t += "| op | shape | time | rate | of the ceiling |\n|---|---|---|---|---|\n";
            let mut last = ("", "");
            for row in results.as_array().unwrap() {
                let (op, shape) = (text(row, "op"), text(row, "shape"));
                // Sources come best first: the one that runs unless another is asked for.
                if std::mem::replace(&mut last, (op, shape)) == (op, shape) {
                    continue;
                }
                let rate = match row["gflops"].as_f64() {
                    Some(gflops) => format!("{gflops:.0} GFLOP/s"),
                    None => format!("{:.1} GB/s", number(row, "gbps")),
                };
                let (ms, ceiling) = (number(row, "ms"), number(row, "ceiling_pct"));
                writeln!(t, "| `{op}` | {shape} | {ms:.3} ms | {rate} | {ceiling:.0} % |").unwrap();
            }
            writeln!(t, "\n{}, f32.", text(&results[0], "device")).unwrap();
        }
        _ => panic!("no table of kind {kind}"),
    }
    t
}

#[test]
fn readme_tables_come_from_committed_results() {
    let path = root().join("README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let mut fresh = String::new();
    let mut lines = readme.lines();
    let mut tables = 0;
    while let Some(line) = lines.next() {
        writeln!(fresh, "{line}").unwrap();
        let Some(marker) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) else { continue };
        let (kind, file) = marker.split_once(' ').expect("<!-- KIND FILE -->");
        let results = std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        fresh += &table(kind, &serde_json::from_str(&results).unwrap());
        lines.find(|l| *l == "<!-- end -->").expect("<!-- end -->");
        fresh += "<!-- end -->\n";
        tables += 1;
    }
    assert!(tables > 0);
    if std::env::var_os("STEEP_UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        assert!(
            readme == fresh,
            "the tables are not those of the results: STEEP_UPDATE=1 cargo test --test readme"
        );
    }
}

#[test]
fn readme_links_lead_somewhere() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let links = readme.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let local: Vec<_> = links.filter(|l| !l.starts_with("http")).collect();
    assert!(local.len() > 5);
    for link in local {
        assert!(root().join(link).exists(), "{link}");
    }
}
