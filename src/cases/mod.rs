//! One list of cases: for every op its calls as data, what each call should give, and how near it must come.
//!
//! Whoever runs an op to see whether it is right, or how fast it is, takes the calls from here: the tests of the ops
//! on every device, the emulator of CUDA, `cargo bench` and `steep bench`. [`run`] runs a case and compares its results,
//! [`mod@bench`] times it. Both return what they find; they neither assert nor wait.
//!
//! The expected values come from naive loops in f64, which share nothing with a fast path. They work on flat slices,
//! row-major; dimensions come as one array and are named as in [`ops`].
//!
//! An op is added by one line in [`for_each_op`](crate::for_each_op) and a file of its name beside this one.

pub mod bench;
pub mod forward;
mod measure;
pub mod run;

use std::sync::Arc;

pub use measure::{Bound, Check, Derived, Finding, Of, nmse, normal_numbers, round, totals, wide};

use crate::device::{Gate, Kernel};
use crate::model::Footprint;
use crate::{DType, Error, Result, Shape, Tensor, ops};

/// The one list: hands each op's name, the name of its [`Kernel`], and the types of its matrix operands to a macro.
///
/// Everything that is there once for each op is made from it, such as [`ALL`] and a test for each op.
#[macro_export]
macro_rules! for_each_op {
    ($make:ident) => {
        $make! {
            patch_embed PATCH_EMBED FLOATS,
            time_embed TIME_EMBED FLOATS,
            label_embed LABEL_EMBED FLOATS,
            take TAKE F32,
            temporal_embed TEMPORAL_EMBED F32,
            linear LINEAR FLOATS,
            modulate MODULATE FLOATS,
            attention ATTENTION FLOATS,
            rel_l1 REL_L1 FLOATS,
            modulate_rel_l1 MODULATE_REL_L1 FLOATS,
            tea_gate TEA_GATE F32,
            axpby AXPBY F32,
            residual_extrapolate RESIDUAL_EXTRAPOLATE F32,
            residual_distance RESIDUAL_DISTANCE F32,
            spectral_filter SPECTRAL_FILTER FLOATS,
            easy_distance EASY_DISTANCE F32,
            norm_ratio NORM_RATIO F32,
            denoise DENOISE F32,
            renoise RENOISE F32,
            conv2d CONV2D FLOATS,
            group_norm GROUP_NORM FLOATS,
        }
    };
}

const FLOATS: &[DType] = &[DType::F32, DType::F16, DType::BF16];
const F32: &[DType] = &[DType::F32];

macro_rules! list {
    ($($name:ident $kernel:ident $dtypes:ident,)*) => {
        $(mod $name;)*
        /// The cases of every op, in the order of [`ops::ALL`].
        pub static ALL: &[Op] = &[$(Op {
            kernel: &ops::$kernel,
            dtypes: $dtypes,
            cases: $name::cases,
            wrong: $name::wrong,
            sizes: $name::SIZES,
        }),*];
    };
}
for_each_op!(list);

/// What there is to know of one op.
pub struct Op {
    /// The op.
    pub kernel: &'static Kernel,
    /// The types that its matrix operands can have; f32 alone where the op knows no other.
    pub dtypes: &'static [DType],
    /// Its cases with matrix operands of a type.
    pub cases: fn(DType) -> Vec<Case>,
    /// Calls that it refuses.
    pub wrong: fn() -> Vec<Wrong>,
    /// Calls of any size.
    pub sizes: Sizes,
}

/// How a call of a chosen size is made, and how much arithmetic one has.
pub struct Sizes {
    /// What the numbers of a size are, such as `["rows", "d"]`.
    pub names: &'static [&'static str],
    /// The case; a number of at least 1 for each name.
    pub case: fn(DType, &[usize]) -> Case,
    /// Operations of the formula in a case: additions, multiplications, comparisons, and as one each a quotient, a root or
    /// an exponential. What a source does beyond that, such as working out an index, is not among them.
    pub operations: fn(&Case) -> usize,
}

/// What one element takes on the host while a case is checked: its value in f32 and in f64, what the naive loops make
/// of it, and what the device does.
const HOST_BYTES: u64 = 24;

/// The largest case that an emulated GPU is given; see [`Case::work`].
pub const LARGEST_EMULATED: usize = 2_500_000;

impl Op {
    /// The cases that are benchmarked, with matrix operands of this type if the op knows it, else of f32.
    pub fn benches(&self, dtype: DType) -> Vec<Case> {
        let dtype = if self.dtypes.contains(&dtype) { dtype } else { DType::F32 };
        (self.cases)(dtype).into_iter().filter(|case| case.purpose.is_timed()).collect()
    }

    /// A case of a size as text, `512x192` or `512×192`, to be timed.
    ///
    /// # Errors
    ///
    /// If it is no size of the op, or too large to be checked: more than 2^28 elements, or 2^24 where a `usize` has 32 bits.
    pub fn sized(&self, dtype: DType, size: &str) -> Result<Case> {
        /// Powers of two, of all tensors; of one number; of the numbers' product, so that no count of operations overflows.
        const MOST: [u32; 3] = if usize::BITS == 64 { [28, 22, 39] } else { [24, 9, 20] };
        let above = |n: usize, most: u32| n > 1 << most;
        let names = self.sizes.names;
        let refused = |wanted: String| {
            let what = format!("size {size} of {}", self.kernel.name);
            Err(Error::setting(what, format!("{}, {wanted}", names.join("×"))))
        };
        let numbers = size.split(['x', '×']).map(|n| n.trim().parse().ok().filter(|&n: &usize| n > 0));
        let Some(numbers) = numbers.collect::<Option<Vec<_>>>().filter(|all| all.len() == names.len()) else {
            return refused(format!("such as {}", vec!["64"; names.len()].join("x")));
        };
        let too_large =
            || refused(format!("at most 2^{} each and 2^{} elements in all tensors", MOST[1], MOST[0]));
        let product = numbers.iter().try_fold(1usize, |all, &n| all.checked_mul(n));
        if numbers.iter().any(|&n| above(n, MOST[1])) || product.is_none_or(|all| above(all, MOST[2])) {
            return too_large();
        }
        let dtype = if self.dtypes.contains(&dtype) { dtype } else { DType::F32 };
        let case = (self.sizes.case)(dtype, &numbers);
        if above(case.writes.iter().chain(&case.reads).map(Operand::elements).sum(), MOST[0]) {
            return too_large();
        }
        let name: Vec<String> = numbers.iter().map(usize::to_string).collect();
        Ok(case.named(name.join("×")).bench())
    }

    /// What a call is counted with, in this type: the cases that are there for it, then those of benches and of tests that an
    /// emulated GPU can run, the largest first. A source may take some of them only.
    pub fn counted(&self, dtype: DType) -> Vec<Case> {
        let small = |case: &Case| case.purpose == Purpose::Count || case.work() <= LARGEST_EMULATED;
        let emulated = |case: &Case| case.purpose != Purpose::Test || case.emulated;
        let mut all: Vec<Case> =
            (self.cases)(dtype).into_iter().filter(|c| small(c) && emulated(c)).collect();
        all.sort_by_key(|case| {
            let rank = [case.purpose == Purpose::Count, case.purpose.is_timed(), true];
            (rank.iter().position(|&is| is), std::cmp::Reverse(case.work()))
        });
        all
    }

    /// The cases that are tested, with each type in turn.
    pub fn tests(&self) -> impl Iterator<Item = Case> {
        let all = self.dtypes.iter().flat_map(|&dtype| (self.cases)(dtype));
        all.filter(|case| case.purpose.is_tested())
    }
}

/// A call of an op, through its public function, on written and read tensors.
pub type CallFn = Arc<dyn Fn(Gate<'_>, &mut [Tensor], &[Tensor]) -> Result<()> + Send + Sync>;
/// What a call should give, worked out from what its operands hold before.
pub type ExpectFn = Arc<dyn Fn(&Values) -> Vec<Check> + Send + Sync>;

/// One call of an op as data.
#[derive(Clone)]
pub struct Case {
    /// The op.
    pub kernel: &'static Kernel,
    /// The shape and what is special about it, for people: `4096×1152`.
    pub name: String,
    /// The type of the matrix operands.
    pub dtype: DType,
    /// The tensors that the op writes, in the order in which `call` takes them.
    pub writes: Vec<Operand>,
    /// The tensors that it reads.
    pub reads: Vec<Operand>,
    /// Calls the op.
    pub call: CallFn,
    /// Works out what the call should give.
    pub expect: ExpectFn,
    /// Bytes that must be moved: every operand once, those that are read and written twice.
    pub bytes: usize,
    /// Multiplications and additions of matrix products; 0 where memory is what limits the op.
    pub flops: usize,
    /// Who runs it.
    pub purpose: Purpose,
    /// Whether it is also run under every gate.
    pub gated: bool,
    /// Whether an emulated GPU runs it, if it is small enough. False where that would compile a kernel that covers
    /// nothing new.
    pub emulated: bool,
}

/// Who runs a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Tests alone.
    Test,
    /// Benches alone.
    Bench,
    /// Both.
    Both,
    /// The emulator counts what it does.
    Count,
}

impl Purpose {
    /// Whether tests run it.
    pub fn is_tested(self) -> bool {
        matches!(self, Purpose::Test | Purpose::Both)
    }

    /// Whether benches run it.
    pub fn is_timed(self) -> bool {
        matches!(self, Purpose::Bench | Purpose::Both)
    }
}

/// A tensor that a case takes.
#[derive(Clone)]
pub struct Operand {
    /// The name in the op's signature.
    pub name: &'static str,
    /// The type.
    pub dtype: DType,
    /// The dimensions.
    pub shape: Shape,
    /// What it holds before the call.
    pub fill: Fill,
    /// How many of its elements the op must touch.
    pub touched: usize,
    /// Whether it is [arranged](Tensor::for_products) as weights of a model are.
    pub arranged: bool,
}

/// What a tensor holds before the call.
#[derive(Clone)]
pub enum Fill {
    /// NaN everywhere: the op writes every element and reads none.
    Poison,
    /// Normal numbers, which repeat after 2^20.
    Normal {
        /// Of the random numbers.
        seed: u64,
        /// Their mean. With a large one, an algorithm that subtracts large numbers loses its digits.
        mean: f32,
        /// Their standard deviation.
        std: f32,
    },
    /// These numbers, rounded to the tensor's type.
    Numbers(Arc<dyn Fn() -> Vec<f32> + Send + Sync>),
    /// These whole numbers, for `u32`.
    Labels(Vec<u32>),
}

/// What a case's operands hold before the call, as f32: every type's numbers are numbers of f32.
pub struct Values {
    /// The written tensors.
    pub before: Vec<Vec<f32>>,
    /// The read ones.
    pub reads: Vec<Vec<f32>>,
}

impl Values {
    /// What written tensor `i` holds before the call, for naive loops.
    pub fn before(&self, i: usize) -> Vec<f64> {
        wide(&self.before[i])
    }

    /// What read tensor `i` holds, for naive loops.
    pub fn read(&self, i: usize) -> Vec<f64> {
        wide(&self.reads[i])
    }
}

/// A call that the op must refuse, in these words and without a trace.
pub struct Wrong {
    /// The call.
    pub case: Case,
    /// The whole message.
    pub message: String,
}

/// An operand that the op only writes.
fn output(name: &'static str, dtype: DType, shape: impl Into<Shape>) -> Operand {
    let shape = shape.into();
    Operand {
        name,
        dtype,
        shape,
        fill: Fill::Poison,
        touched: shape.dims().iter().product(),
        arranged: false,
    }
}

/// An operand of normal numbers around 0.
fn normal(name: &'static str, dtype: DType, shape: impl Into<Shape>, seed: u64) -> Operand {
    Operand { fill: Fill::Normal { seed, mean: 0.0, std: 1.0 }, ..output(name, dtype, shape) }
}

/// An operand of numbers that are made when they are wanted.
fn numbers(
    name: &'static str,
    dtype: DType,
    shape: impl Into<Shape>,
    make: impl Fn() -> Vec<f32> + Send + Sync + 'static,
) -> Operand {
    Operand { fill: Fill::Numbers(Arc::new(make)), ..output(name, dtype, shape) }
}

/// An f32 operand that holds a few given numbers.
fn given<const N: usize>(name: &'static str, shape: impl Into<Shape>, x: [f32; N]) -> Operand {
    numbers(name, DType::F32, shape, move || x.to_vec())
}

/// An operand of labels or flags.
fn labels(name: &'static str, labels: Vec<u32>) -> Operand {
    Operand { fill: Fill::Labels(labels.clone()), ..output(name, DType::U32, [labels.len()]) }
}

impl Operand {
    /// The same normal numbers around another mean.
    fn around(mut self, around: f32) -> Operand {
        if let Fill::Normal { mean, .. } = &mut self.fill {
            *mean = around;
        }
        self
    }

    /// The same normal numbers with another standard deviation.
    fn spread(mut self, spread: f32) -> Operand {
        if let Fill::Normal { std, .. } = &mut self.fill {
            *std = spread;
        }
        self
    }

    /// The same, of which the op must touch `touched` elements only.
    fn touching(self, touched: usize) -> Operand {
        Operand { touched, ..self }
    }

    /// Bytes that must be moved: those that are touched, twice if they are read and written.
    fn moved(&self, written: bool) -> usize {
        let passes = if written && !matches!(self.fill, Fill::Poison) { 2 } else { 1 };
        passes * self.touched * self.dtype.size()
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.dims().iter().product()
    }

    /// What it holds before the call, as f32.
    pub fn values(&self) -> Vec<f32> {
        match &self.fill {
            Fill::Poison => vec![f32::NAN; self.elements()],
            Fill::Normal { seed, mean, std } => {
                round(self.dtype, &normal_numbers(*seed, self.elements(), *mean, *std))
            }
            Fill::Numbers(make) => round(self.dtype, &make()),
            Fill::Labels(labels) => labels.iter().map(|&label| label as f32).collect(),
        }
    }
}

/// Means of the data: with the second, an algorithm that subtracts large numbers loses its digits.
const MEANS: [f32; 2] = [0.0, 100.0];

impl Case {
    fn new(
        kernel: &'static Kernel,
        dtype: DType,
        name: impl ToString,
        (writes, reads): (impl Into<Vec<Operand>>, impl Into<Vec<Operand>>),
        call: impl Fn(Gate<'_>, &mut [Tensor], &[Tensor]) -> Result<()> + Send + Sync + 'static,
        expect: impl Fn(&Values) -> Vec<Check> + Send + Sync + 'static,
    ) -> Case {
        let (writes, reads) = (writes.into(), reads.into());
        let written: usize = writes.iter().map(|t| t.moved(true)).sum();
        Case {
            kernel,
            name: name.to_string(),
            dtype,
            bytes: written + reads.iter().map(|t| t.moved(false)).sum::<usize>(),
            flops: 0,
            writes,
            reads,
            call: Arc::new(call),
            expect: Arc::new(expect),
            purpose: Purpose::Test,
            gated: false,
            emulated: true,
        }
    }

    /// The same, with `flops` operations of matrix products.
    fn flops(self, flops: usize) -> Case {
        Case { flops, ..self }
    }

    /// The same, for benches alone.
    fn bench(self) -> Case {
        Case { purpose: Purpose::Bench, ..self }
    }

    /// The same, for the emulator to count what it does.
    fn count(self) -> Case {
        Case { purpose: Purpose::Count, ..self }
    }

    /// The same, for benches too.
    fn bench_too(self) -> Case {
        Case { purpose: Purpose::Both, ..self }
    }

    /// The same, also run under every gate.
    fn gated(self) -> Case {
        Case { gated: true, ..self }
    }

    /// The same, with its weights, which are read second, as a model has them.
    fn arranged(mut self) -> Case {
        self.reads[1].arranged = true;
        self
    }

    /// The same, with another name.
    fn named(self, name: impl ToString) -> Case {
        Case { name: name.to_string(), ..self }
    }

    /// The same, with another tensor for one operand.
    fn with(&self, name: &'static str, dtype: DType, shape: &[usize]) -> Case {
        let mut case = self.clone();
        let mut all = case.writes.iter_mut().chain(&mut case.reads);
        let operand = all.find(|operand| operand.name == name).expect("an operand of the case");
        operand.dtype = dtype;
        operand.shape = Shape::try_from(shape).expect("a shape");
        operand.touched = operand.elements();
        if !matches!(operand.fill, Fill::Poison) {
            let n = operand.elements();
            operand.fill = match dtype {
                DType::U32 => Fill::Labels(vec![0; n]),
                _ => Fill::Numbers(Arc::new(move || vec![0.0; n])),
            };
        }
        drop(all);
        case
    }

    /// The same, with another call on the operands.
    fn calling(
        &self,
        call: impl Fn(Gate<'_>, &mut [Tensor], &[Tensor]) -> Result<()> + Send + Sync + 'static,
    ) -> Case {
        Case { call: Arc::new(call), ..self.clone() }
    }

    /// A call that is refused with this message, which begins with the op's name.
    fn refused(self, message: &str) -> Wrong {
        Wrong { message: format!("{}: {message}", self.kernel.name), case: self }
    }

    /// The work of running it naively: elements that are touched, or operations of matrix products.
    pub fn work(&self) -> usize {
        let elements: usize = self.writes.iter().chain(&self.reads).map(Operand::elements).sum();
        elements.max(self.flops)
    }

    /// Operations of the formula: additions, multiplications, and the like; see [`Sizes::operations`].
    pub fn operations(&self) -> usize {
        let op = ALL.iter().find(|op| std::ptr::eq(op.kernel, self.kernel));
        op.map_or(self.flops, |op| (op.sizes.operations)(self))
    }

    /// The elements of its largest operand that the op touches.
    fn longest(&self) -> usize {
        self.writes.iter().chain(&self.reads).map(|operand| operand.touched).max().unwrap_or_default()
    }

    /// The memory that checking and timing it takes, but for copies of small operands that caches are kept from.
    pub fn footprint(&self) -> Footprint {
        let all = || self.writes.iter().chain(&self.reads);
        let tensors = all().map(|operand| (operand.elements() * operand.dtype.size()) as u64).sum();
        let numbers = all().map(|operand| operand.elements() as u64 * HOST_BYTES).sum();
        Footprint { device: vec![("tensors", tensors)], host: vec![("checking", numbers)] }
    }

    /// What the operands hold before the call.
    pub fn values(&self) -> Values {
        let all = |operands: &[Operand]| operands.iter().map(Operand::values).collect();
        Values { before: all(&self.writes), reads: all(&self.reads) }
    }
}

/// `4×3×2`, for names.
fn times<const N: usize>(dims: [usize; N]) -> String {
    dims.map(|n| n.to_string()).join("×")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_op_is_listed_in_order() {
        let ours: Vec<&str> = ALL.iter().map(|op| op.kernel.name).collect();
        let theirs: Vec<&str> = ops::ALL.iter().map(|kernel| kernel.name).collect();
        assert_eq!(ours, theirs);
    }

    /// Each op has something for everybody, in each of its types.
    #[test]
    fn every_op_has_cases_of_each_kind() {
        for op in ALL {
            assert!(!(op.wrong)().is_empty(), "{} refuses nothing", op.kernel.name);
            for &dtype in op.dtypes {
                let cases = (op.cases)(dtype);
                let some = |kind: &str, has: &dyn Fn(&Case) -> bool| {
                    assert!(cases.iter().any(has), "{} {dtype} has no case {kind}", op.kernel.name);
                };
                some("for tests", &|case| case.purpose.is_tested() && case.emulated);
                some("for benches", &|case| case.purpose.is_timed());
                some("under gates", &|case| case.gated);
                assert!(cases.iter().all(|case| case.kernel.name == op.kernel.name && case.dtype == dtype));
            }
        }
    }
}
