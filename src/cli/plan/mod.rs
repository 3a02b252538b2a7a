//! `steep plan`

mod search;

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
use steep::cache::{Negative, Rule, SETS, Spec, Step, letters};
use steep::evaluate::calibrate::given;
use steep::evaluate::distances;
use steep::{Error, Result, input};

use super::{report, say};
use search::Search;

/// Replay recorded distances: which steps would a rule have skipped? Or search: which are best skipped?
///
/// Replaying prints the decisions, F forced, C computed, S skipped, and their count; no model is run. Searching runs
/// the model uncached, works out what skipping each stretch of steps would do to its clips, and prints the best
/// schedule with N computed steps, as --cache takes it.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep plan --coefficients flux-1-dev --threshold 0.4 distances.txt
  steep generate --cache tea:0.02 --json - --quiet | steep plan --threshold 0.04 --table -
  steep generate --cache sea:0.1 --json - --quiet | steep plan --cache sea:0.2+max-skips=3 -
  steep generate --compare --cache $(steep plan --search 20)")]
pub struct Args {
    /// Distances as text, or a record that `generate --json` wrote; `-` is standard input.
    /// Text is numbers with decimal points, between spaces, commas or line ends; `#` begins a comment; a missing one is
    /// `-` or nan. Without one for the first step, a list is one shorter than the run; of a run of one step, with
    /// --steps 1, it may be empty
    #[arg(required_unless_present_any = ["list", "search"], conflicts_with = "search", value_name = "FILE")]
    file: Option<PathBuf>,
    /// δ: skip while the sum of the rescaled distances is below it
    #[arg(long, value_name = "δ", required_unless_present_any = ["list", "search", "cache"], allow_negative_numbers = true)]
    threshold: Option<f64>,
    #[arg(long, value_name = "SPEC", help = cache_help(), conflicts_with_all = ["threshold", "coefficients", "negative", "warmup", "no_force_last"])]
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
    #[command(flatten)]
    search: Search,
}

fn modes() -> PossibleValuesParser {
    Negative::ALL.map(Negative::name).into()
}

fn cache_help() -> String {
    let others = Spec::names(|policy| !policy.measure.replays());
    format!(
        "The rule as `generate --cache` takes it, instead of a TeaCache threshold. Not those whose distances depend \
         on what they decide ({others})"
    )
}

pub async fn run(args: &Args) -> Result<()> {
    if args.list {
        return list(args.json);
    }
    if let Some(computed) = args.search.computed {
        return args.search.run(computed, args.steps.unwrap_or(50), args.json).await;
    }
    match (&args.file, args.spec()?) {
        (Some(file), Some(spec)) => args.replay(file, &spec),
        _ => Ok(()),
    }
}

impl Args {
    /// The rule: as it is written, or from the options of a TeaCache threshold.
    fn spec(&self) -> Result<Option<Spec>> {
        let Some(threshold) = self.threshold else { return Ok(self.cache.clone()) };
        let coefficients = self.coefficients.as_ref().map_or(String::new(), |c| format!(":{c}"));
        format!("tea:{threshold}{coefficients}:{}", self.negative).parse().map(Some)
    }

    /// What the rule decides on the distances of a file.
    fn replay(&self, file: &Path, spec: &Spec) -> Result<()> {
        let distances = distances(file, self.steps)?;
        let mut policy = spec.policy(distances.len(), &given(spec, None)?)?;
        if !policy.measure.replays() {
            let what = format!("cache \"{spec}\"");
            return Err(Error::setting(what, "a rule whose distances do not depend on what it decides"));
        }
        let mut plan = json!({ "cache": spec.to_string() });
        if let (None, Rule::Threshold(rule)) = (&self.cache, &mut policy.rule) {
            (rule.warmup, rule.force_last) = (self.warmup, !self.no_force_last);
            plan = json!({
                "threshold": rule.threshold,
                "coefficients": rule.coefficients,
                "negative": rule.negative.name(),
                "warmup": rule.warmup,
                "force_last": rule.force_last,
            });
        }
        let steps = policy.replay(&distances);
        let computed = steps.iter().filter(|s| s.decision.computes()).count();
        let skipped = steps.len() - computed;
        let ratio = steps.len() as f64 / computed as f64;
        if self.json {
            plan["decisions"] = json!(letters(&steps));
            plan["computed"] = json!(computed);
            plan["skipped"] = json!(skipped);
            plan["ratio"] = json!(ratio);
            plan["steps"] = steps.iter().enumerate().map(|(i, s)| s.json(i)).collect();
            return say(&format!("{plan:#}\n"));
        }
        let letters = report::Paint::of_stdout().decisions(&letters(&steps));
        let counts = format!("{} steps, {computed} computed, {skipped} skipped", steps.len());
        let table = if self.table { table(&steps) } else { String::new() };
        say(&format!("{letters}\n{counts}: at most {ratio:.2}× faster\n{table}"))
    }
}

/// One distance for each step of the run, from a file.
fn distances(file: &Path, steps: Option<usize>) -> Result<Vec<Option<f64>>> {
    const WANTED: &str = "distances";
    let text = match file.to_str() {
        Some("-") => {
            let mut bytes = vec![];
            let read = std::io::stdin().read_to_end(&mut bytes);
            read.map_err(|e| Error::file(file, e)).and_then(|_| input::decode(file, bytes, WANTED))?
        }
        _ => input::read_text(file, WANTED)?,
    };
    distances::parse(&text, steps).map_err(|why| Error::file(file, why))
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
