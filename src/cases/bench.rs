//! Times cases with the device's own marks, and verifies them before and after.

use std::rc::Rc;

use super::run::{Ready, fill, sources, tensors};
use super::{Case, Finding, Values};
use crate::device::{Gate, Mark};
use crate::{DType, Device, Error, Result, Tensor};

/// What limits an op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// Bytes read and written per second, by a copy between buffers no cache holds.
    Copy,
    /// Multiplications and additions per second, by a large matrix product.
    Matmul,
}

/// What may be said of a rate beside the ceiling that was measured for it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Rating {
    /// The share of the ceiling, 0 to 1.
    Share(f64),
    /// Faster than a copy between buffers that no cache holds, because a cache holds these operands.
    InCache,
    /// Faster than what was taken for a ceiling, which is none for this op: its accesses or its product are of another
    /// kind.
    Above,
}

impl Rating {
    /// Of a share that was measured. `cached`: whether a cache may keep the operands; see [`Bench::cached`].
    pub fn of(bound: Bound, share: f64, cached: bool) -> Rating {
        match bound {
            // What is printed as 100 % is no more than that.
            _ if share < 1.005 => Rating::Share(share.min(1.0)),
            Bound::Copy if cached => Rating::InCache,
            _ => Rating::Above,
        }
    }
}

/// Bytes above which operands are large: caches do not keep all of them.
pub const LARGE: usize = 64 << 20;

/// Runs what is timed once, on written and read tensors.
pub type Run = Box<dyn FnMut(&mut [Tensor], &[Tensor]) -> Result<()>>;
/// Compares what the written tensors hold after a run.
pub type Judge = Box<dyn Fn(&[Vec<f32>]) -> Vec<Finding>>;

/// Something to time on a device: a case, or a whole model.
pub struct Bench {
    /// The op's name, or `forward`.
    pub op: &'static str,
    /// For people: `4096×1152`.
    pub shape: String,
    /// The type of matrix operands.
    pub dtype: DType,
    /// Bytes that must be moved; 0 where nobody counts them.
    pub bytes: usize,
    /// Operations of matrix products; 0 where memory is the limit.
    pub flops: usize,
    /// Operations of the formula; see [`Case::operations`]. 0 of a model.
    pub operations: usize,
    pub(super) device: Device,
    pub(super) writes: Vec<Tensor>,
    pub(super) reads: Vec<Tensor>,
    pub(super) run: Run,
    /// None of a model, which decides by itself what runs.
    pub(super) case: Option<(Case, Rc<Values>)>,
    pub(super) judge: Judge,
    /// More operands of the same shapes, to run on in turn; see [`rotate`](Self::rotate).
    spares: Vec<(Vec<Tensor>, Vec<Tensor>)>,
    turn: usize,
}

impl Bench {
    /// A case on a device. Works out what it should give.
    ///
    /// # Errors
    ///
    /// If the device has no memory for the operands.
    pub fn new(device: &Device, case: Case) -> Result<Bench> {
        let Ready { checks, values, .. } = Ready::new(&case);
        let (before, reads) = (&values.before, &values.reads);
        let writes = tensors(device, &case.writes, before, false)?;
        let reads = tensors(device, &case.reads, reads, false)?;
        let call = case.call.clone();
        let run: Run = Box::new(move |w, r| call(Gate::Open, w, r));
        let values = Rc::new(values);
        let before = values.clone();
        let judge: Judge =
            Box::new(move |after| checks.iter().map(|check| check.judge(&before, after)).collect());
        let (op, shape, dtype) = (case.kernel.name, case.name.clone(), case.dtype);
        let mut bench = Bench::of(device, (op, shape, dtype), (writes, reads), run, judge);
        (bench.bytes, bench.flops, bench.operations) = (case.bytes, case.flops, case.operations());
        bench.case = Some((case, values));
        Ok(bench)
    }

    pub(super) fn of(
        device: &Device,
        (op, shape, dtype): (&'static str, String, DType),
        (writes, reads): (Vec<Tensor>, Vec<Tensor>),
        run: Run,
        judge: Judge,
    ) -> Bench {
        let (device, spares) = (device.clone(), vec![]);
        Bench {
            op,
            shape,
            dtype,
            device,
            writes,
            reads,
            run,
            judge,
            spares,
            bytes: 0,
            flops: 0,
            operations: 0,
            case: None,
            turn: 0,
        }
    }

    /// Labels of the sources that fit the device, best first. A model is a mixture: it runs the best of each op.
    pub fn sources(&self) -> Vec<&'static str> {
        self.case.as_ref().map_or(vec!["best"], |(case, _)| sources(&self.device, case.kernel))
    }

    /// What limits it.
    pub fn bound(&self) -> Bound {
        if self.flops == 0 { Bound::Copy } else { Bound::Matmul }
    }

    /// Whether a cache may keep some or all of the tensors from one run to the next.
    pub fn cached(&self) -> bool {
        self.bytes_held() * (1 + self.spares.len()) < LARGE
    }

    fn bytes_held(&self) -> usize {
        self.writes.iter().chain(&self.reads).map(Tensor::bytes).sum()
    }

    /// Makes so many copies of the operands that no run finds its own in a cache: on a GPU, whose last-level cache
    /// would hold a whole small model, nothing else is like the work in a model.
    ///
    /// # Errors
    ///
    /// If the device has no memory for them.
    pub fn rotate(&mut self) -> Result<()> {
        const BEYOND_CACHES: usize = 160 << 20;
        const MOST: usize = 256;
        // A whole model has weights of its own.
        let Some((case, values)) = &self.case else { return Ok(()) };
        let copies = BEYOND_CACHES.div_ceil(self.bytes_held().max(1)).min(MOST);
        for _ in 1..copies {
            let writes = tensors(&self.device, &case.writes, &values.before, false)?;
            self.spares.push((writes, tensors(&self.device, &case.reads, &values.reads, false)?));
        }
        Ok(())
    }

    /// Runs once with the device's preferred source and compares the result. Returns the largest error, as a share of
    /// the largest number in its tensor.
    ///
    /// # Errors
    ///
    /// If the result is wrong, or the device fails.
    pub async fn verify(&mut self) -> Result<f64> {
        if let Some((case, values)) = &self.case {
            // An op that does nothing must not pass for what an earlier source left behind.
            for ((t, operand), values) in self.writes.iter_mut().zip(&case.writes).zip(&values.before) {
                fill(t, operand, values)?;
            }
        }
        (self.run)(&mut self.writes, &self.reads)?;
        let mut after = vec![];
        for t in &self.writes {
            after.push(t.read_f32().await?);
        }
        let mut largest: f64 = 0.0;
        for Finding { share, fault, .. } in (self.judge)(&after) {
            if let Some(fault) = fault {
                let why = format!("{} {}: wrong result, not timed: {fault}", self.op, self.shape);
                return Err(Error::device(self.device.name(), why));
            }
            largest = largest.max(share);
        }
        Ok(largest)
    }

    /// Whether `source` is what ran last: it may not take the shape.
    pub fn took(&self, source: &str) -> bool {
        self.case.is_none() || self.device.ran() == Some(source)
    }

    /// Runs on the next operands in turn.
    fn next(&mut self) -> Result<()> {
        let at = self.turn % (1 + self.spares.len());
        self.turn += 1;
        match at.checked_sub(1).and_then(|i| self.spares.get_mut(i)) {
            Some((writes, reads)) => (self.run)(writes, reads),
            None => (self.run)(&mut self.writes, &self.reads),
        }
    }

    /// Seconds that `runs` runs take together.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn seconds(&mut self, runs: usize) -> Result<f64> {
        let device = self.device.clone();
        seconds(&device, runs, &mut || self.next()).await
    }

    /// Seconds of one run: the median of about `all` seconds of them.
    ///
    /// # Errors
    ///
    /// If the device fails.
    pub async fn time(&mut self, all: f64) -> Result<f64> {
        let device = self.device.clone();
        time(&device, all, &mut || self.next()).await
    }
}

async fn seconds(device: &Device, runs: usize, run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let begin = device.mark();
    for _ in 0..runs {
        run()?;
    }
    Ok(device.seconds(&[begin, device.mark()]).await?[0])
}

/// Seconds of one `run`: the median over samples, each long enough that a mark weighs nothing beside it; or one sample,
/// where that takes all of the time.
///
/// # Errors
///
/// If a run or the device fails.
pub async fn time(device: &Device, all: f64, run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    const MOST: usize = 1 << 16;
    /// Steps of the device's clock that a sample is long at least: 2 % of it are not seen.
    const STEPS: f64 = 50.0;
    let sample = f64::max(2e-3, STEPS * device.clock());
    let first = seconds(device, 1, run).await?;
    if first > all {
        return Ok(first);
    }
    // As many as it takes to see that they take any time.
    let (mut few, mut taken) = (2, seconds(device, 2, run).await?);
    while taken < sample / 10.0 && few < MOST {
        few *= 8;
        taken = seconds(device, few, run).await?;
    }
    let once = taken.max(1e-7) / few as f64;
    let runs = (sample / once).ceil() as usize;
    let samples = ((all / (once * runs as f64)) as usize).clamp(3, 99);
    let mut marks: Vec<Mark> = vec![device.mark()];
    for _ in 0..samples {
        for _ in 0..runs {
            run()?;
        }
        marks.push(device.mark());
    }
    let mut each = device.seconds(&marks).await?;
    each.sort_by(f64::total_cmp);
    Ok(each[samples / 2] / runs as f64)
}
