//! Tables in the README and in `docs` are made from committed results, `<!-- KIND FILE -->` .. `<!-- end -->`, and the
//! table of policies from the crate's own, `<!-- policies -->` .. `<!-- end -->`.
//!
//! `STEEP_UPDATE=1 cargo test --test readme` writes them anew.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value;
use steep::cache::{Measure, POLICIES, Span, Spec};
use steep::evaluate::metrics::{Estimate, wilson};

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

/// What has tables and links.
const PAGES: [&str; 6] = [
    "README.md",
    "docs/teacache.md",
    "docs/policies.md",
    "docs/performance.md",
    "docs/kernels.md",
    "docs/results.md",
];

/// The devices of a results file that were timed.
fn timed(results: &Value) -> Vec<&Value> {
    let all = results["devices"].as_array().unwrap().iter();
    all.filter(|device| !device["timed"].as_array().unwrap().is_empty()).collect()
}

fn rate(row: &Value) -> String {
    match row["gflops"].as_f64() {
        Some(gflops) => format!("{gflops:.0} GFLOP/s"),
        None => format!("{:.1} GB/s", number(row, "gbps")),
    }
}

/// The share of its ceiling that a row of `steep bench` reached. A row above it has none.
fn rating(row: &Value) -> String {
    match row["ceiling_pct"].as_f64() {
        Some(percent) => format!("{percent:.0} %"),
        None if row["in_cache"] == true => "in cache".into(),
        None => "above".into(),
    }
}

/// Whether the times of a row of a comparison are worth printing.
fn is_timed(row: &Value) -> bool {
    let of = |key: &str| Estimate { value: number(&row[key], "value"), half: row[key]["half"].as_f64() };
    of("speedup").is_timed() && of("share").is_within_bound()
}

/// A figure of a comparison as a cell. `trials`: how many seeds there are.
fn figure(row: &Value, key: &str, (decimals, factor, unit): (usize, f64, &str), trials: usize) -> String {
    let Some(value) = row[key]["value"].as_f64() else { return String::new() };
    let shown = format!("{:.decimals$}", factor * value);
    if key == "accuracy" {
        // Results that are older than Wilson's interval have another one.
        let ends = match (row[key]["low"].as_f64(), row[key]["high"].as_f64()) {
            (Some(low), Some(high)) => [low, high],
            _ => wilson(value, trials),
        };
        let [low, high] = ends.map(|end| format!("{:.decimals$}", factor * end));
        return format!("{shown}{unit} ({low}–{high})");
    }
    let estimate = Estimate { value, half: row[key]["half"].as_f64() };
    let timed = ["speedup", "share"].contains(&key);
    match estimate.half {
        _ if estimate.is_noise() => "noise".into(),
        Some(_) if timed && !is_timed(row) => "too short".into(),
        // What is the same for all seeds has no interval.
        Some(half) if factor * half >= 0.5 * 0.1f64.powi(decimals as i32) => {
            format!("{shown} ± {:.decimals$}{unit}", factor * half)
        }
        _ => format!("{shown}{unit}"),
    }
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
            // Older results have PyTorch alone.
            let rows = results["results"].as_array().unwrap();
            let all = [
                ("eager", "PyTorch eager"),
                ("compile", "torch.compile"),
                ("onnxruntime", "ONNX Runtime"),
                ("candle", "candle"),
            ];
            let peers =
                all.iter().filter(|(key, _)| rows.iter().all(|row| row[format!("{key}_ms")].is_number()));
            let peers: Vec<_> = peers.collect();
            let heads =
                |prefix: &str| peers.iter().map(|(_, name)| format!("{prefix}{name} |")).collect::<String>();
            writeln!(t, "| size |{} steep |{}", heads(" "), heads(" over ")).unwrap();
            writeln!(t, "|---|---|{}", "---|---|".repeat(peers.len())).unwrap();
            for row in rows {
                let ms = |key: &str| format!(" {:.1} ms |", number(row, &format!("{key}_ms")));
                let over = |key: &str| format!(" {:.2}× |", number(row, &format!("over_{key}")));
                let of = |cell: &dyn Fn(&str) -> String| {
                    peers.iter().map(|(key, _)| cell(key)).collect::<String>()
                };
                writeln!(t, "| {} |{}{}{}", text(row, "size"), of(&ms), ms("steep"), of(&over)).unwrap();
            }
            let (cpu, torch) = (text(results, "cpu"), text(results, "torch"));
            let version = |key: &str, name: &str| match results[key].as_str() {
                Some(version) => format!(", {name} {version}"),
                None => String::new(),
            };
            let others = version("onnxruntime", "ONNX Runtime") + &version("candle", "candle");
            let ours =
                results["steep"].as_str().map_or("two threads".into(), |ours| format!("steep on {ours}"));
            writeln!(t, "\n{cpu}, {ours}, PyTorch {torch}{others}; medians of interleaved rounds.").unwrap();
        }
        // One file of full size: diffusers, torch.compile and steep; and what steep's own plan says beside what a run took.
        "full" => {
            let spread = |way: &str| {
                let ratio = |row| number(row, &format!("{way}_ms")) / number(row, "steep_ms");
                let rounds = results["rounds"].as_array().unwrap().iter().map(ratio);
                rounds.clone().fold(0.0, f64::max) / rounds.fold(f64::MAX, f64::min)
            };
            // A machine that was busy at one of them says nothing of their times.
            let timed = spread("eager").max(spread("compile")) < 1.5;
            let time = |text: String| if timed { text } else { "machine too busy".into() };
            t += "| | one evaluation | steep is faster | peak memory |\n|---|---|---|---|\n";
            for (name, key) in
                [("diffusers, eager", "eager"), ("torch.compile", "compile"), ("steep", "steep")]
            {
                let ms = time(format!("{:.2} s", number(results, &format!("{key}_ms")) / 1e3));
                let over = results[format!("over_{key}")].as_f64();
                let over = over.map_or(String::new(), |over| time(format!("{over:.2}×")));
                let peak = number(&results["peak_bytes"], key) / 1e9;
                writeln!(t, "| {name} | {ms} | {over} | {peak:.2} GB |").unwrap();
            }
            let [torch, diffusers, cpu] = ["torch", "diffusers", "cpu"].map(|key| text(results, key));
            let error = number(results, "error");
            writeln!(
                t,
                "\n{cpu}, two threads, PyTorch {torch}, diffusers {diffusers}; medians of interleaved rounds; largest \
                 difference {error:.0e} of the largest value.\n"
            )
            .unwrap();
            t += "| run of 2 steps | plan | peak | off by |\n|---|---|---|---|\n";
            for row in results["plans"].as_array().unwrap() {
                let [planned, peak] = ["planned_bytes", "peak_bytes"].map(|key| number(row, key) / 1e9);
                let off = 100.0 * number(row, "off");
                writeln!(t, "| {} | {planned:.2} GB | {peak:.2} GB | {off:+.1} % |", text(row, "dtype"))
                    .unwrap();
            }
        }
        // The best source of each op and shape, device by device.
        "ops" => {
            let devices = timed(results);
            t += "| op | shape |";
            for device in &devices {
                write!(t, " {} | of its ceiling | largest error |", text(device, "name")).unwrap();
            }
            writeln!(t, "\n|---|---|{}", "---|---|---|".repeat(devices.len())).unwrap();
            let mut last = ("", "");
            for row in devices[0]["timed"].as_array().unwrap() {
                let (op, shape) = (text(row, "op"), text(row, "shape"));
                if std::mem::replace(&mut last, (op, shape)) == (op, shape) {
                    continue;
                }
                write!(t, "| `{op}` | {shape} |").unwrap();
                for device in &devices {
                    // Sources come best first: the one that runs unless another is asked for.
                    let same = |r: &&Value| (text(r, "op"), text(r, "shape")) == (op, shape);
                    let row = device["timed"].as_array().unwrap().iter().find(same);
                    let row = row.unwrap_or_else(|| panic!("no {op} {shape} on {}", device["name"]));
                    // On the CPU, no source stands before a faster one.
                    let first = text(device, "name") != "cpu" || row["outrun_by"].is_null();
                    assert!(first, "{op} {shape}: {} is faster than {}", row["outrun_by"], row["source"]);
                    let (rating, error) = (rating(row), number(row, "error"));
                    write!(t, " {} | {rating} | {error:.0e} |", rate(row)).unwrap();
                }
                t += "\n";
            }
            let devices: Vec<&str> = devices.iter().map(|device| text(device, "description")).collect();
            writeln!(t, "\n{}; f32.", devices.join("; ")).unwrap();
        }
        // Every source on every device, for the shapes that fill a GPU.
        "ladder" => {
            t += "| op | shape | device | source | time | rate | of its ceiling |\n|---|---|---|---|---|---|---|\n";
            let large = ["1024×1024×1024", "spatial 1×8×1024×64", "2 × 64 MiB", "4096×1152"];
            let shown = |row: &&Value| {
                let ops = ["linear", "attention", "rel_l1", "modulate"];
                ops.contains(&text(row, "op")) && large.contains(&text(row, "shape"))
            };
            let devices = timed(results);
            for op in ["rel_l1", "modulate", "linear", "attention"] {
                for device in &devices {
                    let rows = device["timed"].as_array().unwrap().iter().filter(shown);
                    for row in rows.filter(|row| text(row, "op") == op) {
                        let (name, shape, source) =
                            (text(device, "name"), text(row, "shape"), text(row, "source"));
                        let (ms, rate, rating) = (number(row, "ms"), rate(row), rating(row));
                        writeln!(
                            t,
                            "| `{op}` | {shape} | {name} | {source} | {ms:.1} ms | {rate} | {rating} |"
                        )
                        .unwrap();
                    }
                }
            }
            let devices: Vec<&str> = devices.iter().map(|device| text(device, "description")).collect();
            writeln!(t, "\n{}; f32.", devices.join("; ")).unwrap();
        }
        // Cache policies against uncached runs; what follows ± is half a 95 % interval over seeds.
        "compare" => {
            t += "| cache | computed | speedup | of its bound | PSNR | foreground | SSIM | class | Fréchet | to real |\n";
            t += "|---|---|---|---|---|---|---|---|---|---|\n";
            for row in results["rows"].as_array().unwrap() {
                let trials = count(&results["settings"], "seeds") as usize;
                let cell =
                    |key: &str, decimals, factor, unit| figure(row, key, (decimals, factor, unit), trials);
                let name = text(row, "policy");
                // A mask is as long as the run: what it has computes is in the next column.
                let name = match name.split_once(':') {
                    Some(("mask", rest)) => format!("static{}", rest.trim_start_matches(['0', '1'])),
                    Some(("tea", rest)) if rest.contains(',') => {
                        let (threshold, polynomial) = rest.split_once(':').unwrap();
                        let degree = 4 - polynomial.split(',').take_while(|c| *c == "0").count();
                        format!("tea:{threshold}, degree {degree}")
                    }
                    _ => name.split('@').next().unwrap_or(name).to_string(),
                };
                let cells = [
                    cell("computed", 1, 1.0, ""),
                    cell("speedup", 2, 1.0, "×"),
                    cell("share", 0, 100.0, " %"),
                    cell("psnr", 1, 1.0, " dB"),
                    cell("foreground_psnr", 1, 1.0, " dB"),
                    cell("ssim", 3, 1.0, ""),
                    cell("accuracy", 0, 100.0, " %"),
                    cell("frechet", 2, 1.0, ""),
                    cell("frechet_real", 0, 1.0, ""),
                ];
                writeln!(t, "| `{name}` | {} |", cells.join(" | ")).unwrap();
            }
            let settings = &results["settings"];
            let (clips, steps) = (count(results, "rounds"), count(settings, "steps"));
            let (device, model) = (text(settings, "device"), text(settings, "model"));
            writeln!(t, "\n{clips} clips of {steps} steps, {model}, {device}.").unwrap();
        }
        // What the 16-bit kernels use (f32 where a source has one type), for Hopper.
        "kernels" => {
            t +=
                "| op | source | variant | registers | shared memory | spills |\n|---|---|---|---|---|---|\n";
            let rows: Vec<_> = results.as_array().unwrap().iter().collect();
            let shown = |row: &&&Value| {
                let variant = text(row, "variant");
                let usual = ["bf16", "bf16 to f32", "bf16 head=64", "bf16 head=72", "bf16 head=128"];
                text(row, "arch") == "sm_90a" && usual.contains(&variant)
            };
            for row in rows.iter().filter(shown) {
                let [kernel, source, variant] = ["kernel", "source", "variant"].map(|key| text(row, key));
                let [registers, shared, spills] =
                    ["registers", "shared", "spills"].map(|key| count(row, key));
                let shared = shared as f64 / 1024.0;
                writeln!(
                    t,
                    "| `{kernel}` | {source} | {variant} | {registers} | {shared:.1} KiB | {spills} |"
                )
                .unwrap();
            }
            let most = |key| rows.iter().map(|row| count(row, key)).max().unwrap_or(0);
            let warnings: usize = rows.iter().map(|row| row["warnings"].as_array().unwrap().len()).sum();
            writeln!(
                t,
                "\n{} compilations for sm_80 and sm_90a: at most {} registers, {} bytes of stack, {} bytes of spills, \
                 {warnings} warnings.",
                rows.len(),
                most("registers"),
                most("stack"),
                most("spills")
            )
            .unwrap();
        }
        // What the emulator counts in the CUDA kernels, and an estimate of what it means.
        "counters" => {
            t += "| op | source | case | sectors used | rounds | lanes | waiting | A100 | H100 | main loop |\n";
            t += "|---|---|---|---|---|---|---|---|---|---|\n";
            for row in results.as_array().unwrap() {
                let [op, source, case, dtype] = ["op", "source", "case", "dtype"].map(|key| text(row, key));
                let case = case.split([',', ' ']).next().unwrap_or(case);
                let sums = &row["sums"];
                let percent = |key| format!("{:.0} %", 100.0 * number(sums, key));
                let (lanes, rounds) = (32.0 * number(sums, "active"), number(sums, "conflicts"));
                let estimates = row["estimates"].as_array().unwrap();
                let bounds: Vec<String> = estimates
                    .iter()
                    .map(|e| format!("{:.1} µs, {}", number(e, "us"), text(e, "by")))
                    .collect();
                let main = &estimates[0]["main_loop"];
                let main = match main["instructions"].as_u64() {
                    None => String::new(),
                    Some(n) => {
                        let of = |class: &str| main["classes"][class].as_u64().unwrap_or(0);
                        match (of("tensor"), of("float")) {
                            (0, float) => format!("{n}, {float} float"),
                            (tensor, _) => format!("{n}, {tensor} tensor"),
                        }
                    }
                };
                let (coalesced, idle) = (percent("coalesced"), percent("idle"));
                writeln!(
                    t,
                    "| `{op}` | {source} | {dtype} {case} | {coalesced} | {rounds:.2} | {lanes:.0} | {idle} | {} | {main} |",
                    bounds.join(" | ")
                )
                .unwrap();
            }
        }
        "peers" => {
            t += "| op | shape | steep | burn-wgpu | ratio |\n|---|---|---|---|---|\n";
            for row in results.as_array().unwrap() {
                let (op, shape, unit) = (text(row, "op"), text(row, "shape"), text(row, "unit"));
                let (ours, theirs) = (number(row, "steep"), number(row, "burn"));
                let ratio = number(row, "ratio");
                writeln!(t, "| `{op}` | {shape} | {ours:.1} {unit} | {theirs:.1} {unit} | {ratio:.1}× |")
                    .unwrap();
            }
            writeln!(
                t,
                "\n{}, f32, burn {}.",
                text(&results[0], "device"),
                text(&results[0], "burn_version")
            )
            .unwrap();
        }
        _ => panic!("no table of kind {kind}"),
    }
    t
}

/// The named policies, from the table that parses them.
fn policies() -> String {
    let mut t = "| policy | measures | skips a step when | leaves out | limits | from |\n".to_string();
    t += "|---|---|---|---|---|---|\n";
    for entry in POLICIES {
        let measured = match entry.measure {
            Measure::Nothing => "",
            Measure::Signal => "block 0's modulated input",
            Measure::FilteredSignal => "the modulated input, filtered",
            Measure::FirstBlock => "what block 0 adds",
            Measure::Output => "the clip, and past outputs",
        };
        let span = match entry.span {
            _ if entry.name == "off" => "",
            Span::Blocks => "all blocks",
            Span::OtherBlocks => "all blocks but the first",
            Span::Model => "the whole model",
        };
        let limits = entry.limits.iter().map(|limit| format!("`+{limit}`")).collect::<Vec<_>>().join(" ");
        let source = entry.source.map_or(String::new(), |(name, link)| format!("[{name}]({link})"));
        let setting = format!("{}{}", entry.name, entry.arguments);
        writeln!(t, "| `{setting}` | {measured} | {} | {span} | {limits} | {source} |", entry.skips_when)
            .unwrap();
    }
    writeln!(t, "\nThe grammar in full: `{}`.", Spec::grammar()).unwrap();
    t
}

/// Every device that a file of a folder verified, best known first: GPUs, then what computes on a processor.
fn machines(folder: &str) -> String {
    let mut rows = vec![];
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if !name.ends_with(".verify.json") && !name.ends_with(".page.json") {
            continue;
        }
        let results: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(results["format"], "steep results 1", "{name}");
        for device in results["devices"].as_array().unwrap() {
            let verified = device["verified"].as_array().unwrap();
            if verified.is_empty() {
                continue;
            }
            let (facts, machine) = (&device["facts"], &results["machine"]);
            let sources: std::collections::BTreeSet<_> =
                verified.iter().map(|row| text(row, "source")).collect();
            let sources = sources.into_iter().collect::<Vec<_>>().join(", ");
            let cases: u64 = verified.iter().map(|row| count(row, "cases")).sum();
            let wrong: u64 = verified.iter().map(|row| count(row, "wrong")).sum();
            let right =
                if wrong == 0 { format!("all {cases}") } else { format!("{} of {cases}", cases - wrong) };
            let (hardware, backend) = (text(facts, "hardware"), text(facts, "backend"));
            let under = [machine["browser"].as_str(), Some(text(machine, "os")), Some(text(facts, "driver"))];
            let under =
                under.into_iter().flatten().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ");
            let date = text(&results, "date");
            let row = format!(
                "| {hardware} | {backend} | {under} | {sources} | {right} | [{date}](../{folder}/{name}) |"
            );
            rows.push((facts["software"] == true, hardware.to_string(), row));
        }
    }
    rows.sort();
    let mut t = "| hardware | runs on | under | sources | cases right | file |\n|---|---|---|---|---|---|\n"
        .to_string();
    rows.iter().for_each(|(.., row)| writeln!(t, "{row}").unwrap());
    t
}

#[test]
fn tables_come_from_committed_results() {
    let tables: usize = PAGES.into_iter().map(check_tables).sum();
    assert!(tables > 10);
}

/// The block of code whose first line begins with `from`, to the brace that closes it.
fn excerpt(code: &str, from: &str) -> String {
    let all: Vec<&str> = code.lines().skip_while(|line| !line.trim_start().starts_with(from)).collect();
    let indent = all.first().map_or(0, |line| line.len() - line.trim_start().len());
    let close = format!("{}}}", " ".repeat(indent));
    let end = all.iter().position(|line| *line == close).unwrap_or_else(|| panic!("no end of {from}"));
    let lines = all[..=end].iter().map(|line| line.get(indent..).unwrap_or(""));
    format!("```rust\n{}\n```\n", lines.collect::<Vec<_>>().join("\n"))
}

/// Makes the tables of a page anew; how many it has.
fn check_tables(page: &str) -> usize {
    let path = root().join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let mut fresh = String::new();
    let mut lines = text.lines();
    let mut tables = 0;
    while let Some(line) = lines.next() {
        writeln!(fresh, "{line}").unwrap();
        let Some(marker) = line.strip_prefix("<!-- ").and_then(|l| l.strip_suffix(" -->")) else { continue };
        let (kind, file) = marker.split_once(' ').unwrap_or((marker, ""));
        let (file, from) = file.split_once(' ').unwrap_or((file, ""));
        let contents =
            || std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        fresh += &match kind {
            "policies" => policies(),
            "machines" => machines(file),
            "code" => excerpt(&contents(), from),
            kind => table(kind, &serde_json::from_str(&contents()).unwrap()),
        };
        lines.find(|l| *l == "<!-- end -->").expect("<!-- end -->");
        fresh += "<!-- end -->\n";
        tables += 1;
    }
    if std::env::var_os("STEEP_UPDATE").is_some() {
        std::fs::write(&path, &fresh).unwrap();
    } else {
        let update = "STEEP_UPDATE=1 cargo test --test readme";
        assert!(text == fresh, "{page}: the tables are not those of the results: {update}");
    }
    tables
}

#[test]
fn links_lead_somewhere() {
    let mut local = 0;
    for page in PAGES {
        let path = root().join(page);
        let text = std::fs::read_to_string(&path).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|l| !l.starts_with("http")) {
            let (file, heading) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(target.exists(), "{page}: {link}");
            let headed = || headings(&std::fs::read_to_string(&target).unwrap()).any(|h| h == heading);
            assert!(heading.is_empty() || headed(), "{page}: {link}");
            local += 1;
        }
    }
    assert!(local > 5);
}

/// Of a page, as links name them.
fn headings(text: &str) -> impl Iterator<Item = String> {
    let of = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
        kept.collect::<String>().replace(' ', "-")
    };
    text.lines().filter(|l| l.starts_with('#')).map(of).collect::<Vec<_>>().into_iter()
}
