//! From rounds to rows, and rows as text, CSV, Markdown and JSON.

use serde_json::{Map, Value, json};
use steep::evaluate::metrics::{Digits, Estimate, Moments, Normal, jackknife};

use super::rounds::{Round, Scored};

/// A policy, over all rounds.
pub struct Row {
    pub policy: String,
    pub clips: usize,
    /// For each step, the share of clips that computed it.
    pub by_step: Vec<f64>,
    /// In the order of [`COLUMNS`]; None where there is nothing to measure.
    pub values: Vec<Option<Estimate>>,
}

/// Key, heading, decimals, factor of what is shown.
const COLUMNS: [(&str, &str, usize, f64); 14] = [
    ("computed", "computed", 1, 1.0),
    ("wall_ms", "ms", 0, 1.0),
    ("speedup", "speedup", 2, 1.0),
    ("bound", "bound", 2, 1.0),
    ("share", "reached %", 0, 100.0),
    ("psnr", "PSNR", 1, 1.0),
    ("ssim", "SSIM", 3, 1.0),
    ("foreground_psnr", "foreground", 1, 1.0),
    ("accuracy", "class %", 0, 100.0),
    ("frechet", "Fréchet", 2, 1.0),
    ("frechet_real", "to real", 1, 1.0),
    ("velocity_error", "velocity", 2, 1.0),
    ("jitter", "jitter", 2, 1.0),
    ("bounces", "bounces", 1, 1.0),
];

/// A row for each policy, in their order. Rounds come sorted. `real`: the features of real clips.
pub fn rows(rounds: &[Round], real: Option<&Normal>) -> Vec<Row> {
    // Seeds are independent; clips of one seed share their noise.
    let seeds: Vec<&[Round]> = rounds.chunk_by(|a, b| a.index == b.index).collect();
    let features: Vec<_> = (0..rounds[0].runs.len()).map(|at| features(&seeds, at)).collect();
    let (uncached, n) = (features[0].as_deref(), seeds.len());
    let row = |at: usize| {
        let ours = features[at].as_deref();
        let distances = [
            ours.zip(uncached.filter(|_| at > 0)).and_then(|(a, b)| distance(n, a, |which| join(b, which))),
            ours.zip(real).and_then(|(a, real)| distance(n, a, |_| Some(real.clone()))),
        ];
        row(rounds, &seeds, at, distances)
    };
    (0..features.len()).map(row).collect()
}

fn row(
    rounds: &[Round],
    seeds: &[&[Round]],
    at: usize,
    [frechet, frechet_real]: [Option<Estimate>; 2],
) -> Row {
    let policy = rounds[0].runs[at].policy.clone();
    // Over the clips of some seeds: a round, its uncached run, the policy's.
    let over = |which: &[usize], f: &dyn Fn(&Round, &Scored, &Scored) -> Option<f64>| {
        let rounds = which.iter().flat_map(|&i| seeds[i]);
        let values: Vec<f64> = rounds.filter_map(|r| f(r, &r.runs[0], &r.runs[at])).collect();
        (values.iter().sum::<f64>(), values.len())
    };
    let n = seeds.len();
    let shown = |e: Estimate| Some(e).filter(|e| e.value.is_finite());
    let mean = |f: &dyn Fn(&Round, &Scored, &Scored) -> Option<f64>| {
        shown(jackknife(n, |which| {
            let (sum, count) = over(which, f);
            sum / count as f64
        }))
    };
    type Part<'a> = &'a dyn Fn(&Scored, &Scored) -> f64;
    let ratio = |above: Part, below: Part| {
        let sum = |which: &[usize], part: Part| over(which, &|_, u, r| Some(part(u, r))).0;
        shown(jackknife(n, |which| sum(which, above) / sum(which, below)))
    };
    let steps = |r: &Scored| r.decisions.len() as f64;
    let judged = rounds.iter().any(|r| r.runs[at].features.is_some());
    let values = vec![
        mean(&|_, _, r| Some(r.computed() as f64)),
        mean(&|_, _, r| Some(r.wall_ms)),
        ratio(&|u, _| u.wall_ms, &|_, r| r.wall_ms),
        ratio(&|u, _| steps(u), &|_, r| r.computed() as f64),
        // (Σ uncached time / Σ time) / (Σ steps / Σ computed)
        shown(jackknife(n, |which| {
            let sum = |part: Part| over(which, &|_, u, r| Some(part(u, r))).0;
            let speedup = sum(&|u, _| u.wall_ms) / sum(&|_, r| r.wall_ms);
            speedup / (sum(&|u, _| steps(u)) / sum(&|_, r| r.computed() as f64))
        })),
        mean(&|_, _, r| r.psnr),
        mean(&|_, _, r| r.ssim),
        mean(&|_, _, r| r.foreground_psnr),
        mean(&|round, _, r| judged.then(|| f64::from(u8::from(r.seen == Some(round.class))))),
        frechet,
        frechet_real,
        mean(&|_, _, r| r.velocity_error),
        mean(&|_, _, r| r.jitter),
        mean(&|_, _, r| Some(r.turns as f64)),
    ];
    let length = rounds[0].runs[at].decisions.len();
    let computes = |run: &Scored, step: usize| run.decisions.as_bytes().get(step).is_some_and(|d| *d != b'S');
    let share =
        |step| rounds.iter().filter(|r| computes(&r.runs[at], step)).count() as f64 / rounds.len() as f64;
    Row { policy, clips: rounds.len(), by_step: (0..length).map(share).collect(), values }
}

/// What the classifier sees in a policy's frames, seed by seed.
fn features(seeds: &[&[Round]], at: usize) -> Option<Vec<Moments>> {
    let of = |rounds: &&[Round]| {
        let rows: Vec<f32> =
            rounds.iter().filter_map(|r| r.runs[at].features.as_ref()).flatten().copied().collect();
        Moments::of(&rows, Digits::FEATURES).ok()
    };
    seeds.iter().map(of).collect()
}

fn join(all: &[Moments], which: &[usize]) -> Option<Normal> {
    Moments::join(which.iter().map(|&i| &all[i]))?.normal()
}

/// Fréchet, over the same seeds of both.
fn distance(n: usize, ours: &[Moments], other: impl Fn(&[usize]) -> Option<Normal>) -> Option<Estimate> {
    let statistic = |which: &[usize]| match (join(ours, which), other(which)) {
        (Some(a), Some(b)) => a.frechet(&b),
        _ => f64::NAN,
    };
    Some(jackknife(n, statistic)).filter(|e| e.value.is_finite())
}

impl Row {
    pub fn json(&self) -> Value {
        let estimate = |e: &Estimate| json!({ "value": e.value, "half": e.half.filter(|h| h.is_finite()) });
        let mut row = Map::from_iter([
            ("policy".to_string(), json!(self.policy)),
            ("clips".to_string(), json!(self.clips)),
        ]);
        let values = COLUMNS.iter().zip(&self.values);
        row.extend(values.map(|((key, ..), e)| (key.to_string(), e.as_ref().map_or(Value::Null, estimate))));
        row.insert("by_step".to_string(), json!(self.by_step));
        Value::Object(row)
    }

    /// The values as they are shown, `-` where there is none.
    fn cells(&self) -> Vec<String> {
        let cell = |((key, _, decimals, factor), e): (&(&str, &str, usize, f64), &Option<Estimate>)| {
            let Some(e) = e else { return "-".to_string() };
            let value = format!("{:.*}", decimals, factor * e.value);
            // The bound follows from the computed steps, and so does its interval.
            let half = e.half.filter(|h| h.is_finite() && *key != "bound");
            half.map_or(value.clone(), |half| format!("{value}±{:.*}", decimals, factor * half))
        };
        COLUMNS.iter().zip(&self.values).map(cell).collect()
    }
}

fn headings() -> Vec<String> {
    COLUMNS.iter().map(|column| column.1.to_string()).collect()
}

/// For people, at a terminal: in two parts, gains and likeness, then what stands for itself.
pub fn text(rows: &[Row]) -> String {
    const CUT: usize = 8;
    let mut lines = vec![[vec!["policy".to_string()], headings()].concat()];
    lines.extend(rows.iter().map(|row| [vec![row.policy.chars().take(32).collect()], row.cells()].concat()));
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let part = |columns: std::ops::Range<usize>| {
        let line = |line: &Vec<String>| {
            let cells = columns.clone().map(|i| format!("  {:>1$}", line[i], width(i)));
            format!("  {:1$}{2}\n", line[0], width(0), cells.collect::<String>())
        };
        lines.iter().map(line).collect::<String>()
    };
    part(1..CUT + 1) + "\n" + &part(CUT + 1..COLUMNS.len() + 1)
}

/// For a README.
pub fn markdown(rows: &[Row]) -> String {
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let head = line([vec!["policy".to_string()], headings()].concat());
    let rule = format!("|{}\n", "---|".repeat(1 + COLUMNS.len()));
    let row = |row: &Row| line([vec![format!("`{}`", row.policy)], row.cells()].concat());
    head + &rule + &rows.iter().map(row).collect::<String>()
}

/// For programs: all digits; empty where there is none.
pub fn csv(rows: &[Row]) -> String {
    let names = COLUMNS.iter().flat_map(|(key, ..)| [key.to_string(), format!("{key}_half")]);
    let head =
        ["policy".to_string(), "clips".to_string()].into_iter().chain(names).collect::<Vec<_>>().join(",");
    let number = |x: Option<f64>| x.filter(|x| x.is_finite()).map_or(String::new(), |x| x.to_string());
    let row = |row: &Row| {
        let values =
            row.values.iter().flat_map(|e| [number(e.map(|e| e.value)), number(e.and_then(|e| e.half))]);
        // Coefficients are written with commas.
        let name = match row.policy.contains(',') {
            true => format!("\"{}\"", row.policy),
            false => row.policy.clone(),
        };
        let cells = [name, row.clips.to_string()].into_iter().chain(values);
        cells.collect::<Vec<_>>().join(",")
    };
    let lines = [head].into_iter().chain(rows.iter().map(row));
    lines.map(|line| line + "\n").collect()
}
