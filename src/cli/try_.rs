//! `steep try`

mod child;
mod machine_code;
mod show;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steep::cases::ALL;
use steep::lab::counts::Counted;
use steep::lab::{Candidate, Language, Report, starter};
use steep::results::{Ceilings, Machine, Results};
use steep::{DType, Device, Error, Result, input};

use super::memory;
use super::timings::Options;
#[cfg(feature = "cuda")]
pub use child::COUNTERS;
use child::{Job, Target, Tried};

/// Try a kernel of your own: is it right, and if not, where is it wrong?
///
/// FILE is one kernel of one op, in WGSL (.wgsl) or CUDA C++ (.cu). The op is the entry point's name. The file says in
/// comments how it is launched (`// steep: tile = 1, 1, 64`; docs/lab.md lists them), and may include what the crate's own
/// kernels do. It goes through all cases of the op: odd shapes, offsets, gates, outputs that hold NaN before and are guarded
/// behind; results are compared with a naive f64 reference.
///
/// WGSL runs on every adapter, and with no more than what browsers promise. CUDA runs in the emulator, which needs g++ but no
/// GPU and finds accesses out of bounds, races, deadlocks, and reads of what nobody wrote; then NVRTC compiles it, where
/// there is one; then, if it passed, an NVIDIA GPU runs it, where there is one. The emulator is no sandbox: a file runs with
/// your rights.
///
/// Exit status: 0 the kernel is right, 1 it is wrong, 2 it could not be tried.
#[derive(clap::Args, Default)]
#[command(after_help = "\
Examples:
  steep try --new rel_l1 --language cuda
  steep try rel_l1.cu --dtype f32 --seeds 4
  steep try rel_l1.wgsl --bench --shapes 512x192,4096x1152 --roofline rel_l1.svg")]
pub struct Args {
    /// The kernel
    #[arg(value_name = "FILE", required_unless_present = "new")]
    file: Option<PathBuf>,
    /// Write a file to begin with, OP.cu or OP.wgsl: all of a kernel of this op but its body
    #[arg(long, value_name = "OP", requires = "language", conflicts_with = "file")]
    new: Option<String>,
    /// Language of the new file: wgsl or cuda
    #[arg(long, value_name = "NAME", requires = "new")]
    language: Option<Language>,
    /// The op, where the entry point has another name
    #[arg(long, value_name = "NAME")]
    op: Option<String>,
    /// Cases of this type of matrix operands alone: f32, f16 or bf16
    #[arg(long, value_name = "TYPE")]
    dtype: Option<DType>,
    /// Cases with this in their names alone, such as 512x192
    #[arg(long, value_name = "TEXT")]
    shape: Option<String>,
    /// Cases of at most this much work alone: elements that are touched, or operations of matrix products
    #[arg(long, value_name = "N")]
    largest: Option<usize>,
    /// Go through all cases N times, each time with other random numbers and, in the emulator, with another order of threads
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    seeds: u32,
    /// What random operands are drawn with; without it, other numbers each time. What a failed run prints repeats it
    #[arg(long, value_name = "N")]
    values: Option<u32>,
    /// Where to run it, several with commas between: emulator, cuda, cuda:N, wgpu, wgpu:N, wgpu:core; without it, all of
    /// this machine's that run the language
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    device: Vec<String>,
    /// If it is right, time it among the op's own sources, as steep bench does; not in the emulator, whose times mean nothing
    #[arg(long)]
    bench: bool,
    #[command(flatten)]
    options: Options,
    /// If it is right, count in the emulator what a call of the largest case does, line by line, the worst first: sectors of
    /// global memory, conflicts of banks, barriers and who waits at them, products of tensor cores; and estimate what that
    /// takes on an A100 and an H100. With nvdisasm (the Python package nvidia-cuda-nvdisasm), the main loop's instructions
    #[cfg(feature = "cuda")]
    #[arg(long)]
    counters: bool,
    /// Show what the threads of a block, or of one of its warps, do in the emulator, at which lines: barriers, copies,
    /// instructions of a whole warp. Blocks are counted from 0, x first. It is the smallest case that fails, or else the smallest;
    /// --shape chooses another. A page at most; --json has all
    #[cfg(feature = "cuda")]
    #[arg(long, value_name = "BLOCK[,WARP]", value_parser = block_and_warp)]
    trace: Option<String>,
    /// Print one object {file, op, language, values, right, reports, machine_code, counters, trace, times, against, notes}.
    /// `right` is null where no device ran a case; `times` has rows as docs/results.md describes them, and ratios {shape, dtype, best, ratio, half}; `against` is what --against found
    #[arg(long)]
    json: bool,
    /// Internal: try it in this process, on one device
    #[arg(long, hide = true)]
    here: bool,
    /// Internal: it passed in the emulator, so a GPU may run it
    #[arg(long, hide = true)]
    passed: bool,
}

impl Args {
    /// Those that time a file; `device` is `auto` where nobody chose.
    pub fn timing(
        file: &Path,
        device: &[String],
        dtype: Option<DType>,
        json: bool,
        options: &Options,
    ) -> Args {
        let device = if device == ["auto"] { vec![] } else { device.to_vec() };
        let (file, options) = (Some(file.to_path_buf()), options.clone());
        Args { file, device, dtype, json, options, bench: true, seeds: 1, ..Args::default() }
    }
}

pub async fn run(args: &Args) -> Result<ExitCode> {
    if let (Some(op), Some(language)) = (&args.new, args.language) {
        return new(op, language).map(|()| ExitCode::SUCCESS);
    }
    let path = args.file.as_deref().expect("asked for by the parser");
    let candidate = read(path, args.op.as_deref())?;
    if args.here {
        return child::run(args, candidate).await.map(|()| ExitCode::SUCCESS);
    }
    if args.options.any() && !args.bench {
        return Err(Error::setting("--shapes, --cold, --save, --against, --roofline", "--bench with them"));
    }
    for size in &args.options.shapes {
        let case = candidate.op.sized(DType::F32, size)?;
        memory::check(&Ceilings::beside(&case, &Device::cpu()), &Device::cpu())?;
    }
    let baseline = args.options.baseline()?;
    let values = args.values.unwrap_or_else(fresh);
    let mut outcome = Outcome {
        candidate: &candidate,
        values,
        reports: vec![],
        codes: vec![],
        counters: vec![],
        trace: None,
        estimates: vec![],
        times: vec![],
        timed: vec![],
        notes: vec![],
    };
    if !args.json {
        let (op, language) = (candidate.op.kernel.name, candidate.language);
        super::say(&format!("{}: {op} in {language}, values {values}\n", candidate.file))?;
    }
    for target in Target::all(args, candidate.language).await? {
        // No GPU runs what is known to be wrong, or what nothing has tried.
        if target.is_gpu_of_cuda() && outcome.right() != Some(true) {
            continue;
        }
        for seed in 0..args.seeds {
            let job = Job { args, path, target: &target, values: values.wrapping_add(seed), seed };
            match job.run(&candidate, &mut outcome)? {
                Tried::Report(report) => {
                    let right = report.passed();
                    outcome.add(args, report)?;
                    if !right {
                        break;
                    }
                }
                Tried::LeftOut(note) => {
                    outcome.note(args, note)?;
                    break;
                }
                Tried::Absent => break,
            }
        }
    }
    if candidate.language == Language::Cuda {
        machine_code::compile(args, &mut outcome)?;
    }
    #[cfg(feature = "cuda")]
    if args.counters {
        outcome.estimate(args)?;
    }
    #[cfg(feature = "cuda")]
    if args.trace.is_some() {
        match &outcome.trace {
            Some(trace) if !args.json => super::say(&show::trace(trace))?,
            Some(_) => {}
            None => outcome
                .note(args, "trace: none: of CUDA alone, in the emulator, and of what compiles".into())?,
        }
    }
    if args.bench && outcome.right() == Some(true) && outcome.times.is_empty() {
        let why = "times: not measured: wanted a GPU or an adapter; the emulator's would mean nothing";
        outcome.note(args, why.into())?;
    }
    let mut results = json!(Results::new(Machine::this()));
    results["devices"] = json!(outcome.timed);
    if !outcome.timed.is_empty() {
        args.options.finish(&mut results, baseline.as_ref(), args.json)?;
    }
    outcome.end(args, &results["against"])?;
    match outcome.right() {
        Some(right) => Ok(ExitCode::from(u8::from(!right))),
        None if outcome.reports.is_empty() => {
            let wanted = "an adapter or a device that runs the file; see steep devices";
            Err(Error::setting(format!("{}: nothing ran it", candidate.file), wanted))
        }
        None => {
            let wanted = "other filters, or a header (multiple, dtypes) that lets some of them through";
            Err(Error::setting(format!("{}: it takes none of the cases", candidate.file), wanted))
        }
    }
}

/// What there is to say.
struct Outcome<'c> {
    candidate: &'c Candidate,
    values: u32,
    reports: Vec<Report>,
    /// Rows of machine code.
    codes: Vec<Value>,
    /// What the emulator counted.
    counters: Vec<Counted>,
    /// Who did what.
    trace: Option<Trace>,
    /// Counts with estimates, as data.
    estimates: Vec<Value>,
    /// Rows of times, and ratios.
    times: Vec<Value>,
    /// The devices that it was timed on, with their rows, as in a file of results.
    timed: Vec<Value>,
    /// What could not be done.
    notes: Vec<String>,
}

impl Outcome<'_> {
    /// Whether it is; `None` where nothing is wrong, but no device ran a case.
    fn right(&self) -> Option<bool> {
        let fails = |row: &Value| row.get("error").is_some();
        let wrong = self.reports.iter().any(Report::failed) || self.codes.iter().any(fails);
        let tried = self.reports.iter().any(Report::passed);
        (wrong || tried).then_some(!wrong)
    }

    fn add(&mut self, args: &Args, report: Report) -> Result<()> {
        if !args.json {
            super::say(&show::report(&report))?;
        }
        self.reports.push(report);
        Ok(())
    }

    fn note(&mut self, args: &Args, note: String) -> Result<()> {
        if !args.json {
            super::say(&format!("{note}\n"))?;
        }
        self.notes.push(note);
        Ok(())
    }

    /// What is counted, in words or as data.
    #[cfg(feature = "cuda")]
    fn estimate(&mut self, args: &Args) -> Result<()> {
        use super::counters::{Tools, data, show};
        let steep::device::Code::Cuda(code) = &self.candidate.source().code else {
            return self.note(args, "counters: of CUDA alone, which the emulator runs".into());
        };
        if self.counters.is_empty() {
            return self
                .note(args, "counters: not counted: wanted a kernel that is right in the emulator".into());
        }
        let tools = Tools::find();
        if let Some(note) = tools.note() {
            self.note(args, note)?;
        }
        for counted in std::mem::take(&mut self.counters) {
            let estimates = tools.estimates(&counted.counts, &code.text)?;
            if !args.json {
                super::say(&show(&counted, &estimates))?;
            }
            self.estimates.push(data(&counted, &estimates));
        }
        Ok(())
    }

    fn end(&self, args: &Args, against: &Value) -> Result<()> {
        if args.json {
            let all = json!({
                "file": self.candidate.file,
                "op": self.candidate.op.kernel.name,
                "language": self.candidate.language,
                "values": self.values,
                "right": self.right(),
                "reports": self.reports,
                "machine_code": self.codes,
                "counters": self.estimates,
                "trace": self.trace,
                "times": self.times,
                "against": against,
                "notes": self.notes,
            });
            return super::say(&format!("{all:#}\n"));
        }
        match self.right() {
            Some(true) => super::say("right\n"),
            Some(false) => super::say("wrong\n"),
            None => Ok(()),
        }
    }
}

/// What the threads of a block, or of one of its warps, did.
#[derive(Debug, Serialize, Deserialize)]
struct Trace {
    /// The block, and perhaps the warp, that was asked for.
    of: String,
    dtype: String,
    case: String,
    /// Of each: the place, the threads, and what they did.
    lines: Vec<[String; 3]>,
}

/// `BLOCK` or `BLOCK,WARP`.
#[cfg(feature = "cuda")]
fn block_and_warp(text: &str) -> Result<String> {
    let (block, warp) = text.split_once(',').unwrap_or((text, "0"));
    match (block.trim().parse::<u32>(), warp.trim().parse::<u32>()) {
        (Ok(_), Ok(warp)) if warp < 32 => Ok(text.replace(' ', "")),
        _ => Err(Error::setting(
            format!("--trace {text}"),
            "BLOCK or BLOCK,WARP, such as 0 or 3,1: blocks from 0, warps from 0 to 31",
        )),
    }
}

/// Other numbers each time.
fn fresh() -> u32 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    // Of the microseconds, so that two runs in a row differ in many bits.
    (now.as_micros() as u32).wrapping_mul(0x9e37_79b9) ^ std::process::id()
}

fn read(path: &Path, op: Option<&str>) -> Result<Candidate> {
    const WANTED: &str = "a kernel in WGSL or CUDA C++";
    // No pipe: another process reads it too.
    let size = input::open(path, WANTED)?.metadata().map_err(|e| Error::file(path, e))?.len();
    if size > Candidate::LARGEST as u64 {
        let why = format!("{size} bytes: wanted a kernel of at most {}", Candidate::LARGEST);
        return Err(Error::file(path, why));
    }
    let text = input::read_text(path, WANTED)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    Candidate::parse(&name, &text, op)
}

/// Writes a file to begin with; never over one that is there.
fn new(name: &str, language: Language) -> Result<()> {
    let op = ALL.iter().find(|op| op.kernel.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|op| op.kernel.name).collect();
        Error::setting(format!("op `{name}`"), names.join(", "))
    })?;
    let path = PathBuf::from(format!("{name}.{}", language.extension()));
    let text = starter(op, language)?;
    let made = std::fs::File::create_new(&path)
        .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    made.map_err(|e| match e.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::file(&path, "is there already: wanted a folder without it")
        }
        _ => Error::file(&path, e),
    })?;
    super::say(&format!("wrote {}; steep try {0} tries it\n", path.display()))
}

/// Whether a name opens a device of the language.
fn runs(name: &str, language: Language) -> bool {
    let kind = name.split(':').next().unwrap_or(name);
    match language {
        Language::Wgsl => kind == "wgpu",
        Language::Cuda => kind == "cuda" || name == "emulator",
    }
}

/// The devices that a file in WGSL runs on where nobody says otherwise.
async fn adapters() -> Vec<String> {
    let all = Device::all().await.into_iter().filter(|device| matches!(device, Device::Wgpu(_)));
    let mut names: Vec<String> = all.map(|device| device.name()).collect();
    if !names.is_empty() {
        names.push("wgpu:core".into());
    }
    names
}
