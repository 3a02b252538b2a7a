//! Runs cases on a device, with each source in turn, and returns what it finds.
//!
//! ```text
//! let ready = Ready::new(&case);                      the data and the expected values, once for all devices
//! let mut trial = Trial::new(&ready, &device, true)?; the tensors
//! trial.check("naive").await?                         findings, or none where the source does not take the shape
//! ```

use std::slice;

use super::{Case, Check, Fill, Finding, Operand, Values, Wrong};
use crate::device::{Counters, Gate, Kernel};
use crate::tensor::POISON;
use crate::{DType, Device, Result, Tensor};

/// A case with its data made and its expected values worked out.
pub struct Ready<'a> {
    /// The case.
    pub case: &'a Case,
    /// What its operands hold before the call.
    pub values: Values,
    /// What it should give.
    pub checks: Vec<Check>,
}

impl<'a> Ready<'a> {
    /// Makes the data and runs the naive loops.
    pub fn new(case: &'a Case) -> Ready<'a> {
        let values = case.values();
        Ready { case, checks: (case.expect)(&values), values }
    }

    /// Compares what the written tensors hold after a call.
    pub fn judge(&self, after: &[Vec<f32>]) -> Vec<Finding> {
        self.checks.iter().map(|check| check.judge(&self.values, after)).collect()
    }
}

/// The labels of the sources of `kernel` that a device can run, best first.
pub fn sources(device: &Device, kernel: &'static Kernel) -> Vec<&'static str> {
    device.sources(kernel).map(|source| source.label).collect()
}

/// Puts into a tensor what an operand holds before the call.
pub(super) fn fill(t: &mut Tensor, operand: &Operand, values: &[f32]) -> Result<()> {
    match &operand.fill {
        Fill::Poison => t.write(&vec![POISON; t.bytes()]),
        Fill::Labels(labels) => t.write(bytemuck::cast_slice(labels)),
        Fill::Normal { .. } | Fill::Numbers(_) => t.write_f32(values),
    }?;
    if operand.arranged {
        t.arrange();
    }
    Ok(())
}

/// Tensors for operands.
pub(super) fn tensors(
    device: &Device,
    operands: &[Operand],
    values: &[Vec<f32>],
    guarded: bool,
) -> Result<Vec<Tensor>> {
    let make = |(operand, values): (&Operand, &Vec<f32>)| {
        let (dtype, shape) = (operand.dtype, operand.shape);
        let mut t = if guarded {
            Tensor::guarded(device, dtype, shape)
        } else {
            Tensor::zeros(device, dtype, shape)
        }?;
        fill(&mut t, operand, values)?;
        Ok(t)
    };
    operands.iter().zip(values).map(make).collect()
}

/// What a call has left behind.
struct Outcome {
    /// The written tensors' bytes.
    bytes: Vec<Vec<u8>>,
    /// Names of those that it wrote past the end of.
    overrun: Vec<&'static str>,
}

/// A case on a device.
pub struct Trial<'a> {
    case: &'a Case,
    values: &'a Values,
    checks: &'a [Check],
    device: Device,
    writes: Vec<Tensor>,
    reads: Vec<Tensor>,
}

impl<'a> Trial<'a> {
    /// Makes the tensors. Where they are `guarded`, poisoned memory stands behind those that are written; without
    /// that, tensors are as long as they are, for a device that checks accesses by itself.
    pub fn new(ready: &'a Ready<'a>, device: &Device, guarded: bool) -> Result<Trial<'a>> {
        Trial::with(ready.case, &ready.values, &ready.checks, device, guarded)
    }

    fn with(
        case: &'a Case,
        values: &'a Values,
        checks: &'a [Check],
        device: &Device,
        guarded: bool,
    ) -> Result<Trial<'a>> {
        let writes = tensors(device, &case.writes, &values.before, guarded)?;
        let reads = tensors(device, &case.reads, &values.reads, false)?;
        Ok(Trial { case, values, checks, device: device.clone(), writes, reads })
    }

    /// Runs the case with a source, twice, and under every gate if the case says so. `None` where the source does not
    /// take the shape or the type.
    ///
    /// # Errors
    ///
    /// If the device fails or the op refuses the call.
    pub async fn check(&mut self, source: &'static str) -> Result<Option<Vec<Finding>>> {
        self.device.prefer(Some(source));
        let found = self.check_preferred(source).await;
        self.device.prefer(None);
        found
    }

    async fn check_preferred(&mut self, source: &'static str) -> Result<Option<Vec<Finding>>> {
        let first = self.outcome(Gate::Open).await?;
        if self.device.ran() != Some(source) {
            return Ok(None);
        }
        let dtypes = self.case.writes.iter().map(|operand| operand.dtype);
        let after: Vec<Vec<f32>> =
            dtypes.zip(&first.bytes).map(|(t, bytes)| t.to_f32(bytes, "results")).collect::<Result<_>>()?;
        let mut found: Vec<Finding> =
            self.checks.iter().map(|check| check.judge(self.values, &after)).collect();
        let past = (!first.overrun.is_empty()).then(|| format!("written past by {:?}", first.overrun));
        found.push(Finding::plain("the end of outputs", past));
        let second = self.outcome(Gate::Open).await?;
        let differ = (first.bytes != second.bytes).then(|| "other bits the second time".to_string());
        found.push(Finding::plain("the same bits twice", differ));
        if self.case.gated {
            let wrong = self.gates(&first.bytes).await?;
            found.push(Finding::plain("gates", (!wrong.is_empty()).then(|| wrong.join("; "))));
        }
        Ok(Some(found))
    }

    /// Under each gate, with each flag, the op does all of its work or leaves its outputs as they were, and is counted.
    async fn gates(&mut self, after: &[Vec<u8>]) -> Result<Vec<String>> {
        let (device, before) = (self.device.clone(), self.reset().await?);
        let mut wrong = vec![];
        for flag in [0, 1, 7] {
            let tensor = Tensor::from_u32(&device, [1], &[flag])?;
            let gates = [("If", Gate::If(&tensor), flag != 0), ("Unless", Gate::Unless(&tensor), flag == 0)];
            for (name, gate, open) in gates.into_iter().chain([("Open", Gate::Open, true)]) {
                let start = device.counters().await?;
                let outcome = self.outcome(gate).await?;
                let counted = device.counters().await?.since(&start);
                let right = if open { after } else { &before };
                if outcome.bytes != right || !outcome.overrun.is_empty() {
                    wrong.push(format!(
                        "{name}({flag}): {}",
                        if open { "other results" } else { "something was written" }
                    ));
                }
                let wanted =
                    Counters { launched: open.into(), gated_off: (!open).into(), ..Counters::default() };
                let (launched, gated_off) = (counted.launched, counted.gated_off);
                if (launched, gated_off) != (wanted.launched, wanted.gated_off) {
                    wrong.push(format!("{name}({flag}): counted {launched} launched, {gated_off} gated off"));
                }
            }
        }
        Ok(wrong)
    }

    /// Gates and tensors that no op takes, whatever it does. Returns what went wrong.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn refuse_gates(&mut self) -> Result<Vec<String>> {
        let (device, cpu) = (self.device.clone(), Device::cpu());
        let op = self.case.kernel.name;
        let apart = format!("{op}: tensors: wanted all on {}, got tensors of two devices", device.name());
        let float = Tensor::zeros(&device, DType::F32, [1])?;
        let elsewhere = Tensor::from_u32(&cpu, [1], &[1])?;
        let mut wrong = vec![];
        let message = format!("{op}: gate: wanted u32 [1], got f32 [1]");
        wrong.extend(self.refuse(Gate::If(&float), &message).await?);
        wrong.extend(self.refuse(Gate::Unless(&elsewhere), &apart).await?);
        self.reads = tensors(&cpu, &self.case.reads, &self.values.reads, false)?;
        wrong.extend(self.refuse(Gate::Open, &apart).await?);
        self.reads = tensors(&device, &self.case.reads, &self.values.reads, false)?;
        Ok(wrong)
    }

    /// The call must say this, write nothing and count as nothing. Returns what went wrong.
    async fn refuse(&mut self, gate: Gate<'_>, message: &str) -> Result<Option<String>> {
        let before = self.reset().await?;
        let start = self.device.counters().await?;
        let said = (self.case.call)(gate, &mut self.writes, &self.reads).map_err(|e| e.to_string());
        let counted = self.device.counters().await?.since(&start);
        let untouched = self.read().await?.bytes == before && counted.launched + counted.gated_off == 0;
        Ok(match said {
            Err(said) if said == message && untouched => None,
            Err(said) if said == message => Some(format!("{message}: something was written or counted")),
            said => Some(format!("wanted `{message}`, got {said:?}")),
        })
    }

    /// Fills the written tensors again. Returns their bytes.
    async fn reset(&mut self) -> Result<Vec<Vec<u8>>> {
        self.refill()?;
        Ok(self.read().await?.bytes)
    }

    fn refill(&mut self) -> Result<()> {
        let operands = self.case.writes.iter().zip(&self.values.before);
        self.writes.iter_mut().zip(operands).try_for_each(|(t, (operand, values))| fill(t, operand, values))
    }

    /// Fills the written tensors again and makes the call.
    async fn outcome(&mut self, gate: Gate<'_>) -> Result<Outcome> {
        self.refill()?;
        (self.case.call)(gate, &mut self.writes, &self.reads)?;
        self.read().await
    }

    async fn read(&self) -> Result<Outcome> {
        let all: Vec<(&Tensor, usize)> = self.writes.iter().map(|t| (t, t.bytes() + t.guard)).collect();
        let mut bytes = self.device.read(&all).await?;
        let mut overrun = vec![];
        for ((bytes, t), operand) in bytes.iter_mut().zip(&self.writes).zip(&self.case.writes) {
            if bytes.split_off(t.bytes()).iter().any(|&b| b != POISON) {
                overrun.push(operand.name);
            }
        }
        Ok(Outcome { bytes, overrun })
    }

    /// The bits that a source makes.
    ///
    /// # Errors
    ///
    /// If the device fails or the op refuses the call.
    pub async fn bits(&mut self, source: &'static str) -> Result<Vec<Vec<u8>>> {
        self.device.prefer(Some(source));
        let outcome = self.outcome(Gate::Open).await;
        self.device.prefer(None);
        Ok(outcome?.bytes)
    }
}

impl Wrong {
    /// Makes the call on a device. Returns what went wrong, if the op did not refuse it as it should.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn check(&self, device: &Device) -> Result<Option<String>> {
        let values = self.case.values();
        let mut trial = Trial::with(&self.case, &values, &[], device, true)?;
        trial.refuse(Gate::Open, &self.message).await
    }
}

/// The written tensors after a kernel that is wrong in one of three simple ways, for tests of the checks themselves:
/// it writes zeros, it writes nothing, or it copies its first operand.
pub fn mutants(values: &Values) -> [(&'static str, Vec<Vec<f32>>); 3] {
    let first = values.reads.first().or(values.before.first()).map_or(slice::from_ref(&0.0), |x| &x[..]);
    let each = |make: &dyn Fn(&Vec<f32>) -> Vec<f32>| values.before.iter().map(make).collect();
    [
        ("writes zeros", each(&|x| vec![0.0; x.len()])),
        ("writes nothing", each(&Vec::clone)),
        ("copies its first operand", each(&|x| first.iter().copied().cycle().take(x.len()).collect())),
    ]
}
