use steep::device::Gate;
use steep::ops::{ATTENTION, Over, attention};
use steep::{DType::*, oracle};

use crate::*;

/// B, F, N, heads, h.
const SHAPES: [[usize; 5]; 16] = [
    [1, 1, 1, 1, 1],
    [1, 3, 1, 2, 3],
    [2, 1, 15, 1, 8],
    [2, 5, 16, 3, 40],
    [1, 16, 17, 2, 8],
    [2, 33, 3, 3, 48],
    [1, 2, 31, 1, 72],
    [1, 2, 20, 1, 64],
    [1, 1, 32, 2, 128],
    [1, 2, 33, 5, 40],
    [1, 50, 1, 1, 128],
    [3, 2, 64, 1, 17],
    [1, 2, 65, 2, 64],
    [1, 100, 2, 1, 72],
    [1, 1, 257, 3, 8],
    [1, 1, 1000, 1, 64],
];

/// The exponential is good to two units in the last place; a score is to its rounding, which moves the weights by as
/// much: 1e-7 where scores are about 1. Keys with a mean of 100 add the same hundreds to all scores of a query: that
/// must cancel, but leaves an error of 1e-5.
const SOFTMAX: [f64; 2] = [3e-12, 1e-9];

struct Case {
    dims: [usize; 5],
    over: Over,
    dtype: DType,
    qkv: [Data; 3],
}

impl Case {
    fn new(dims: [usize; 5], over: Over, dtype: DType, q_scale: f32, k_offset: f32) -> Case {
        let n = dims.iter().product();
        let q = normal(1, dtype, n, 0.0, q_scale);
        let (k, v) = (normal(2, dtype, n, k_offset, 1.0), normal(3, dtype, n, 0.0, 1.0));
        Case { dims, over, dtype, qkv: [q, k, v] }
    }

    /// Rows of queries, keys and values next to each other.
    fn packed(&self) -> Vec<f32> {
        let dim = self.dims[3] * self.dims[4];
        let rows = self.qkv[0].x.len() / dim;
        let parts = (0..rows).flat_map(|i| self.qkv.iter().map(move |part| &part.x[i * dim..(i + 1) * dim]));
        parts.flatten().copied().collect()
    }

    fn run(&self, on: &On) -> Tensor {
        let [b, f, n, heads, h] = self.dims;
        let qkv = on.tensor(self.dtype, [b, f, n, 3 * heads * h], &self.packed());
        let mut out = on.out(self.dtype, [b, f, n, heads * h]);
        attention(Gate::Open, &mut out, &qkv, heads, self.over).unwrap();
        out
    }

    fn check(&self, offset: f32, f32: f64) {
        let want = oracle::attention(&wide(&self.packed()), self.dims, self.over);
        for on in sources(&ATTENTION) {
            let case = format!("{}, over {:?}", on.case(self.dtype, self.dims, offset), self.over);
            close(&case, "out", &self.run(&on), &want, bound(self.dtype, f32));
        }
    }
}

fn check_all(over: Over) {
    for dims in SHAPES {
        for (dtype, i) in FLOATS.into_iter().flat_map(|t| [(t, 0), (t, 1)]) {
            Case::new(dims, over, dtype, 1.0, OFFSETS[i]).check(OFFSETS[i], SOFTMAX[i]);
        }
    }
}

#[test]
fn over_tokens_agrees_with_the_oracle() {
    check_all(Over::Tokens);
}

#[test]
fn over_frames_agrees_with_the_oracle() {
    check_all(Over::Frames);
}

/// Sources deal the channels of a head out in vectors, rows and columns.
#[test]
fn every_head_size() {
    for h in (8..=128).step_by(8).chain([4, 12, 20, 100, 136]) {
        Case::new([1, 1, 13, 2, h], Over::Tokens, F32, 1.0, 0.0).check(0.0, SOFTMAX[0]);
    }
}

/// Scores of a hundred: without the maximum taken off, e^score is infinite. Then scores of a few thousands below
/// zero, whose rounding is 1e-4 and moves the weights by as much: without the maximum, all e^score are 0.
#[test]
fn large_scores() {
    for (dims, over) in [([1, 1, 65, 2, 40], Over::Tokens), ([1, 33, 5, 2, 72], Over::Frames)] {
        for dtype in FLOATS {
            Case::new(dims, over, dtype, 30.0, 0.0).check(0.0, 1e-11);
            let mut low = Case::new(dims, over, dtype, 0.0, 0.0);
            for x in &mut low.qkv[0].x {
                *x = 60.0;
            }
            for x in &mut low.qkv[1].x {
                *x = round(dtype, &[x.abs() - 30.0])[0];
            }
            low.check(-30.0, 1e-6);
        }
    }
}

/// Values of 1 come out as 1: the weights of a row add up to 1.
#[test]
fn rows_sum_to_one() {
    for (dims, over) in [
        ([1, 2, 33, 2, 8], Over::Tokens),
        ([1, 1, 1000, 1, 8], Over::Tokens),
        ([2, 17, 3, 1, 40], Over::Frames),
    ] {
        for (dtype, q_scale) in FLOATS.into_iter().flat_map(|t| [(t, 1.0), (t, 30.0)]) {
            let mut case = Case::new(dims, over, dtype, q_scale, 0.0);
            case.qkv[2].x.fill(1.0);
            for on in sources(&ATTENTION) {
                let name = on.case(dtype, dims, 0.0);
                for x in values(&name, &case.run(&on)) {
                    assert!((x - 1.0).abs() <= 1e-6, "{name}: {x}");
                }
            }
        }
    }
}

/// One key: softmax is 1 and the value comes out to the bit.
#[test]
fn a_sequence_of_one_is_its_value() {
    for dtype in FLOATS {
        let case = Case::new([2, 1, 5, 2, 40], Over::Frames, dtype, 1.0, 0.0);
        for on in sources(&ATTENTION) {
            let name = on.case(dtype, case.dims, 0.0);
            assert!(values(&name, &case.run(&on)) == case.qkv[2].x, "{name}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads() {
    let case = Case::new([1, 2, 200, 3, 40], Over::Tokens, F16, 1.0, 0.0);
    threads(&ATTENTION, |on| bits(&case.run(on)));
}

#[test]
fn gated() {
    let x = oracle::data(1, 90, 0.0, 1.0);
    let outputs = |on: &On| [on.out(F32, [1, 3, 5, 2])];
    gates(&ATTENTION, outputs, |on, gate, [out]| {
        attention(gate, out, &on.f32([1, 3, 5, 6], &x), 1, Over::Frames)
    });
}

#[test]
fn refused() {
    for on in sources(&ATTENTION) {
        let check = |message: &str, out: Tensor, qkv: Tensor, heads: usize| {
            refuses(&on, message, &mut [out], |[out]| attention(Gate::Open, out, &qkv, heads, Over::Tokens));
        };
        let out = || on.out(F16, [2, 3, 4, 6]);
        let qkv = |dtype, dim: usize| on.zeros(dtype, [2, 3, 4, dim]);
        let wanted = "attention: qkv: wanted f16 [2, 3, 4, 18]";
        check(&format!("{wanted}, got f16 [2, 3, 4, 12]"), out(), qkv(F16, 12), 2);
        check(&format!("{wanted}, got bf16 [2, 3, 4, 18]"), out(), qkv(BF16, 18), 2);
        check(&format!("{wanted}, got f16 [2, 4, 3, 18]"), out(), on.zeros(F16, [2, 4, 3, 18]), 2);
        let message = "attention: out: wanted 4 dimensions, got f16 [24, 6]";
        check(message, on.out(F16, [24, 6]), qkv(F16, 18), 2);
        let message = "attention: out: wanted f32, f16 or bf16, got u32";
        check(message, on.out(U32, [2, 3, 4, 6]), qkv(F16, 18), 2);
        check("attention: heads: wanted a divisor of 6, got 0", out(), qkv(F16, 18), 0);
        check("attention: heads: wanted a divisor of 6, got 4", out(), qkv(F16, 18), 4);
    }
}
