//! `steep plan`

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use steep::cache::{IDENTITY, Negative, SETS, Spec, Step, TeaCache, letters, replay, shortest};
use steep::model::{Checkpoint, Dit, Model};
use steep::sample::Recording;
use steep::{DType, Device, Error, Result, generate};

use super::{report, say};

/// Replay recorded distances: which steps would a rule have skipped? Or search: which are best skipped?
///
/// Replaying prints the decisions, F forced, C computed, S skipped, and their count; no model is run. Searching runs
/// the model uncached, works out what skipping each stretch of steps would do to its clips, and prints the best
/// schedule of so many computed steps, as --cache takes it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep plan --coefficients flux-1-dev --threshold 0.4 distances.txt
  steep generate --cache tea:0.1 --json - --quiet | steep plan --threshold 0.2 --table -
  steep generate --cache sea:0.1 --json - --quiet | steep plan --cache sea:0.2+max-skips=3 -
  steep generate --compare --cache $(steep plan --search 20)")]
pub struct Args {
    /// Distances as text, or a record that `generate --json` wrote; `-` is standard input.
    /// Text is numbers between spaces, commas or line ends; `#` begins a comment; a missing one is `-` or nan.
    /// Without one for the first step, a list is one shorter than the run
    #[arg(required_unless_present_any = ["list", "search"], conflicts_with = "search", value_name = "FILE")]
    file: Option<PathBuf>,
    /// δ: skip while the sum of the rescaled distances is below it
    #[arg(long, value_name = "δ", required_unless_present_any = ["list", "search", "cache"], allow_negative_numbers = true)]
    threshold: Option<f64>,
    /// The rule as `generate --cache` takes it, instead of a TeaCache threshold. Not those whose distances
    /// depend on what they decide (fb, easy)
    #[arg(long, value_name = "SPEC", conflicts_with_all = ["threshold", "coefficients", "negative", "warmup", "no_force_last"])]
    cache: Option<Spec>,
    /// Rescaling polynomial: a name from --list, or c4,c3,c2,c1,c0; without it, distances count as they are
    #[arg(long, value_name = "SET", allow_hyphen_values = true)]
    coefficients: Option<String>,
    /// What to do where the polynomial is below zero
    #[arg(long, value_name = "MODE", default_value = Negative::default().name(), value_parser = modes())]
    negative: String,
    /// Steps of the run; without it, as the list is long, or 50 of a search
    #[arg(long, value_name = "T")]
    steps: Option<usize>,
    /// How many first steps always compute
    #[arg(long, value_name = "N", default_value_t = 1)]
    warmup: usize,
    /// Let the last step be skipped
    #[arg(long)]
    no_force_last: bool,
    /// Also print a row for each step
    #[arg(long)]
    table: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// List the published coefficients instead
    #[arg(long)]
    list: bool,
    /// Search for the best schedule of N computed steps, the first and the last among them
    #[arg(long, value_name = "N", help_heading = "Search")]
    search: Option<usize>,
    /// Checkpoint to search for (safetensors); without it, the shipped model
    #[arg(long, value_name = "FILE", requires = "search", help_heading = "Search")]
    model: Option<PathBuf>,
    /// Where to run, as `devices` names it
    #[arg(long, value_name = "NAME", default_value = "auto", requires = "search", help_heading = "Search")]
    device: String,
    /// g in u + g·(c − u); schedules differ with it
    #[arg(long, value_name = "G", default_value_t = 3.0, requires = "search", help_heading = "Search")]
    guidance: f32,
    /// How many clips to learn from: one of each class, then of the next seed
    #[arg(long, value_name = "K", default_value_t = 1, requires = "search", help_heading = "Search")]
    runs: usize,
    /// The first seed; far from those that people try, so that a schedule is not judged on what it was made for
    #[arg(long, value_name = "N", default_value_t = 1000, requires = "search", help_heading = "Search")]
    seed: u64,
    /// The most steps that are skipped in a row
    #[arg(long, value_name = "N", default_value_t = 16, requires = "search", help_heading = "Search")]
    longest: usize,
    /// Reuse residuals as they are, rather than extrapolate them
    #[arg(long, requires = "search", help_heading = "Search")]
    reuse: bool,
}

fn modes() -> PossibleValuesParser {
    Negative::ALL.map(Negative::name).into()
}

pub async fn run(args: &Args) -> Result<()> {
    if args.list {
        return list(args.json);
    }
    if let Some(computed) = args.search {
        return args.search(computed).await;
    }
    let Some(file) = &args.file else { return Ok(()) };
    if let Some(spec) = &args.cache {
        return args.replay(spec, file);
    }
    let Some(threshold) = args.threshold else { return Ok(()) };
    let mut rule = args.rule(threshold)?;
    let distances = distances(file, args.steps)?;
    rule.steps = distances.len();
    let steps = replay(&mut rule, &distances);

    let computed = steps.iter().filter(|s| s.decision.computes()).count();
    let ratio = steps.len() as f64 / computed as f64;
    if args.json {
        let rows: Vec<Value> = steps.iter().enumerate().map(|(i, s)| report::step(i, s)).collect();
        let plan = json!({
            "threshold": threshold,
            "coefficients": rule.coefficients,
            "negative": rule.negative.name(),
            "warmup": rule.warmup,
            "force_last": rule.force_last,
            "decisions": letters(&steps),
            "computed": computed,
            "skipped": steps.len() - computed,
            "ratio": ratio,
            "steps": rows,
        });
        return say(&format!("{plan:#}\n"));
    }
    say(&args.text(&steps))
}

impl Args {
    /// The decisions, their count, and a table where one is wanted.
    fn text(&self, steps: &[Step]) -> String {
        let mut text = report::Paint::of_stdout().decisions(&letters(steps)) + "\n";
        let (total, computed) = (steps.len(), steps.iter().filter(|s| s.decision.computes()).count());
        let (skipped, ratio) = (total - computed, total as f64 / computed as f64);
        text +=
            &format!("{total} steps, {computed} computed, {skipped} skipped: at most {ratio:.2}× faster\n");
        if self.table {
            text += &table(steps);
        }
        text
    }

    /// Any rule on the distances of a file.
    fn replay(&self, spec: &Spec, file: &Path) -> Result<()> {
        let distances = distances(file, self.steps)?;
        let mut policy = spec.policy(distances.len(), &steep::cache::Given::default())?;
        if matches!(policy.measure, steep::cache::Measure::FirstBlock | steep::cache::Measure::Output) {
            let what = format!("cache \"{spec}\"");
            return Err(Error::setting(what, "a rule whose distances do not depend on what it decides"));
        }
        let steps = policy.replay(&distances);
        let computed = steps.iter().filter(|s| s.decision.computes()).count();
        let ratio = steps.len() as f64 / computed as f64;
        if self.json {
            let rows: Vec<Value> = steps.iter().enumerate().map(|(i, s)| report::step(i, s)).collect();
            let plan = json!({
                "cache": spec.to_string(),
                "decisions": letters(&steps),
                "computed": computed,
                "skipped": steps.len() - computed,
                "ratio": ratio,
                "steps": rows,
            });
            return say(&format!("{plan:#}\n"));
        }
        say(&self.text(&steps))
    }

    /// The best schedule of `computed` steps.
    async fn search(&self, computed: usize) -> Result<()> {
        super::watch_for_interrupts()?;
        let steps = self.steps.unwrap_or(50);
        if !(2..=steps).contains(&computed) {
            return Err(Error::setting(
                format!("search {computed}"),
                format!("2 to {steps}, the number of steps"),
            ));
        }
        if self.runs == 0 {
            return Err(Error::setting("runs 0", "at least 1"));
        }
        let checkpoint = Checkpoint::open_or_shipped(self.model.as_deref())?;
        let device = Device::open(&self.device).await?;
        let model = Dit::load(&device, &checkpoint, DType::F32)?;
        let c = model.config();
        let mut recording = Recording::default();
        for run in 0..self.runs {
            let seed = self.seed + (run / c.classes) as u64;
            let clip = generate(&model).class(run % c.classes).seed(seed).steps(steps).guidance(self.guidance);
            recording.add(&clip, &mut |_| super::go_on()).await?;
        }
        let error = |before, from, to| match to - from > self.longest + 1 {
            true => f64::INFINITY,
            false => recording.error((!self.reuse).then_some(before), from, to),
        };
        let Some(mask) = shortest(steps, computed, error) else {
            let wanted = format!("more of {steps} steps, or a larger --longest than {}", self.longest);
            return Err(Error::setting(format!("search {computed}"), wanted));
        };
        let mut spec = Spec::Mask(mask);
        if !self.reuse {
            spec = Spec::Taylor(Box::new(spec));
        }
        if self.json {
            let plan =
                json!({ "cache": spec.to_string(), "computed": computed, "steps": steps, "runs": self.runs });
            return say(&format!("{plan:#}\n"));
        }
        say(&format!("{spec}\n"))
    }

    /// The rule, but for the number of steps.
    fn rule(&self, threshold: f64) -> Result<TeaCache> {
        let coefficients = self.coefficients.as_ref().map_or(String::new(), |c| format!(":{c}"));
        let spec = format!("tea:{threshold}{coefficients}:{}", self.negative);
        let Spec::Tea { threshold, coefficients, negative } = spec.parse()? else {
            return Err(Error::setting(spec, "a tea cache"));
        };
        let mut rule = TeaCache::new(threshold, coefficients.unwrap_or(IDENTITY), 0);
        rule.negative = negative;
        rule.warmup = self.warmup;
        rule.force_last = !self.no_force_last;
        Ok(rule)
    }
}

/// One distance for each step of the run, from a file.
fn distances(file: &Path, steps: Option<usize>) -> Result<Vec<Option<f64>>> {
    let wrong = |why: String| Error::file(file, why);
    let mut text = String::new();
    let read = match file.to_str() {
        Some("-") => std::io::stdin().read_to_string(&mut text),
        _ => std::fs::File::open(file).and_then(|mut f| f.read_to_string(&mut text)),
    };
    read.map_err(|e| wrong(e.to_string()))?;
    let mut all = match text.trim_start().starts_with('{') {
        true => from_record(&text).map_err(wrong)?,
        false => from_text(&text).map_err(wrong)?,
    };
    let unmeasured = all.first().is_some_and(Option::is_none);
    if steps.map_or(!unmeasured, |steps| steps == all.len() + 1) {
        all.insert(0, None);
    }
    match steps {
        Some(steps) if steps != all.len() => {
            let wanted = format!("{steps} distances for --steps {steps}, or {}", steps.saturating_sub(1));
            Err(wrong(format!("wanted {wanted} without the first step's, got {}", all.len())))
        }
        _ if all.len() < 2 => Err(wrong("wanted at least one distance".into())),
        _ => Ok(all),
    }
}

fn from_text(text: &str) -> Result<Vec<Option<f64>>, String> {
    let words = |(i, line): (usize, &'_ str)| {
        let numbers = line.split('#').next().unwrap_or_default().to_string();
        let words = numbers.split([',', ';', ' ', '\t', '\r']).filter(|w| !w.is_empty());
        words.map(|word| distance(word).ok_or_else(|| (i, word.to_string()))).collect::<Vec<_>>()
    };
    let parsed: Result<Vec<_>, _> = text.lines().enumerate().flat_map(words).collect();
    parsed.map_err(|(i, word)| {
        let word: String = word.chars().take(40).collect();
        format!("line {}: wanted a distance, 0 or more, `-` or nan, got {word:?}", i + 1)
    })
}

/// Outer None: not a distance. Inner None: not measured.
fn distance(word: &str) -> Option<Option<f64>> {
    match word.parse::<f64>() {
        _ if word == "-" => Some(None),
        Ok(d) if d.is_nan() => Some(None),
        Ok(d) if d >= 0.0 => Some(Some(d)),
        _ => None,
    }
}

fn from_record(text: &str) -> Result<Vec<Option<f64>>, String> {
    let record: Value = serde_json::from_str(text).map_err(|e| format!("not JSON: {e}"))?;
    let steps = record["steps"].as_array().ok_or("wanted a run's record, with `steps`")?;
    let d = |(i, step): (usize, &Value)| match &step["d"] {
        Value::Null => Ok(None),
        d => d.as_f64().map(Some).ok_or(format!("step {i}: wanted a number or null as `d`, got {d}")),
    };
    let all: Vec<_> = steps.iter().enumerate().map(d).collect::<Result<_, _>>()?;
    match all.iter().skip(1).all(Option::is_none) {
        true => {
            Err("a run without distances; wanted one of a `tea` cache (tea:0 measures and skips nothing)"
                .into())
        }
        false => Ok(all),
    }
}

fn table(steps: &[Step]) -> String {
    let cell = |x: Option<f64>| x.map_or("-".into(), |x| format!("{x:.6}"));
    let row = |(i, s): (usize, &Step)| {
        let sum = cell(Some(s.accumulated));
        let (d, f) = (cell(s.distance), cell(s.rescaled));
        format!("{i:5}{d:>12}{f:>12}{sum:>12}  {}\n", s.decision.letter())
    };
    let rows: String = steps.iter().enumerate().map(row).collect();
    format!("\n{:>5}{:>12}{:>12}{:>12}\n{rows}", "step", "d", "f(d)", "sum")
}

fn list(as_json: bool) -> Result<()> {
    if as_json {
        let row = |s: &steep::cache::Set| json!({ "name": s.name, "coefficients": s.coefficients, "source": s.source });
        return say(&format!("{:#}\n", SETS.iter().map(row).collect::<Value>()));
    }
    let width = SETS.iter().map(|s| s.name.len()).max().unwrap_or(0);
    let row = |s: &steep::cache::Set| {
        let c: Vec<String> = s.coefficients.iter().map(f64::to_string).collect();
        format!("{:width$}  {}\n{:width$}  {}\n", s.name, c.join(","), "", s.source)
    };
    say(&SETS.iter().map(row).collect::<String>())
}
