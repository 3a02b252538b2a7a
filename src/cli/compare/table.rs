//! From rounds to rows, and rows as text, CSV, Markdown and JSON.

use std::collections::BTreeSet;
use std::ops::Range;

use serde_json::{Map, Value, json};
use steep::cache::Spec;
use steep::evaluate::metrics::{Digits, Estimate, Moments, Normal, jackknife, wilson};

use super::rounds::{Round, Scored, UNCACHED};
use crate::cli::generate::LONG;

/// All policies over their clips.
pub struct Table<'a> {
    pub rows: Vec<Row>,
    /// How many clips any policy has.
    pub clips: usize,
    /// Of each policy that has it, the run of the first clip.
    pub first: Vec<&'a Scored>,
    /// The kinds of device that the clips were made on.
    pub kinds: Vec<String>,
    /// The rows of each kind alone, where there are several.
    by_kind: Vec<Vec<Row>>,
}

/// A policy, over its clips.
pub struct Row {
    pub policy: String,
    pub clips: usize,
    /// For each step, the share of clips that computed it.
    pub by_step: Vec<f64>,
    /// In the order of [`COLUMNS`]; None where there is nothing to measure.
    pub values: Vec<Option<Figure>>,
}

/// A number and how sure it is.
#[derive(Clone, Copy)]
pub enum Figure {
    Mean(Estimate),
    /// A ratio of times that is too uncertain to be printed.
    Untimed(Estimate),
    /// A share of clips, and the ends of its interval.
    Proportion(f64, [f64; 2]),
}

/// A policy's run of a clip, and the uncached one that was made beside it.
#[derive(Clone, Copy)]
struct Pair<'a> {
    round: &'a Round,
    uncached: &'a Scored,
    run: &'a Scored,
    /// The place of its kind of device among all.
    kind: usize,
}

/// Key, heading, decimals, factor of what is shown.
type Column = (&'static str, &'static str, usize, f64);
const COLUMNS: [Column; 14] = [
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
/// The column that is a share of clips.
const PROPORTION: &str = "accuracy";
/// The columns that a clock measures.
const TIMES: [&str; 3] = ["wall_ms", "speedup", "share"];

impl<'a> Table<'a> {
    /// A row for each policy that has any of the clips, in their order. `real`: the features of real clips.
    pub fn new(
        policies: &[String],
        clips: &[(u64, usize)],
        rounds: &'a [Round],
        real: Option<&Normal>,
    ) -> Table<'a> {
        // One order, whoever ran what when: sums are the same to the bit.
        let clips: BTreeSet<_> = clips.iter().copied().collect();
        let mut rounds: Vec<&Round> = rounds.iter().filter(|round| clips.contains(&round.clip())).collect();
        rounds.sort_by_key(|round| round.clip());
        let kinds: BTreeSet<String> = rounds.iter().map(|round| round.kind()).collect();
        let kinds: Vec<String> = kinds.into_iter().collect();
        let kind = |round: &Round| kinds.binary_search(&round.kind()).unwrap_or(0);
        let rounds: Vec<(&Round, usize)> = rounds.into_iter().map(|round| (round, kind(round))).collect();
        let first = |policy: &String| rounds.iter().find_map(|(round, _)| round.run(policy));
        let rows = |rounds: &[(&'a Round, usize)]| {
            policies.iter().filter_map(|p| row(p, &pairs(p, rounds), real)).collect::<Vec<_>>()
        };
        let of = |kind: usize| rounds.iter().copied().filter(|(_, of)| *of == kind).collect::<Vec<_>>();
        let by_kind = match kinds.len() {
            0 | 1 => vec![],
            all => (0..all).map(|kind| rows(&of(kind))).collect(),
        };
        Table {
            rows: rows(&rounds),
            clips: rounds.iter().map(|(round, _)| round.clip()).collect::<BTreeSet<_>>().len(),
            first: policies.iter().filter_map(first).collect(),
            kinds,
            by_kind,
        }
    }

    /// What a clock measured on each kind of device; nothing where there is one kind.
    pub fn devices(&self) -> Value {
        let rows = |rows: &Vec<Row>| rows.iter().map(Row::times).collect::<Value>();
        let kinds = self.kinds.iter().zip(&self.by_kind);
        kinds.map(|(kind, all)| json!({ "device": kind, "rows": rows(all) })).collect()
    }
}

/// A policy's runs, by clip. Uncached clips have one for each time that policies were added; the first is taken.
fn pairs<'a>(policy: &str, rounds: &[(&'a Round, usize)]) -> Vec<Pair<'a>> {
    let pair = |&(round, kind): &(&'a Round, usize)| {
        Some(Pair { round, uncached: round.runs.first()?, run: round.run(policy)?, kind })
    };
    let mut pairs: Vec<Pair<'a>> = rounds.iter().filter_map(pair).collect();
    pairs.dedup_by_key(|pair| pair.round.clip());
    pairs
}

/// None where there are no pairs.
fn row(policy: &str, pairs: &[Pair<'_>], real: Option<&Normal>) -> Option<Row> {
    // Seeds are independent; clips of one seed share their noise.
    let seeds: Vec<&[Pair<'_>]> = pairs.chunk_by(|a, b| a.round.seed == b.round.seed).collect();
    let n = seeds.len();
    let length = pairs.first()?.run.decisions.len();
    let kinds: BTreeSet<usize> = pairs.iter().map(|pair| pair.kind).collect();
    // Over the clips of some seeds.
    let over = |which: &[usize], f: &dyn Fn(&Pair<'_>) -> Option<f64>| {
        let values: Vec<f64> = which.iter().flat_map(|&i| seeds[i]).filter_map(f).collect();
        (values.iter().sum::<f64>(), values.len())
    };
    let shown = |e: Estimate| Some(e).filter(|e| e.value.is_finite());
    let average = |f: &dyn Fn(&Pair<'_>) -> Option<f64>| {
        shown(jackknife(n, |which| {
            let (sum, count) = over(which, f);
            sum / count as f64
        }))
    };
    let mean = |f: &dyn Fn(&Pair<'_>) -> Option<f64>| average(f).map(Figure::Mean);
    let ratio = |which: &[usize], above: &dyn Fn(&Pair<'_>) -> f64, below: &dyn Fn(&Pair<'_>) -> f64| {
        over(which, &|p| Some(above(p))).0 / over(which, &|p| Some(below(p))).0
    };
    let steps = |p: &Pair<'_>| p.uncached.decisions.len() as f64;
    let computed = |p: &Pair<'_>| p.run.computed() as f64;
    let bound = |which: &[usize]| ratio(which, &steps, &computed);
    // Times are compared on one kind of device, and kinds weigh as much as they have clips.
    let speedup = |which: &[usize]| {
        let of = |kind: &usize| {
            let time = |wall: f64, p: &Pair<'_>| Some(wall).filter(|_| p.kind == *kind);
            let (uncached, clips) = over(which, &|p| time(p.uncached.wall_ms, p));
            let (cached, _) = over(which, &|p| time(p.run.wall_ms, p));
            (clips > 0).then(|| (clips as f64, uncached / cached))
        };
        let ratios: Vec<(f64, f64)> = kinds.iter().filter_map(of).collect();
        let clips: f64 = ratios.iter().map(|(clips, _)| clips).sum();
        ratios.iter().map(|(clips, ratio)| clips * ratio).sum::<f64>() / clips
    };
    // Only noise lies between a run without a cache and another one. A single clip has no interval, but may have taken long
    // enough, as may the uncached run beside itself.
    let off = policy == Spec::off().to_string();
    let took: f64 = pairs.iter().map(|p| p.uncached.wall_ms + p.run.wall_ms).sum();
    let gained = shown(jackknife(n, speedup)).filter(|_| !off);
    let share = shown(jackknife(n, |which| speedup(which) / bound(which))).filter(|_| !off);
    let long = n == 1 && took > 1e3 * LONG;
    let known = long || gained.is_some_and(|gained| gained.is_timed());
    let known = policy == UNCACHED || (known && share.is_some_and(|share| share.is_within_bound()));
    let timed = |e: Estimate| if known { Figure::Mean(e) } else { Figure::Untimed(e) };
    let judged = pairs.iter().any(|p| p.run.features.is_some());
    let right = average(&|p| judged.then(|| f64::from(u8::from(p.run.seen == Some(p.round.class)))));
    let [ours, uncached] =
        [|p: &Pair<'_>| p.run.features.clone(), |p: &Pair<'_>| p.uncached.features.clone()]
            .map(|of| features(&seeds, of));
    let ours = ours.as_deref();
    let frechet = ours
        .zip(uncached.as_deref().filter(|_| policy != UNCACHED))
        .and_then(|(a, b)| distance(n, a, |which| join(b, which)));
    let frechet_real = ours.zip(real).and_then(|(a, real)| distance(n, a, |_| Some(real.clone())));
    let values = vec![
        mean(&|p| Some(computed(p))),
        match kinds.len() {
            1 => mean(&|p| Some(p.run.wall_ms)),
            _ => None,
        },
        gained.map(timed),
        shown(jackknife(n, bound)).map(Figure::Mean),
        share.map(timed),
        mean(&|p| p.run.psnr),
        mean(&|p| p.run.ssim),
        mean(&|p| p.run.foreground_psnr),
        right.map(|e| Figure::Proportion(e.value, wilson(e.value, n))),
        frechet.map(Figure::Mean),
        frechet_real.map(Figure::Mean),
        mean(&|p| p.run.velocity_error),
        mean(&|p| p.run.jitter),
        mean(&|p| Some(p.run.turns as f64)),
    ];
    let computes =
        |p: &Pair<'_>, step: usize| p.run.decisions.as_bytes().get(step).is_some_and(|d| *d != b'S');
    let share = |step| pairs.iter().filter(|p| computes(p, step)).count() as f64 / pairs.len() as f64;
    Some(Row { policy: policy.into(), clips: pairs.len(), by_step: (0..length).map(share).collect(), values })
}

/// What the classifier sees in some frames, seed by seed.
fn features(seeds: &[&[Pair<'_>]], of: impl Fn(&Pair<'_>) -> Option<Vec<f32>>) -> Option<Vec<Moments>> {
    let moments = |pairs: &&[Pair<'_>]| {
        let rows: Vec<f32> = pairs.iter().filter_map(&of).flatten().collect();
        Moments::of(&rows, Digits::FEATURES).ok()
    };
    seeds.iter().map(moments).collect()
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

impl Figure {
    fn json(&self) -> Value {
        match self {
            Figure::Mean(e) | Figure::Untimed(e) => {
                json!({ "value": e.value, "half": e.half.filter(|h| h.is_finite()) })
            }
            Figure::Proportion(value, [low, high]) => json!({ "value": value, "low": low, "high": high }),
        }
    }

    /// As people read it. `half`: whether the interval is shown.
    fn text(&self, decimals: usize, factor: f64, half: bool) -> String {
        let number = |x: f64| format!("{:.decimals$}", factor * x);
        match self {
            Figure::Proportion(value, [low, high]) => {
                format!("{} ({}–{})", number(*value), number(*low), number(*high))
            }
            Figure::Mean(e) if e.is_noise() => "noise".into(),
            Figure::Untimed(_) => "too short".into(),
            Figure::Mean(e) => {
                // What is the same for all seeds has no interval.
                let shown =
                    |h: &f64| half && h.is_finite() && factor * h >= 0.5 * 0.1f64.powi(decimals as i32);
                match e.half.filter(shown) {
                    Some(half) => format!("{}±{}", number(e.value), number(half)),
                    None => number(e.value),
                }
            }
        }
    }
}

impl Row {
    pub fn json(&self) -> Value {
        let mut row = self.head();
        let values = COLUMNS.iter().zip(&self.values);
        row.extend(
            values.map(|((key, ..), f)| (key.to_string(), f.as_ref().map_or(Value::Null, Figure::json))),
        );
        row.insert("by_step".to_string(), json!(self.by_step));
        Value::Object(row)
    }

    /// What depends on the device alone.
    fn times(&self) -> Value {
        let mut row = self.head();
        let values = COLUMNS.iter().zip(&self.values).filter(|((key, ..), _)| TIMES.contains(key));
        row.extend(
            values.map(|((key, ..), f)| (key.to_string(), f.as_ref().map_or(Value::Null, Figure::json))),
        );
        Value::Object(row)
    }

    fn head(&self) -> Map<String, Value> {
        Map::from_iter([("policy".to_string(), json!(self.policy)), ("clips".to_string(), json!(self.clips))])
    }

    /// The values as they are shown, `-` where there is none.
    fn cells(&self) -> Vec<String> {
        let cell = |((key, _, decimals, factor), f): (&Column, &Option<Figure>)| {
            // The bound follows from the computed steps, and so does its interval.
            f.as_ref().map_or("-".into(), |f| f.text(*decimals, *factor, *key != "bound"))
        };
        COLUMNS.iter().zip(&self.values).map(cell).collect()
    }
}

fn headings() -> Vec<String> {
    COLUMNS.iter().map(|column| column.1.to_string()).collect()
}

impl Table<'_> {
    /// For people, at a terminal: in two parts, gains and likeness, then what stands for itself. With several kinds of
    /// device a third has the times of each.
    pub fn text(&self) -> String {
        const CUT: usize = 8;
        let names =
            |rows: &[Row]| rows.iter().map(|row| row.policy.chars().take(32).collect()).collect::<Vec<_>>();
        let cells: Vec<Vec<String>> = self.rows.iter().map(Row::cells).collect();
        let part = |columns: Range<usize>| {
            let cut = |cells: &Vec<String>| cells[columns.clone()].to_vec();
            aligned(
                &names(&self.rows),
                &headings()[columns.clone()],
                &cells.iter().map(cut).collect::<Vec<_>>(),
            )
        };
        let mut text = part(0..CUT) + "\n" + &part(CUT..COLUMNS.len());
        let timed: Vec<usize> = (0..COLUMNS.len()).filter(|i| TIMES.contains(&COLUMNS[*i].0)).collect();
        let pick = |all: Vec<String>| timed.iter().map(|i| all[*i].clone()).collect::<Vec<_>>();
        for (kind, rows) in self.kinds.iter().zip(&self.by_kind) {
            let clips = rows.iter().map(|row| row.clips).max().unwrap_or(0);
            let cells: Vec<Vec<String>> = rows.iter().map(|row| pick(row.cells())).collect();
            text +=
                &format!("\n{clips} clips on {kind}\n{}", aligned(&names(rows), &pick(headings()), &cells));
        }
        for (word, meaning) in [
            ("noise", "the 95 % interval reaches zero: too few clips to know the number"),
            (
                "too short",
                "uncertain by more than a fifth, or above its bound: more --seeds or --steps make it known",
            ),
        ] {
            if text.contains(word) {
                text += &format!("\n  {word}: {meaning}");
            }
        }
        text.trim_end().to_string() + "\n"
    }

    /// For a README.
    pub fn markdown(&self) -> String {
        let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let head = line([vec!["policy".to_string()], headings()].concat());
        let rule = format!("|{}\n", "---|".repeat(1 + COLUMNS.len()));
        let row = |row: &Row| line([vec![format!("`{}`", row.policy)], row.cells()].concat());
        head + &rule + &self.rows.iter().map(row).collect::<String>()
    }

    /// For programs: all digits; empty where there is none. A proportion has the ends of its interval, all others half of
    /// it.
    pub fn csv(&self) -> String {
        let names = COLUMNS.iter().flat_map(|(key, ..)| match *key {
            PROPORTION => vec![key.to_string(), format!("{key}_low"), format!("{key}_high")],
            _ => vec![key.to_string(), format!("{key}_half")],
        });
        let head = ["policy".to_string(), "clips".to_string()]
            .into_iter()
            .chain(names)
            .collect::<Vec<_>>()
            .join(",");
        let number = |x: Option<f64>| x.filter(|x| x.is_finite()).map_or(String::new(), |x| x.to_string());
        let numbers = |((key, ..), figure): (&Column, &Option<Figure>)| match figure {
            Some(Figure::Mean(e) | Figure::Untimed(e)) => vec![Some(e.value), e.half],
            Some(Figure::Proportion(value, [low, high])) => vec![Some(*value), Some(*low), Some(*high)],
            None => vec![None; if *key == PROPORTION { 3 } else { 2 }],
        };
        let row = |row: &Row| {
            let values = COLUMNS.iter().zip(&row.values).flat_map(numbers).map(number);
            // Coefficients are written with commas.
            let name = match row.policy.contains(',') {
                true => format!("\"{}\"", row.policy),
                false => row.policy.clone(),
            };
            let cells = [name, row.clips.to_string()].into_iter().chain(values);
            cells.collect::<Vec<_>>().join(",")
        };
        let lines = [head].into_iter().chain(self.rows.iter().map(row));
        lines.map(|line| line + "\n").collect()
    }
}

/// Lines of a name and cells under headings, each column as wide as it must be.
fn aligned(names: &[String], headings: &[String], cells: &[Vec<String>]) -> String {
    let head = [vec!["policy".to_string()], headings.to_vec()].concat();
    let rows = names.iter().zip(cells).map(|(name, cells)| [vec![name.clone()], cells.clone()].concat());
    let lines: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
    let width = |at: usize| lines.iter().map(|line| line[at].chars().count()).max().unwrap_or(0);
    let line = |line: &Vec<String>| {
        let cells = line.iter().enumerate().skip(1).map(|(i, cell)| format!("  {cell:>0$}", width(i)));
        format!("  {:1$}{2}\n", line[0], width(0), cells.collect::<String>())
    };
    lines.iter().map(line).collect()
}
