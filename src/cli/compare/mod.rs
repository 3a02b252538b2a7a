//! `steep compare`

mod figures;
mod rounds;
mod shard;
mod table;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use steep::cache::{self, Given, Rule, Spec};
use steep::evaluate::journal::{self, Journal};
use steep::evaluate::metrics::Digits;
use steep::model::{Checkpoint, Config, DecoderFile};
use steep::plot::{self, StepBar};
use steep::{Error, Result, input, plain};

use super::decoder::{self, Decoding};
use super::setup::Setup;
use super::sidecar::{self, Sidecar};
use super::{clips, output, progress};
use rounds::{Asked, Candidate, Kept, Round, Runner};
use shard::Shard;
use table::{Row, Table};

/// What is compared where nothing else is named: of 50 steps, about a half and about a quarter computed.
const POLICIES: [&str; 8] = [
    "uniform:2",
    "uniform:4",
    "steps:25",
    "steps:13",
    "tea:0.014",
    "tea:0.04",
    "easy:0.015+taylor",
    "easy:0.05+taylor",
];

/// Compare cache policies: what each gains, and what it costs
///
/// For each seed, makes a clip without a cache and one with each policy from the same noise, in turn in one process, and
/// measures: time against the uncached run's, and its bound, steps / computed steps; PSNR, SSIM and PSNR over the
/// foreground (pixels of which either clip has at least a tenth of white) against the uncached clip; the share of clips in
/// which a small classifier sees the class that was asked for, with its 95 % interval (Wilson's score, seeds as trials); the Fréchet distances of its features to those of the
/// uncached clips and to those of real ones; how the digit moves: the error of its velocity in pixels a frame, and its jitter, the root mean square of
/// its acceleration between bounces in pixels a frame². What follows ± is half a 95 % confidence interval over seeds
/// (delete-one jackknife, Student's t). "noise" stands where that interval reaches zero, and "too short" where a speedup
/// is uncertain by more than a fifth, or above its bound.
///
/// A policy is what `generate --cache` takes, or steps:N, an uncached run of N steps. `{}` stands for each of
/// --thresholds: 'tea:{}' 'tea:{}:identity' --thresholds 0.1,0.2.
///
/// More seeds, classes or policies extend a comparison: run it again in the same folder, and only what is missing is run,
/// a policy that was added with an uncached run of its own beside it. The tables show the seeds, classes and policies of
/// the command. Parts may run on different devices: times are compared on one kind of device only, and each kind has its
/// own in results.json.
///
/// Where a decoder makes pictures of a model's latents, all of this is measured in pictures, and decoding is not in the
/// times.
///
/// Everything goes into one folder: rounds.jsonl (every finished round; a run that was stopped goes on there), table.csv,
/// table.md, results.json, pareto.svg, decisions.svg, a skip map of the first clip for each policy, and clips.gif, the
/// first clip uncached and with each policy from left to right: over each stand its name, and how many steps it computed of
/// how many. Policies that are added later have theirs in clips-2.gif, and so on.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  steep compare
  steep compare 'tea:{}' uniform:2 --thresholds 0.05,0.1,0.2 --seeds 50 --classes all --out big
  steep compare --seeds 400 --out big --shard 3/8        # or, in a job array, --shard auto
  steep compare --merge big/rounds-*.jsonl --out big
  steep compare --redraw big/results.json --out pictures")]
pub struct Args {
    /// Policies, besides no cache at all
    #[arg(value_name = "POLICY", default_values = POLICIES)]
    policies: Vec<String>,
    /// What `{}` in a policy stands for, with commas between
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    thresholds: Vec<f64>,
    /// Seeds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=rounds::MOST_SEEDS))]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    first_seed: u64,
    /// Classes of each seed, with commas between; `all`; or `cycle`, one for each seed in turn
    #[arg(long, value_name = "LIST", default_value = "cycle")]
    classes: clips::Classes,
    #[command(flatten)]
    setup: Setup,
    #[command(flatten)]
    decoding: Decoding,
    #[command(flatten)]
    named: sidecar::Named,
    /// The classifier: a file of weights, `none`, or `auto`: the shipped one for grey models of ten classes
    #[arg(long, value_name = "FILE", default_value = "auto")]
    digits: String,
    /// Folder for everything that is written; made if it is not there
    #[arg(long, value_name = "FOLDER", default_value = "steep-compare")]
    out: PathBuf,
    /// Forget what an earlier run has finished in this folder
    #[arg(long)]
    fresh: bool,
    /// Do the i-th of n parts alone, from 1/n: the seeds whose place modulo n is i − 1. `auto` takes i and n from
    /// SLURM_ARRAY_TASK_ID and SLURM_ARRAY_TASK_COUNT, or i from JOB_COMPLETION_INDEX and n from --shards
    #[arg(long, value_name = "i/n", conflicts_with = "merge")]
    shard: Option<String>,
    /// Parts, for --shard auto where the environment does not tell
    #[arg(long, value_name = "N", requires = "shard", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    shards: Option<u64>,
    /// Run nothing: make the tables of all these parts together
    #[arg(long, value_name = "FILES", num_args = 1..)]
    merge: Vec<PathBuf>,
    /// Run nothing: draw pareto.svg and decisions.svg of this results.json anew
    #[arg(long, value_name = "FILE", conflicts_with_all = ["merge", "shard", "json"])]
    redraw: Option<PathBuf>,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Print errors and warnings alone
    #[arg(long, short)]
    quiet: bool,
}

/// The kind of journal that rounds.jsonl is.
const KIND: &str = "steep rounds 2";
/// That of version 0.1.0.
const OLD_KIND: &str = "steep rounds 1";

pub async fn run(args: &Args) -> Result<()> {
    if !args.merge.is_empty() {
        return args.merge();
    }
    if let Some(results) = &args.redraw {
        return args.redraw(results);
    }
    let candidates = args.candidates()?;
    let shard = Shard::of(args.shard.as_deref(), args.shards)?;
    let checkpoint = args.setup.checkpoint(args.quiet)?;
    let config = checkpoint.config();
    args.classes.check(config)?;
    let digits = args.digits(config)?;
    let device = args.setup.device().await?;
    let specs: Vec<&Spec> = candidates.iter().filter_map(Candidate::spec).collect();
    let sidecar = Sidecar::find(&checkpoint, &specs, &args.setup, &args.named)?;
    let policy = |candidate: &Candidate| candidate.policy(config, &args.setup, &sidecar);
    let policies = candidates.iter().map(policy).collect::<Result<Vec<_>>>()?;
    let decoder = args.decoding.open(&args.setup, &checkpoint, true, args.quiet)?;
    let header = args.header(&checkpoint, decoder.as_ref())?;
    let asked = args.asked(&candidates, &sidecar);

    make_folder(&args.out)?;
    let path = args.out.join(shard.journal());
    // Whatever would be in the way is known before the work.
    let names = candidates.iter().enumerate().map(|(i, p)| args.out.join(map_name(i, &p.name())));
    let files: Vec<PathBuf> = FILES.iter().map(|name| args.out.join(name)).chain(names).collect();
    output::check(&files.iter().map(PathBuf::as_path).collect::<Vec<_>>(), &[&path])?;
    if args.fresh && path.exists() {
        fs::remove_file(&path).map_err(|e| Error::file(&path, e))?;
    }
    if path.exists() {
        refuse_old(&path, &journal::header(&path)?)?;
    }
    let (mut file, records) = Journal::open(&path, &header)?;
    let mut kept = Kept::default();
    kept.add(&path, records)?;
    let mut new = kept.ask(&asked).map_err(|why| Error::file(&path, why))?.then(|| json!({ "asked": asked }));

    let seeds = (0..args.seeds).filter(|index| shard.has(*index));
    let wanted: Vec<(u64, usize)> = seeds
        .flat_map(|index| {
            let seed = args.first_seed.wrapping_add(index);
            args.classes.of(seed, config).into_iter().map(move |class| (seed, class))
        })
        .collect();
    let missing: Vec<_> = wanted
        .iter()
        .map(|clip| (*clip, kept.missing(*clip, &candidates)))
        .filter(|(_, candidates)| !candidates.is_empty())
        .collect();
    // The first clip's picture. That of policies which are added later is a file of its own.
    let first = wanted.first().filter(|_| shard.has(0));
    let picture = match kept.rounds.iter().filter(|round| Some(&round.clip()) == first).count() {
        0 => args.out.join(FILES[CLIPS]),
        before => args.out.join(format!("clips-{}.gif", before + 1)),
    };
    output::check(&[&picture], &[&path])?;
    if !missing.is_empty() {
        let mut footprint = args.setup.footprint(&checkpoint, &policies);
        // Those of a round are compared.
        let values = decoder::shape(config, decoder.as_ref()).into_iter().fold(4, usize::saturating_mul);
        let clips = (values as u64).saturating_mul(candidates.len() as u64);
        footprint.host.push(("clips to compare", clips));
        if let Some(decoder) = &decoder {
            footprint.device.extend(decoder.footprint(config.height, config.width, args.setup.dtype));
        }
        let say = |plan: &str| super::say_if(!args.json && !args.quiet, plan);
        let model = args.setup.load(&device, &checkpoint, &footprint, say)?;
        let decoder = decoder.map(|file| file.load(&device, args.setup.dtype)).transpose()?;
        let (decoder, digits) = (decoder.as_ref(), digits.as_ref());
        let runner = Runner { model: &model, sidecar: &sidecar, digits, decoder, args };
        let bar = progress::bar("comparing", missing.len(), args.quiet);
        bar.enable_steady_tick(std::time::Duration::from_millis(500));
        let used = |candidate: &&Candidate| missing.iter().any(|(_, missing)| missing.contains(candidate));
        runner.warm_up(&candidates.iter().filter(used).collect::<Vec<_>>()).await?;
        for (clip, candidates) in missing {
            let (round, videos) = runner.round(clip, &candidates, &bar).await?;
            if Some(&clip) == first {
                // Before the round counts as done, so that the picture is there whenever it is.
                output::write(&[(&picture, rounds::gif(&round, &videos)?)])?;
            }
            new.take().map_or(Ok(()), |asked| file.append(&asked))?;
            file.append(&json!(round))?;
            kept.take(round).map_err(|why| Error::file(&path, why))?;
            bar.inc(1);
        }
        bar.finish_and_clear();
    }
    new.map_or(Ok(()), |asked| file.append(&asked))?;
    if shard.of > 1 {
        if !args.quiet {
            super::say(&format!(
                "{} rounds in {}; --merge puts the parts together\n",
                kept.rounds.len(),
                plain(&path.display().to_string())
            ))?;
        }
        return Ok(());
    }
    args.tell(&header, &asked, &wanted, &kept.rounds)
}

/// An error for a journal of version 0.1.0.
fn refuse_old(path: &Path, header: &Map<String, Value>) -> Result<()> {
    if header.get("journal") != Some(&json!(OLD_KIND)) {
        return Ok(());
    }
    let why = "was written by version 0.1.0, which recorded neither the sampler nor the device of each clip; wanted a \
               journal of this version: another --out, or --fresh";
    Err(Error::file(path, why))
}

/// What is written besides journals and skip maps.
const FILES: [&str; 6] =
    ["table.csv", "table.md", "results.json", "pareto.svg", "decisions.svg", "clips.gif"];
/// The place of the clips among them.
const CLIPS: usize = 5;

/// A file name for the skip map of the policy at this place. A mask is as long as the run.
fn map_name(place: usize, policy: &str) -> String {
    const MOST: usize = 60;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' };
    let short: String = policy.chars().take(MOST).map(plain).collect();
    let more = if policy.chars().count() > MOST { format!("-{place}") } else { String::new() };
    format!("map-{short}{more}.svg")
}

/// The classifier of `--digits`.
fn judge(name: &str) -> Result<Option<Digits>> {
    match name {
        "none" => Ok(None),
        "auto" => Digits::shipped().map(Some),
        path => Digits::open(path).map(Some),
    }
}

/// What several runs were asked for, as one.
fn together(asked: &[Asked]) -> Asked {
    let mut policies: Vec<String> = vec![];
    let mut classes: Vec<String> = vec![];
    for one in asked {
        let new =
            one.policies.iter().filter(|policy| !policies.contains(policy)).cloned().collect::<Vec<_>>();
        policies.extend(new);
        if !classes.contains(&one.classes) {
            classes.push(one.classes.clone());
        }
    }
    let first_seed = asked.iter().map(|one| one.first_seed).min().unwrap_or(0);
    let end = asked.iter().map(|one| one.first_seed.saturating_add(one.seeds)).max().unwrap_or(0);
    Asked {
        policies,
        calibration: asked
            .iter()
            .map(|one| one.calibration.clone())
            .find(|c| !c.is_null())
            .unwrap_or_default(),
        sidecars: asked.iter().flat_map(|one| one.sidecars.clone()).collect(),
        first_seed,
        seeds: end - first_seed,
        classes: classes.join(" and "),
    }
}

fn make_folder(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|e| Error::file(path, format!("{e}; wanted a folder to write to")))
}

impl Args {
    /// What is compared, thresholds put in, uncached first.
    fn candidates(&self) -> Result<Vec<Candidate>> {
        let mut all = vec![Candidate::Uncached];
        for text in &self.policies {
            let texts: Vec<String> = match text.contains("{}") {
                false => vec![text.clone()],
                true if self.thresholds.is_empty() => {
                    return Err(Error::setting(format!("policy {text:?}"), "--thresholds for its {}"));
                }
                true => self.thresholds.iter().map(|t| text.replace("{}", &t.to_string())).collect(),
            };
            for text in texts {
                let candidate: Candidate = text.parse()?;
                if all.contains(&candidate) {
                    return Err(Error::setting(format!("policy {text:?} twice"), "each of them once"));
                }
                all.push(candidate);
            }
        }
        Ok(all)
    }

    fn digits(&self, config: &Config) -> Result<Option<Digits>> {
        let fits = |digits: &Digits| config.channels == 1 && digits.classes() == config.classes;
        let Some(digits) = judge(&self.digits)? else { return Ok(None) };
        if fits(&digits) || self.digits == "auto" {
            return Ok(Some(digits).filter(fits));
        }
        let (wanted, got, channels) = (config.classes, digits.classes(), config.channels);
        let why = format!(
            "{got} classes, the model has {channels} channels; wanted one of {wanted} classes for a grey model"
        );
        Err(Error::file(&self.digits, why))
    }

    /// All that the numbers of any policy and clip depend on. Parts of one comparison have the same.
    fn header(&self, checkpoint: &Checkpoint, decoder: Option<&DecoderFile>) -> Result<Map<String, Value>> {
        let mut header = Map::from_iter([("journal".to_string(), json!(KIND))]);
        if let Value::Object(binding) = json!(self.setup.binding(checkpoint)?) {
            header.extend(binding);
        }
        header.extend([
            ("size".to_string(), json!([checkpoint.config().height, checkpoint.config().width])),
            ("digits".to_string(), json!(self.digits)),
        ]);
        header.extend(decoder.map(|decoder| ("decoder".to_string(), json!(decoder.words()))));
        Ok(header)
    }

    fn asked(&self, candidates: &[Candidate], sidecar: &Sidecar) -> Asked {
        let source =
            |candidate: &Candidate| Some((candidate.name(), sidecar.source(candidate.spec()?)?.json()));
        Asked {
            policies: candidates.iter().map(Candidate::name).collect(),
            calibration: sidecar.coefficients(),
            sidecars: candidates.iter().filter_map(source).collect(),
            first_seed: self.first_seed,
            seeds: self.seeds,
            classes: self.classes.to_string(),
        }
    }

    /// Tables of several parts, and of what they say they are.
    fn merge(&self) -> Result<()> {
        let mut whole: Option<Map<String, Value>> = None;
        let mut kept = Kept::default();
        for path in &self.merge {
            let (header, records) = journal::read(path)?;
            refuse_old(path, &header)?;
            if header.get("journal") != Some(&json!(KIND)) {
                return Err(Error::file(path, "wanted the rounds of `steep compare`"));
            }
            journal::agree(path, whole.get_or_insert_with(|| header.clone()), &header)?;
            kept.add(path, records)?;
        }
        let header = whole.unwrap_or_default();
        let clips: BTreeSet<(u64, usize)> = kept.rounds.iter().map(Round::clip).collect();
        let asked = together(&kept.asked);
        let seeds: BTreeSet<u64> = kept
            .asked
            .iter()
            .flat_map(|asked| (0..asked.seeds).map(|index| asked.first_seed.wrapping_add(index)))
            .collect();
        let there: BTreeSet<u64> = clips.iter().map(|(seed, _)| *seed).collect();
        let absent = seeds.difference(&there).count();
        if absent > 0 {
            super::complain(&format!("warning: {absent} of {} seeds are in no part", seeds.len()));
        }
        for policy in &asked.policies {
            let of: BTreeSet<_> =
                kept.rounds.iter().filter(|r| r.run(policy).is_some()).map(Round::clip).collect();
            if of.len() < clips.len() {
                let (some, all) = (of.len(), clips.len());
                super::complain(&format!("warning: {policy} has {some} of {all} clips"));
            }
        }
        make_folder(&self.out)?;
        self.tell(&header, &asked, &clips.into_iter().collect::<Vec<_>>(), &kept.rounds)
    }

    /// The pictures of results that are there.
    fn redraw(&self, path: &Path) -> Result<()> {
        let text = input::read_text(path, "the results.json of `steep compare`")?;
        let results: Value = serde_json::from_str(&text).map_err(|e| Error::file(path, e))?;
        let wanted = || Error::file(path, "wanted the results.json of `steep compare`");
        let figures = figures::of(&results).ok_or_else(wanted)?;
        make_folder(&self.out)?;
        let files = figures.map(|(name, picture)| (self.out.join(name), picture.into_bytes()));
        output::check(&files.each_ref().map(|(path, _)| path.as_path()), &[])?;
        output::write(&files.each_ref().map(|(path, bytes)| (path.as_path(), bytes.clone())))?;
        match self.quiet {
            true => Ok(()),
            false => super::say(&output::wrote(files.iter().map(|(path, _)| path.as_path()))),
        }
    }

    /// Writes the tables and pictures of these policies and clips, and prints one.
    fn tell(
        &self,
        header: &Map<String, Value>,
        asked: &Asked,
        wanted: &[(u64, usize)],
        rounds: &[Round],
    ) -> Result<()> {
        let side = |at: usize| header.get("size").and_then(|size| size[at].as_u64()).unwrap_or(0) as usize;
        let digits = judge(header.get("digits").and_then(Value::as_str).unwrap_or("none"))?;
        let real = digits.as_ref().and_then(|digits| digits.real([side(0), side(1)]));
        let table = Table::new(&asked.policies, wanted, rounds, real);
        if table.clips == 0 {
            return Err(Error::file(&self.out, "no finished round; wanted at least one"));
        }
        let device = table.kinds.join("; ");
        let mut settings = header.clone();
        settings.insert("device".to_string(), json!(device));
        if let Value::Object(asked) = json!(asked) {
            settings.extend(asked);
        }
        let results = json!({
            "settings": settings,
            "rounds": table.clips,
            "rows": table.rows.iter().map(Row::json).collect::<Vec<_>>(),
            "devices": table.devices(),
        });
        let model = header.get("model").and_then(Value::as_str).unwrap_or("model");
        let title = format!("{model}, {} clips", table.clips);
        let mut files = vec![
            (self.out.join("table.csv"), table.csv()),
            (self.out.join("table.md"), table.markdown()),
            (self.out.join("results.json"), format!("{results:#}\n")),
        ];
        let figures = figures::of(&results).ok_or_else(|| Error::file(&self.out, "results without rows"))?;
        files.extend(figures.map(|(name, picture)| (self.out.join(name), picture)));
        let first = table.first.iter().enumerate().filter(|(_, run)| run.decisions.contains('S'));
        for (place, run) in first {
            let number = |values: &[Option<f64>], i: usize| values.get(i).copied().flatten();
            let bars: Vec<StepBar> = run
                .decisions
                .chars()
                .enumerate()
                .map(|(i, decision)| StepBar {
                    decision,
                    distance: number(&run.distances, i),
                    accumulated: number(&run.accumulated, i).unwrap_or(0.0),
                })
                .collect();
            let spec = run.policy.parse::<Spec>();
            let threshold = match spec.and_then(|spec| spec.policy(bars.len(), &Given::default())) {
                Ok(cache::Policy { rule: Rule::Threshold(rule), .. }) => Some(rule.threshold),
                _ => None,
            };
            let name = &run.policy;
            let title = format!("{model}, {name}: {} of {} steps computed", run.computed(), bars.len());
            files.push((self.out.join(map_name(place, name)), plot::skip_map(&title, &bars, threshold)));
        }
        let bytes: Vec<(&Path, Vec<u8>)> =
            files.iter().map(|(path, text)| (path.as_path(), text.clone().into_bytes())).collect();
        output::write(&bytes)?;
        if self.json {
            return super::say(&format!("{results:#}\n"));
        }
        if self.quiet {
            return Ok(());
        }
        let said = |key: &str| header.get(key).map_or(String::new(), |v| v.to_string());
        let (steps, guidance) = (said("steps"), said("guidance"));
        let device = match table.kinds.len() {
            1 => device,
            kinds => format!("{kinds} kinds of device, each timed for itself: {device}"),
        };
        let decoder = header.get("decoder").and_then(Value::as_str);
        let pictures = decoder.map_or(String::new(), |decoder| format!("; pictures by {decoder}"));
        let text = format!(
            "{title} on {device}\n{steps} steps, guidance {guidance}{pictures}; ± is half a 95 % interval over seeds\n\n{}\n  wrote {}",
            table.text(),
            self.out.display()
        );
        super::say(&text.lines().map(|line| plain(line) + "\n").collect::<String>())
    }
}
