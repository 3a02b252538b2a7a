//! A candidate through the cases of its op.

use super::report::{apart, words};
use super::{Candidate, Finding, Kind, LABEL, Language, Place, Report};
use crate::cases::run::{Ready, Trial};
use crate::cases::{Case, Fill, LARGEST_EMULATED};
use crate::{DType, Device, Error, Result};

/// Which cases are tried, and on what numbers.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Those of this type alone.
    pub dtype: Option<DType>,
    /// Those with this in their names, such as `512×192`; an `x` stands for `×`, too.
    pub shape: Option<String>,
    /// Those of no more work than this; see [`Case::work`].
    pub largest: Option<usize>,
    /// What random operands are drawn with. A kernel that knows the answers for one number does not know them for another.
    /// 0 are the numbers of the crate's own tests.
    pub values: u64,
}

impl Filter {
    /// The cases of a candidate's op that it lets through, in the types that the candidate takes, the smallest first.
    pub fn cases(&self, candidate: &Candidate, device: &Device) -> Vec<Case> {
        let emulated = |case: &Case| case.emulated && case.work() <= LARGEST_EMULATED;
        let wanted = |case: &Case| {
            candidate.dtypes.contains(&case.dtype)
                && self.dtype.is_none_or(|dtype| dtype == case.dtype)
                && self.names(case)
                && self.largest.is_none_or(|largest| case.work() <= largest)
                && (!device.is_emulated() || emulated(case))
        };
        let mut all: Vec<Case> = candidate.op.tests().filter(wanted).collect();
        all.sort_by_key(Case::work);
        all.iter_mut().for_each(|case| self.renew(case));
        all
    }

    /// What a call of a candidate is counted with, in one type; see [`Op::counted`](crate::cases::Op::counted).
    pub fn counted(&self, candidate: &Candidate, dtype: DType) -> Vec<Case> {
        let mut all = candidate.op.counted(dtype);
        all.retain(|case| {
            self.dtype.is_none_or(|only| only == dtype)
                && self.names(case)
                && self.largest.is_none_or(|largest| case.work() <= largest)
        });
        all
    }

    /// Whether a case has the shape.
    pub(super) fn names(&self, case: &Case) -> bool {
        let plain = |name: &str| name.to_lowercase().replace('×', "x");
        self.shape.as_ref().is_none_or(|shape| plain(&case.name).contains(&plain(shape)))
    }

    /// The same case on other random numbers.
    pub(super) fn renew(&self, case: &mut Case) {
        for operand in case.writes.iter_mut().chain(&mut case.reads) {
            if let Fill::Normal { seed, .. } = &mut operand.fill {
                *seed = seed.wrapping_add(self.values.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            }
        }
    }
}

/// How far a trial is.
pub struct Progress<'a> {
    /// The case that is tried now.
    pub case: &'a Case,
    /// Its number, from 0.
    pub at: usize,
    /// How many there are.
    pub of: usize,
    /// What was found before it.
    pub findings: &'a [Finding],
}

/// The device without the candidate again, whatever happens.
pub(super) struct Substituted<'d>(pub &'d Device);

impl Drop for Substituted<'_> {
    fn drop(&mut self) {
        self.0.substitute(None);
    }
}

/// Runs all cases that the filter lets through on a device, and returns what is wrong. `watch` is told of each case
/// before it is tried.
///
/// All of them are tried, with two exceptions: a kernel that does not compile is not asked for other shapes in the same
/// type, and one that does not end for nothing more.
///
/// # Errors
///
/// If the device does not run the language or lacks what the kernel needs, if no case is left, or if the device is gone.
pub async fn trial(
    device: &Device,
    candidate: &Candidate,
    filter: &Filter,
    watch: &mut dyn FnMut(&Progress<'_>),
) -> Result<Report> {
    suits(device, candidate)?;
    let cases = filter.cases(candidate, device);
    if cases.is_empty() {
        let names: Vec<String> = candidate.dtypes.iter().map(DType::to_string).collect();
        let wanted = format!("a dtype of {} and a part of a case's name", names.join(", "));
        return Err(Error::setting(format!("{}: no such case", candidate.op.kernel.name), wanted));
    }
    let name = if device.is_emulated() { "emulator".to_string() } else { device.describe() };
    let mut report = Report::new(candidate, name);
    let mut dead: Vec<DType> = vec![];
    let mut device = device.clone();
    for (at, case) in cases.iter().enumerate() {
        let endless = report.findings.last().is_some_and(|f| f.kind == Kind::Endless);
        if endless || dead.contains(&case.dtype) {
            report.left += 1;
            continue;
        }
        watch(&Progress { case, at, of: cases.len(), findings: &report.findings });
        match one(&device, candidate, case).await {
            Ok(None) => report.not_taken += 1,
            Ok(Some(found)) => {
                report.cases += 1;
                report.failed += usize::from(!found.is_empty());
                report.findings.extend(found);
            }
            Err(error) => {
                report.cases += 1;
                report.failed += 1;
                let finding = failure(&device, candidate, case, &error).await;
                if finding.kind == Kind::Compile {
                    dead.push(case.dtype);
                }
                report.findings.push(finding);
                if device.recover().is_err() {
                    let name = device.name();
                    device = Device::open(&name).await?;
                }
            }
        }
    }
    Ok(report)
}

fn suits(device: &Device, candidate: &Candidate) -> Result<()> {
    let (runs, file) = (device.name(), candidate.file);
    let fits = match candidate.language {
        Language::Wgsl => matches!(device, Device::Wgpu(_)),
        Language::Cuda => matches!(device, Device::Cuda(_)),
    };
    if !fits {
        let wanted = format!("a device that runs {}, of which {file} is", candidate.language);
        return Err(Error::setting(format!("device {runs}"), wanted));
    }
    match device.has(candidate.needs()) {
        true => Ok(()),
        false => Err(Error::device(runs, format!("lacks what {file} needs: {}", candidate.needs()))),
    }
}

/// What is wrong in one case; `None` where the kernel does not take it.
async fn one(device: &Device, candidate: &Candidate, case: &Case) -> Result<Option<Vec<Finding>>> {
    let ready = Ready::new(case);
    device.substitute(Some((candidate.op.kernel, candidate.source())));
    let _substituted = Substituted(device);
    // An emulated GPU knows where tensors end.
    let mut trial = Trial::new(&ready, device, !device.is_emulated())?;
    let Some(found) = trial.check(LABEL).await? else { return Ok(None) };
    let of = |finding: crate::cases::Finding| {
        let kind = match finding.what {
            "the end of outputs" => Kind::Overrun,
            "the same bits twice" => Kind::Unstable,
            "gates" => Kind::Gate,
            _ => Kind::Wrong,
        };
        finding.fault.map(|mut what| {
            // What is never written is what it was.
            if let Some(at) = what.find(" is NaN, wanted").filter(|_| kind == Kind::Wrong) {
                what.insert_str(at + " is NaN".len(), " (as before the call: was it written?)");
            }
            self::finding(kind, case, None, what)
        })
    };
    Ok(Some(found.into_iter().filter_map(of).collect()))
}

fn finding(kind: Kind, case: &Case, place: Option<Place>, what: String) -> Finding {
    let (case, dtype, work) = (case.name.clone(), case.dtype.to_string(), case.work());
    Finding { kind, case, dtype, work, place, what }
}

/// What is called where a shader is translated for the device, in wgpu's words and in Chromium's.
const PIPELINE: [&str; 2] = ["create_compute_pipeline", "CreateComputePipeline"];

/// What a device's error says about the kernel.
async fn failure(device: &Device, candidate: &Candidate, case: &Case, error: &Error) -> Finding {
    if let Device::Wgpu(wgpu) = device
        && let Some(complaint) = wgpu.complaints().await.into_iter().next()
    {
        let place = complaint.place.map(|(file, line, column)| Place {
            file: file.to_string(),
            line,
            column: Some(column),
        });
        return finding(Kind::Compile, case, place, gist(&complaint.message));
    }
    let said = match device.is_emulated() {
        true => named(&words(error), &candidate.arguments()),
        false => words(error),
    };
    let of_compiler = |error: &Error| match error {
        Error::Device { device, .. } => device == "NVRTC" || device == "WGSL",
        _ => false,
    };
    let kind = match device {
        _ if of_compiler(error) || PIPELINE.iter().any(|call| said.contains(call)) => Kind::Compile,
        _ if said.contains("does not end") => Kind::Endless,
        _ => Kind::Fault,
    };
    let (place, what) = apart(&said, candidate.file);
    let what = what.trim_end_matches(" (CUDA_ERROR_ILLEGAL_ADDRESS)");
    finding(kind, case, place, what.to_string())
}

/// A message of naga's, which draws the source, in a line: what it says before, beside and below the drawing.
fn gist(message: &str) -> String {
    let mut parts: Vec<String> = vec![];
    for line in message.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let drawn = line.contains('│') || line.contains('┌');
        let beside = line.rsplit_once('^').map(|(_, beside)| beside.trim());
        let part = match (drawn, beside) {
            (true, Some(beside)) => beside,
            (true, None) => "",
            (false, _) => line.trim_start_matches("= "),
        };
        // Which shader, everybody knows.
        let part = part
            .strip_prefix("Shader '")
            .and_then(|rest| rest.split_once("' "))
            .map_or(part, |(_, rest)| rest);
        if !part.is_empty() && !parts.iter().any(|p| p == part) {
            parts.push(part.to_string());
        }
    }
    parts.join("; ")
}

/// The emulator's words with the names of arguments, which it knows by number.
fn named(said: &str, names: &[String]) -> String {
    const MARK: &str = "argument ";
    let mut parts = said.split(MARK);
    let mut text = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let digits = part.len() - part.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        match part[..digits].parse().ok().and_then(|n: usize| names.get(n)) {
            Some(name) => text += &format!("`{name}`{}", &part[digits..]),
            None => text += &format!("{MARK}{part}"),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_with_names() {
        let drawn = "\nShader 'x' parsing error: no definition in scope for identifier: `y`\n   ┌─ wgsl:2:4\n   │\n2 │ y;\n   \
                     │ ^ unknown identifier\n\n";
        assert_eq!(
            gist(drawn),
            "parsing error: no definition in scope for identifier: `y`; unknown identifier"
        );
        let names = ["out".to_string(), "x".to_string()];
        assert_eq!(
            named("reads 4 bytes at argument 1 + 8, argument 7", &names),
            "reads 4 bytes at `x` + 8, argument 7"
        );
    }
}
