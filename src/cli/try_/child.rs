//! A trial in a process of its own, so that a kernel that crashes or does not end takes nobody with it.
//!
//! The process is this program with `--here`. It writes a line of JSON for each case before it tries it, and one for the
//! report in the end.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steep::cases::Case;
use steep::lab::counts::Counted;
use steep::lab::{Candidate, Filter, Finding, Kind, LABEL, Language, Progress, Report, time, trial};
use steep::results::{Ceilings, OnDevice, Seen, Timing};
use steep::{DType, Device, Error, Result};

use super::super::timings::{self, Options};
use super::super::{go_on, progress, setup};
use super::{Args, Outcome, Trace, show};

/// What the process writes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Case {
        at: usize,
        of: usize,
        case: String,
        dtype: String,
        work: usize,
        device: String,
        found: Vec<Finding>,
    },
    Report(Report),
    /// A row of times, or the ratio to the best: for people, and as data. The line above the rows has none.
    Time(String, Option<Value>),
    /// The device with all its rows, as in a file of results.
    Timed(Value),
    /// What the emulator counted.
    Counted(Counted),
    /// What it traced.
    Traced(Trace),
    /// The device lacks what the file needs: a sentence.
    Lacks(String),
    /// What, and what is wrong with it.
    Error(String, String),
}

/// Seconds that a case may take: the longest that is right takes a few, and a compiler may be among it.
const PATIENCE: Duration = Duration::from_secs(180);

/// In the process.
pub async fn run(args: &Args, candidate: Candidate) -> Result<()> {
    let [name] = &args.device[..] else { return Err(Error::setting("--here", "one --device")) };
    let candidate = match args.passed {
        // SAFETY: it passed in the emulator, and whoever gave the file asked for it to run on this GPU.
        true => unsafe { candidate.trusted() },
        false => candidate,
    };
    let line = match tried(args, &candidate, name).await {
        Ok(Ok(report)) => Line::Report(report),
        Ok(Err(lacks)) => Line::Lacks(lacks),
        Err(e) => {
            let text = e.to_string();
            let (what, why) = text.split_once(": ").unwrap_or(("steep", &text));
            Line::Error(what.into(), why.into())
        }
    };
    write(&line)
}

/// The report; or, in words, what the device lacks.
async fn tried(args: &Args, candidate: &Candidate, name: &str) -> Result<Result<Report, String>> {
    let device = match name {
        "emulator" => Device::open("cuda").await?,
        name => setup::open(name).await?,
    };
    if name == "emulator" && !device.is_emulated() {
        return Err(Error::device("emulator", format!("found {} in its place", device.describe())));
    }
    if !device.has(candidate.needs()) {
        let (name, needs) = (device.describe(), candidate.needs());
        return Ok(Err(format!("{name}: not tried: it lacks what the file needs: {needs}")));
    }
    let values = args.values.unwrap_or_default().into();
    let filter = Filter { dtype: args.dtype, shape: args.shape.clone(), largest: args.largest, values };
    let (mut told, mut failed) = (0, None);
    let mut watch = |progress: &Progress<'_>| {
        let (case, found) = (progress.case, progress.findings[told..].to_vec());
        told = progress.findings.len();
        let line = Line::Case {
            at: progress.at,
            of: progress.of,
            case: case.name.clone(),
            dtype: case.dtype.to_string(),
            work: case.work(),
            device: if device.is_emulated() { "emulator".into() } else { device.describe() },
            found,
        };
        failed = failed.take().or(write(&line).err());
    };
    let mut report = trial(&device, candidate, &filter, &mut watch).await?;
    if let Some(error) = failed {
        return Err(error);
    }
    if args.bench && report.passed() && !device.is_emulated() {
        times(&device, candidate, &filter, &args.options, &mut report).await?;
    }
    if let Some(file) = std::env::var_os(COUNTERS).filter(|_| report.passed()) {
        count(&device, candidate, &filter, Path::new(&file)).await?;
    }
    if let (Some(file), Some(of)) = (std::env::var_os(TRACE_TO), std::env::var(TRACE).ok()) {
        trace(&device, candidate, &filter, &report, (Path::new(&file), of)).await?;
    }
    Ok(Ok(report))
}

/// Names of the environment: what the emulator traces, and to which file.
const TRACE: &str = "EMULATOR_TRACE";
const TRACE_TO: &str = "EMULATOR_TRACE_TO";

/// Traces the smallest case that fails, or the smallest.
async fn trace(
    device: &Device,
    candidate: &Candidate,
    filter: &Filter,
    report: &Report,
    (file, of): (&Path, String),
) -> Result<()> {
    let wrong = report.findings.iter().find(|finding| finding.kind != Kind::Compile);
    let named =
        |case: &Case| wrong.is_none_or(|f| (&f.case, &f.dtype) == (&case.name, &case.dtype.to_string()));
    let columns = |line: &str| {
        let mut columns = line.splitn(3, '\t').map(str::to_string);
        [0; 3].map(|_| columns.next().unwrap_or_default())
    };
    device.substitute(Some((candidate.op.kernel, candidate.source())));
    for case in filter.cases(candidate, device).into_iter().filter(named) {
        let (dtype, name) = (case.dtype.to_string(), case.name.clone());
        if let Some(text) = steep::lab::counts::trace(device, case, LABEL, file).await? {
            let lines = text.lines().map(columns).collect();
            write(&Line::Traced(Trace { of, dtype, case: name, lines }))?;
            break;
        }
    }
    device.substitute(None);
    Ok(())
}

/// Names the file for what the emulator counts, in the environment.
pub const COUNTERS: &str = "EMULATOR_COUNTERS";

/// Counts the largest case of each type.
async fn count(device: &Device, candidate: &Candidate, filter: &Filter, file: &Path) -> Result<()> {
    device.substitute(Some((candidate.op.kernel, candidate.source())));
    for &dtype in &candidate.dtypes {
        let cases = filter.counted(candidate, dtype);
        if let Some(counted) = Counted::first(device, cases, LABEL, file).await? {
            write(&Line::Counted(counted))?;
        }
    }
    device.substitute(None);
    Ok(())
}

/// Times it. A result that is wrong then is one more finding.
async fn times(
    device: &Device,
    candidate: &Candidate,
    filter: &Filter,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let mut found = OnDevice::new(device);
    let dtype = filter.dtype.or(candidate.dtypes.first().copied()).unwrap_or(DType::F32);
    found.measure(&mut Ceilings::new(device, dtype)?).await?;
    let cold = Timing::of(device, options.cold).cold;
    write(&Line::Time(format!("\n{}", timings::head(&found, cold)), None))?;
    let mut watch = |seen: Seen<'_>| match seen {
        Seen::Timed(row) => write(&Line::Time(super::super::bench::line(row), Some(json!(row)))),
        _ => Ok(()),
    };
    match time(device, candidate, filter, (&options.shapes, cold), &mut watch).await {
        Ok((rows, ratios)) => {
            found.timed = rows;
            write(&Line::Timed(json!(found)))?;
            let line = |ratio| Line::Time(show::ratio(ratio), Some(json!(ratio)));
            ratios.iter().try_for_each(|ratio| write(&line(ratio)))
        }
        Err(e) if e.to_string().contains("wrong result") => {
            report.failed += 1;
            let (case, dtype) = (String::from("as it is timed"), String::from("-"));
            let what = e.to_string();
            report.findings.push(Finding { kind: Kind::Wrong, case, dtype, work: 0, place: None, what });
            Ok(())
        }
        Err(e) => Err(e),
    }
}

fn write(line: &Line) -> Result<()> {
    let text = serde_json::to_string(line).expect("plain data");
    super::super::say(&format!("{text}\n"))
}

/// A device, and how a process comes to it.
pub struct Target {
    name: String,
    /// Where nobody asked for it, it may be missing.
    asked: bool,
    #[cfg(feature = "cuda")]
    emulator: Option<steep::lab::emulator::Emulator>,
}

impl Target {
    /// Those that the arguments name, or all of this machine.
    pub async fn all(args: &Args, language: Language) -> Result<Vec<Target>> {
        if let Some(name) = args.device.iter().find(|name| !super::runs(name, language)) {
            let wanted = match language {
                Language::Wgsl => "wgpu, wgpu:N or wgpu:core for WGSL",
                Language::Cuda => "emulator, cuda or cuda:N for CUDA",
            };
            return Err(Error::setting(format!("device {name}"), wanted));
        }
        let asked = !args.device.is_empty();
        let mut names = match language {
            _ if asked => args.device.clone(),
            Language::Wgsl => super::adapters().await,
            Language::Cuda => vec!["emulator".into(), "cuda".into()],
        };
        // First the emulator, which decides whether a GPU may run it.
        if language == Language::Cuda {
            names.retain(|name| name != "emulator");
            names.insert(0, "emulator".into());
        }
        if names.is_empty() {
            let why = "no adapter: install a Vulkan driver (Mesa's mesa-vulkan-drivers renders on the CPU)";
            return Err(Error::device("wgpu", why));
        }
        names.into_iter().map(|name| Target::new(name, asked)).collect()
    }

    #[cfg(feature = "cuda")]
    fn new(name: String, asked: bool) -> Result<Target> {
        let emulator = match &name[..] {
            "emulator" => {
                let _busy = progress::busy("building the emulator", false);
                Some(steep::lab::emulator::Emulator::open()?)
            }
            _ => None,
        };
        Ok(Target { name, asked, emulator })
    }

    #[cfg(not(feature = "cuda"))]
    fn new(name: String, asked: bool) -> Result<Target> {
        match &name[..] {
            "emulator" => Err(Error::device("emulator", "not built in: wanted the feature `cuda`")),
            _ => Ok(Target { name, asked }),
        }
    }

    pub fn is_gpu_of_cuda(&self) -> bool {
        self.name.starts_with("cuda")
    }

    #[cfg(feature = "cuda")]
    fn prepare(&self, command: &mut Command, seed: u32, args: &Args) {
        if let Some(emulator) = &self.emulator {
            if args.counters && seed == 0 {
                command.env(COUNTERS, emulator.scratch("counters"));
            }
            if let Some(of) = args.trace.as_ref().filter(|_| seed == 0) {
                command.env(TRACE, of).env(TRACE_TO, emulator.scratch("trace"));
            }
            // Launches count on from the seed.
            command.envs(emulator.environment()).env("EMULATOR_SEED", (1 + 10_000 * seed).to_string());
            command.env("STEEP_CACHE", emulator.folder().join("cubins"));
        }
    }

    #[cfg(not(feature = "cuda"))]
    fn prepare(&self, _: &mut Command, _: u32, _: &Args) {}
}

/// One run of all cases on a device.
pub struct Job<'a> {
    pub args: &'a Args,
    pub path: &'a Path,
    pub target: &'a Target,
    pub values: u32,
    pub seed: u32,
}

impl Job<'_> {
    /// Runs it.
    pub fn run(&self, candidate: &Candidate, outcome: &mut Outcome<'_>) -> Result<Tried> {
        let program = std::env::current_exe().map_err(|e| Error::file("steep itself", e))?;
        let mut command = Command::new(program);
        command.arg("try").arg(self.path).args(["--here", "--device", &self.target.name]);
        command.args(["--values", &self.values.to_string()]);
        let named = [("--op", &self.args.op), ("--shape", &self.args.shape)];
        for (name, value) in named.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
            command.arg(format!("{name}={value}"));
        }
        if let Some(dtype) = self.args.dtype {
            command.args(["--dtype", dtype.name()]);
        }
        if let Some(largest) = self.args.largest {
            command.args(["--largest", &largest.to_string()]);
        }
        if self.args.bench && self.seed == 0 {
            command.arg("--bench");
            if !self.args.options.shapes.is_empty() {
                command.args(["--shapes", &self.args.options.shapes.join(",")]);
            }
            if self.args.options.cold {
                command.arg("--cold");
            }
        }
        if self.target.is_gpu_of_cuda() {
            command.arg("--passed");
        }
        self.target.prepare(&mut command, self.seed, self.args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|e| Error::file("steep itself", e))?;
        let (sender, lines) = channel();
        let out = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || out.lines().map_while(|l| l.ok()).try_for_each(|l| sender.send(l)));
        let mut errors = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            let mut text = vec![];
            let _ = std::io::Read::read_to_end(&mut errors, &mut text);
            String::from_utf8_lossy(&text).trim().to_string()
        });
        let followed = self.follow(candidate, &lines, outcome);
        // It may be at its endless work still.
        let _ = child.kill();
        let status = child.wait().map_err(|e| Error::file("steep itself", e))?;
        match followed? {
            Followed::Report(report) => Ok(Tried::Report(report)),
            Followed::Lacks(what) => Ok(Tried::LeftOut(what)),
            Followed::Missing(..) if !self.target.asked && self.target.is_gpu_of_cuda() => Ok(Tried::Absent),
            Followed::Missing(what, why) => Err(Error::file(what, why)),
            Followed::Crashed(mut so_far) => {
                let said = errors.join().unwrap_or_default();
                let said = said.lines().next().unwrap_or_default();
                let what = format!("the process that ran it ended without a result ({status}): {said}");
                so_far.end(Kind::Fault, what);
                Ok(Tried::Report(so_far.report))
            }
        }
    }

    fn follow(
        &self,
        candidate: &Candidate,
        lines: &Receiver<String>,
        outcome: &mut Outcome<'_>,
    ) -> Result<Followed> {
        const TICK: Duration = Duration::from_millis(100);
        let mut bar: Option<indicatif::ProgressBar> = None;
        let mut so_far = SoFar::new(candidate, &self.target.name);
        let mut since = Instant::now();
        let followed = loop {
            go_on()?;
            match lines.recv_timeout(TICK) {
                Ok(line) => match serde_json::from_str(&line) {
                    Ok(Line::Case { at, of, case, dtype, work, device, found }) => {
                        let bar =
                            bar.get_or_insert_with(|| progress::bar(&self.target.name, of, self.args.json));
                        bar.set_position(at as u64);
                        bar.set_message(format!("{dtype} {case}"));
                        so_far.case(device, (case, dtype, work), found);
                        since = Instant::now();
                    }
                    Ok(Line::Time(text, row)) => {
                        if let Some(bar) = bar.take() {
                            bar.finish_and_clear();
                        }
                        if !self.args.json {
                            super::super::say(&text)?;
                        }
                        outcome.times.extend(row);
                        since = Instant::now();
                    }
                    Ok(Line::Timed(device)) => outcome.timed.push(device),
                    Ok(Line::Counted(counted)) => {
                        outcome.counters.push(counted);
                        since = Instant::now();
                    }
                    Ok(Line::Traced(trace)) => {
                        outcome.trace = Some(trace);
                        since = Instant::now();
                    }
                    Ok(Line::Report(report)) => break Followed::Report(report),
                    Ok(Line::Lacks(what)) => break Followed::Lacks(what),
                    Ok(Line::Error(what, why)) => break Followed::Missing(what, why),
                    // A kernel in the emulator may print what it likes; it is not ours.
                    Err(_) => {}
                },
                Err(RecvTimeoutError::Timeout) if since.elapsed() > PATIENCE => {
                    let what =
                        format!("it does not end: a case took more than {} seconds", PATIENCE.as_secs());
                    so_far.end(Kind::Endless, what);
                    break Followed::Report(so_far.report);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break Followed::Crashed(so_far),
            }
        };
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        Ok(followed)
    }
}

/// What became of a job.
pub enum Tried {
    Report(Report),
    /// The device lacks what the file needs: a sentence.
    LeftOut(String),
    /// Nobody asked for the device, and it is not there.
    Absent,
}

enum Followed {
    Report(Report),
    Lacks(String),
    Missing(String, String),
    Crashed(SoFar),
}

/// What a report would say now.
struct SoFar {
    report: Report,
    now: Option<(String, String, usize)>,
}

impl SoFar {
    fn new(candidate: &Candidate, device: &str) -> SoFar {
        SoFar { report: Report::new(candidate, device.to_string()), now: None }
    }

    fn case(&mut self, device: String, now: (String, String, usize), found: Vec<Finding>) {
        self.report.device = device;
        self.report.cases += usize::from(self.now.is_some());
        self.report.failed += usize::from(!found.is_empty());
        self.report.findings.extend(found);
        self.now = Some(now);
    }

    /// The case that is tried now ends like this, and no other is.
    fn end(&mut self, kind: Kind, what: String) {
        let (case, dtype, work) = self.now.take().unwrap_or_default();
        self.report.cases += 1;
        self.report.failed += 1;
        self.report.findings.push(Finding { kind, case, dtype, work, place: None, what });
    }
}
