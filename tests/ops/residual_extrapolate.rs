use steep::device::Gate;
use steep::ops::{DECISION, RESIDUAL_EXTRAPOLATE, TRACE_COLUMNS, residual_extrapolate};
use steep::{DType::*, oracle};

use crate::*;

/// Rows of decisions, and numbers in the other columns that nobody should look at.
fn trace(on: &On, computed: &[bool]) -> Tensor {
    let mut rows = vec![f32::NAN; computed.len() * TRACE_COLUMNS];
    for (i, computed) in computed.iter().enumerate() {
        // Forced counts as computed.
        rows[i * TRACE_COLUMNS + DECISION] = if *computed { 1.0 + (i % 2) as f32 } else { 0.0 };
    }
    on.f32([computed.len(), TRACE_COLUMNS], &rows)
}

fn steps(letters: &str) -> Vec<bool> {
    letters.chars().map(|c| c == 'C').collect()
}

#[test]
fn agrees_with_the_oracle() {
    for n in [1, 3, 16, 4097, 33000] {
        let [x, r, b] = [1, 2, 3].map(|seed| normal(seed, F32, n, 0.0, 1.0));
        for past in
            ["C", "CS", "CC", "CSC", "CSSC", "CSSCS", "CCSSS", "CSCSSSCSS", "SS", "SC", "CSSSSSSSSSSSC"]
        {
            let past = steps(past);
            let want = oracle::residual_extrapolate(&x.wide, &r.wide, &b.wide, &past);
            // What the device does not know yet stands behind: a step that computes must not count.
            let all: Vec<bool> = past.iter().copied().chain([true, false, true]).collect();
            for on in sources(&RESIDUAL_EXTRAPOLATE) {
                let mut out = on.out(F32, [n]);
                let [x, r, b] = [&x, &r, &b].map(|t| on.f32([n], &t.x));
                let at = (&trace(&on, &all), past.len());
                residual_extrapolate(Gate::Open, &mut out, &x, &r, &b, at).unwrap();
                close(&format!("{}, {past:?}", on.case(F32, n, 0.0)), "out", &out, &want, 1e-12);
            }
        }
    }
}

/// Computed at 1 and 3, now 4 and then 5: half and whole intervals on. R = 10, R' = 6.
#[test]
fn a_case_by_hand() {
    for on in sources(&RESIDUAL_EXTRAPOLATE) {
        let trace = trace(&on, &steps("CCSCSS"));
        for (step, want) in [(4, 100.0 + 10.0 + 2.0), (5, 100.0 + 10.0 + 4.0)] {
            let mut out = on.out(F32, [1]);
            let [x, r, b] = [100.0, 10.0, 6.0].map(|x| on.f32([1], &[x]));
            residual_extrapolate(Gate::Open, &mut out, &x, &r, &b, (&trace, step)).unwrap();
            assert_eq!(values("by hand", &out), [want]);
        }
    }
}

#[test]
fn gated() {
    let x = [1, 2, 3].map(|seed| oracle::data(seed, 40, 0.0, 1.0));
    gates(
        &RESIDUAL_EXTRAPOLATE,
        |on| [on.out(F32, [40])],
        |on, gate, [out]| {
            let [x, r, b] = x.each_ref().map(|x| on.f32([40], x));
            residual_extrapolate(gate, out, &x, &r, &b, (&trace(on, &steps("CSCS")), 3))
        },
    );
}

#[test]
fn refused() {
    for on in sources(&RESIDUAL_EXTRAPOLATE) {
        let t = |dtype, n: usize| on.zeros(dtype, [n]);
        let check = |message: &str, x: Tensor, r: Tensor, b: Tensor, trace: Tensor, step| {
            refuses(&on, message, &mut [on.out(F32, [4])], |[out]| {
                residual_extrapolate(Gate::Open, out, &x, &r, &b, (&trace, step))
            });
        };
        let (name, four, trace) = ("residual_extrapolate", || t(F32, 4), || on.zeros(F32, [3, 4]));
        check(&format!("{name}: input: wanted f32 [4], got f32 [3]"), t(F32, 3), four(), four(), trace(), 1);
        check(
            &format!("{name}: residual: wanted f32 [4], got f16 [4]"),
            four(),
            t(F16, 4),
            four(),
            trace(),
            1,
        );
        check(&format!("{name}: before: wanted f32 [4], got f32 [5]"), four(), four(), t(F32, 5), trace(), 1);
        let narrow = on.zeros(F32, [3, 2]);
        check(
            &format!("{name}: trace: wanted f32 [3, 4], got f32 [3, 2]"),
            four(),
            four(),
            four(),
            narrow,
            1,
        );
        check(&format!("{name}: step: wanted less than 3, got 3"), four(), four(), four(), trace(), 3);
    }
}
