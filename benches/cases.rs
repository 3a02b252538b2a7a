//! What is benchmarked, and how: shared by `cargo bench` (`main.rs`) and `steep bench` (`src/cli/bench.rs`).
//!
//! A [`Case`] is one op at one shape. It is verified against the naive f64 oracle with each source before that source is
//! timed, on random data, and timed with the device's own marks.

use steep::device::{Kernel, Mark};
use steep::{DType, Device, Error, Result, Tensor, ops::ALL, oracle};

pub mod ceilings;
pub mod forward;
pub mod ops;

use ceilings::Bound;

/// One op at one shape.
pub struct Case {
    /// The op's name, or `forward`.
    pub op: &'static str,
    /// For people: `4096×1152`.
    pub shape: String,
    /// Of matrix operands, or of everything where an op knows one dtype only.
    pub dtype: DType,
    /// Bytes that must be moved: every operand once, those that are read and written twice. 0 where nobody counts them.
    pub bytes: usize,
    /// Multiplications and additions of matrix products. 0 where memory is what limits the op.
    pub flops: usize,
    /// Operands, as the op's call lists them. `run` is handed both.
    pub writes: Vec<Tensor>,
    /// See `writes`.
    pub reads: Vec<Tensor>,
    /// Runs the op once.
    pub run: Run,
    /// More operands of the same shapes, to run on in turn; see [`rotate`](Self::rotate).
    pub spares: Vec<(Vec<Tensor>, Vec<Tensor>)>,
    /// What it should have done.
    pub expect: Expect,
    /// The largest error that passes, as [`oracle::nmse`]; see [`tolerance`].
    pub tolerance: f64,
}

type Run = Box<dyn FnMut(&mut [Tensor], &[Tensor]) -> Result<()>>;
type Expect = Box<dyn Fn(&Values) -> Vec<Pair>>;
/// What came out, and what the oracle says.
pub type Pair = (Vec<f32>, Vec<f64>);

/// The operands of a run, on the host.
pub struct Values {
    /// What was read.
    pub reads: Vec<Vec<f64>>,
    /// What stood in the written tensors before the run: random numbers.
    pub before: Vec<Vec<f64>>,
    /// What stands there after it.
    pub after: Vec<Vec<f32>>,
}

/// The cases of an op, with matrix operands of a dtype.
pub type Cases = fn(&Device, DType) -> Result<Vec<Case>>;

/// A tensor of normal numbers. Never zeros: predictable data lets hardware run faster than it ever will at work.
pub fn normal<const N: usize>(device: &Device, dtype: DType, shape: [usize; N], seed: u64) -> Result<Tensor> {
    Tensor::from_f32(device, dtype, shape, &numbers(seed, shape.iter().product()))
}

/// `n` normal numbers, which repeat after the first million: nobody wants to wait for more.
fn numbers(seed: u64, n: usize) -> Vec<f32> {
    const PERIOD: usize = 1 << 20;
    let some = oracle::data(seed, n.min(PERIOD), 0.0, 1.0);
    some.iter().copied().cycle().take(n).collect()
}

/// The error that passes where the last rounding is `dtype`'s: its unit roundoff squared, times two for the types that
/// are rounded to once, times a thousand for f32, in which the long sums are.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F32 | DType::U32 => 4e-12,
        DType::F16 => 5e-7,
        DType::BF16 => 3e-5,
    }
}

impl Case {
    /// Labels of the sources that fit the device, best first. `forward` is a mixture: it runs the best of each op.
    pub fn sources(&self, device: &Device) -> Vec<&'static str> {
        match ALL.iter().find(|kernel| kernel.name == self.op) {
            Some(&kernel) => labels(device, kernel),
            None => vec!["best"],
        }
    }

    /// Whether a cache may keep some or all of the tensors from one run to the next.
    pub fn cached(&self) -> bool {
        const LARGE: usize = 64 << 20;
        self.bytes_held() * (1 + self.spares.len()) < LARGE
    }

    fn bytes_held(&self) -> usize {
        self.writes.iter().chain(&self.reads).map(Tensor::bytes).sum()
    }

    /// Makes copies of the operands, so many that a run never finds its own in a cache: on a GPU, whose last-level cache
    /// would hold a whole small model, nothing else is like the work in a model.
    pub fn rotate(&mut self) -> Result<()> {
        const BEYOND_CACHES: usize = 160 << 20;
        const MOST: usize = 256;
        if self.op == "forward" {
            // A whole model, with weights of its own.
            return Ok(());
        }
        let copies = BEYOND_CACHES.div_ceil(self.bytes_held().max(1)).min(MOST);
        for _ in 1..copies {
            let copy = |t: &Tensor| {
                let bytes = pollster::block_on(t.read())?;
                let mut copy = Tensor::zeros(t.device(), t.dtype(), *t.shape())?;
                copy.write(&bytes)?;
                Ok(copy)
            };
            let all = |tensors: &[Tensor]| tensors.iter().map(copy).collect::<Result<Vec<_>>>();
            self.spares.push((all(&self.writes)?, all(&self.reads)?));
        }
        Ok(())
    }

    /// Runs the op on the next operands in turn.
    fn next(&mut self, turn: &mut usize) -> Result<()> {
        let at = *turn % (1 + self.spares.len());
        *turn += 1;
        match at.checked_sub(1).and_then(|i| self.spares.get_mut(i)) {
            Some((writes, reads)) => (self.run)(writes, reads),
            None => (self.run)(&mut self.writes, &self.reads),
        }
    }

    /// Runs once with the device's preferred source and compares with the oracle. The largest error, as a share of the
    /// largest number in its tensor.
    pub fn verify(&mut self) -> Result<f64> {
        let mut before = vec![];
        for (i, t) in self.writes.iter_mut().enumerate() {
            // An op that does nothing must not pass for what an earlier source left behind.
            if t.dtype() != DType::U32 {
                t.write_f32(&numbers(1000 + i as u64, t.elements()))?;
            }
            before.push(wide(t)?);
        }
        (self.run)(&mut self.writes, &self.reads)?;
        let reads = self.reads.iter().map(wide).collect::<Result<_>>()?;
        let after = self.writes.iter().map(|t| pollster::block_on(t.read_f32())).collect::<Result<_>>()?;
        let mut largest: f64 = 0.0;
        for (ours, theirs) in (self.expect)(&Values { reads, before, after }) {
            largest = largest.max(oracle::max_error(&ours, &theirs));
            let error = oracle::nmse(&ours, &theirs);
            if error > self.tolerance {
                let device = self.writes[0].device().name();
                let (op, shape, most) = (self.op, &self.shape, self.tolerance);
                let why =
                    format!("{op} {shape}: wrong result, not timed (NMSE {error:.1e}, at most {most:.0e})");
                return Err(Error::device(device, why));
            }
        }
        Ok(largest)
    }

    /// Whether `source` is what ran last: it may not take the shape.
    pub fn took(&self, device: &Device, source: &str) -> bool {
        self.op == "forward" || device.ran() == Some(source)
    }

    /// Seconds that `runs` runs take together.
    pub fn seconds(&mut self, device: &Device, runs: usize) -> Result<f64> {
        let mut turn = 0;
        seconds(device, runs, &mut || self.next(&mut turn))
    }

    /// Seconds of one run: the median of about `seconds` of them.
    pub fn time(&mut self, device: &Device, seconds: f64) -> Result<f64> {
        let mut turn = 0;
        time(device, seconds, &mut || self.next(&mut turn))
    }

    /// What limits it.
    pub fn bound(&self) -> Bound {
        if self.flops == 0 { Bound::Copy } else { Bound::Matmul }
    }
}

fn labels(device: &Device, kernel: &'static Kernel) -> Vec<&'static str> {
    device.sources(kernel).map(|source| source.label).collect()
}

fn wide(t: &Tensor) -> Result<Vec<f64>> {
    Ok(oracle::wide(&pollster::block_on(t.read_f32())?))
}

fn seconds(device: &Device, runs: usize, run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let begin = device.mark();
    for _ in 0..runs {
        run()?;
    }
    let marks = [begin, device.mark()];
    Ok(pollster::block_on(device.seconds(&marks))?[0])
}

/// Seconds of one `run`: the median over samples, each long enough that a mark weighs nothing beside it; or one sample,
/// where that takes all of the time.
pub fn time(device: &Device, all: f64, run: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    const SAMPLE: f64 = 2e-3;
    let first = seconds(device, 1, run)?;
    if first > all {
        return Ok(first);
    }
    let once = seconds(device, 2, run)?.max(1e-7) / 2.0;
    let runs = (SAMPLE / once).ceil() as usize;
    let samples = ((all / (once * runs as f64)) as usize).clamp(3, 99);
    let mut marks: Vec<Mark> = vec![device.mark()];
    for _ in 0..samples {
        for _ in 0..runs {
            run()?;
        }
        marks.push(device.mark());
    }
    let mut each = pollster::block_on(device.seconds(&marks))?;
    each.sort_by(f64::total_cmp);
    Ok(each[samples / 2] / runs as f64)
}
