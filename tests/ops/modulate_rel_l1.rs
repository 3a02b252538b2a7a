use steep::device::Gate;
use steep::ops::{MODULATE_REL_L1, modulate, modulate_rel_l1, rel_l1};
use steep::{DType::*, oracle};

use crate::modulate::{CHUNKS, SHAPES, TWO_PASSES};
use crate::*;

#[test]
fn agrees_with_the_oracle_and_with_its_two_halves() {
    for dims in SHAPES {
        let [samples, rows, d] = dims;
        for (dtype, i) in FLOATS.into_iter().flat_map(|t| [(t, 0), (t, 1)]) {
            let x = normal(1, F32, rows * d, OFFSETS[i], 1.0);
            let mods = normal(2, F32, samples * 6 * d, 0.0, 1.0);
            let old = normal(3, dtype, rows * d, 0.0, 1.0);
            let (shift, scale) = (CHUNKS.shift, CHUNKS.scale);
            let (want, [change, size]) =
                oracle::modulate_rel_l1(&old.wide, &x.wide, &mods.wide, dims, shift, scale);
            for on in sources(&MODULATE_REL_L1) {
                let shape = [samples, rows / samples, d];
                let (x, mods) = (on.f32(shape, &x.x), on.f32([samples, 6 * d], &mods.x));
                let mut whole = on.out(dtype, shape);
                modulate(Gate::Open, &mut whole, &x, &mods, CHUNKS).unwrap();
                let (mut prev, mut other) = (on.inout(dtype, shape, &old.x), on.out(F32, [256, 2]));
                rel_l1(Gate::Open, &mut prev, &mut other, &whole).unwrap();
                // More pairs than rows: the rest must say 0.
                for pairs in [1, 7, 256] {
                    let case = format!("{}, {pairs} pairs", on.case(dtype, dims, OFFSETS[i]));
                    let (mut signal, mut partials) =
                        (on.inout(dtype, shape, &old.x), on.out(F32, [pairs, 2]));
                    modulate_rel_l1(Gate::Open, &mut signal, &mut partials, &x, &mods, CHUNKS).unwrap();
                    close(&case, "signal", &signal, &want, bound(dtype, TWO_PASSES[i]));
                    assert!(bits(&signal) == bits(&whole), "{case}: signal is not what modulate makes");
                    let sums = totals(&case, &partials);
                    // Sums of the values as stored. What is not stored exactly moves a term by its rounding.
                    let stored = oracle::rel_l1(&wide(&values(&case, &signal)), &old.wide);
                    relative(&case, "change", sums[0], stored[0], 1e-6);
                    relative(&case, "size", sums[1], stored[1], 1e-6);
                    relative(&case, "size", sums[1], size, 1e-6);
                    let slack = 2.0 * bound(dtype, TWO_PASSES[i]).sqrt() * (change + size);
                    assert!((sums[0] - change).abs() <= slack, "{case}: change {}, wanted {change}", sums[0]);
                    let [other_change, other_size] = totals(&case, &other);
                    relative(&case, "distance", sums[0] / sums[1], other_change / other_size, 1e-6);
                }
            }
        }
    }
}

/// A second step with the same input has distance 0, a third with another one does not.
#[test]
fn the_signal_is_the_anchor_of_the_next_step() {
    let shape = [2, 5, 17];
    let [x, y] = [1, 2].map(|seed| oracle::data(seed, 170, 0.0, 1.0));
    let mods = oracle::data(3, 2 * 6 * 17, 0.0, 1.0);
    for (on, dtype) in FLOATS.into_iter().flat_map(|t| sources(&MODULATE_REL_L1).map(move |on| (on, t))) {
        let (mut signal, mods) = (on.inout(dtype, shape, &[0.0; 170]), on.f32([2, 6 * 17], &mods));
        let case = on.case(dtype, shape, 0.0);
        let mut step = |x: &[f32]| {
            let mut partials = on.out(F32, [3, 2]);
            let x = on.f32(shape, x);
            modulate_rel_l1(Gate::Open, &mut signal, &mut partials, &x, &mods, CHUNKS).unwrap();
            totals(&case, &partials)
        };
        let [first, second, third] = [step(&x), step(&x), step(&y)];
        assert!(first[0] > 0.0 && first[1] == 0.0, "{case}: {first:?}");
        assert!(second[0] == 0.0, "{case}: {second:?}");
        relative(&case, "size", second[1], first[0], 1e-6);
        assert!(third[0] > 0.0 && third[1] == second[1], "{case}: {third:?}");
    }
}

#[test]
fn gated() {
    let x = oracle::data(1, 72, 0.0, 1.0);
    let outputs = |on: &On| [on.inout(F16, [2, 2, 3], &x[..12]), on.out(F32, [2, 2])];
    gates(&MODULATE_REL_L1, outputs, |on, gate, [signal, partials]| {
        let (x, mods) = (on.f32([2, 2, 3], &x[12..24]), on.f32([2, 18], &x[24..60]));
        modulate_rel_l1(gate, signal, partials, &x, &mods, CHUNKS)
    });
}

#[test]
fn refused() {
    for on in sources(&MODULATE_REL_L1) {
        let check = |message: &str, outs: [Tensor; 2], x: Tensor, mods: Tensor| {
            let mut outs = outs;
            refuses(&on, message, &mut outs, |[signal, partials]| {
                modulate_rel_l1(Gate::Open, signal, partials, &x, &mods, CHUNKS)
            });
        };
        let (x, mods) = (|| on.zeros(F32, [2, 4]), || on.zeros(F32, [2, 24]));
        let outs = || [on.out(F16, [2, 4]), on.out(F32, [8, 2])];
        let message = "modulate_rel_l1: signal: wanted f32 [2, 4], got f32 [2, 3]";
        check(message, [on.out(F32, [2, 3]), on.out(F32, [8, 2])], x(), mods());
        let message = "modulate_rel_l1: signal: wanted f32, f16 or bf16, got u32";
        check(message, [on.out(U32, [2, 4]), on.out(F32, [8, 2])], x(), mods());
        let message = "modulate_rel_l1: partials: wanted f32 [8, 2], got f32 [8, 3]";
        check(message, [on.out(F16, [2, 4]), on.out(F32, [8, 3])], x(), mods());
        let message = "modulate_rel_l1: partials: wanted f32 [P, 2], P > 0, got f32 [0, 2]";
        check(message, [on.out(F16, [2, 4]), on.out(F32, [0, 2])], x(), mods());
        let message = "modulate_rel_l1: x: wanted f32 [2, 4], got bf16 [2, 4]";
        check(message, outs(), on.zeros(BF16, [2, 4]), mods());
        let wanted = "modulate_rel_l1: mods: wanted f32 [2, c·4] with Chunks { shift: 4, scale: 1 }";
        check(&format!("{wanted}, got f32 [2, 19]"), outs(), x(), on.zeros(F32, [2, 19]));
        check(&format!("{wanted}, got f16 [2, 24]"), outs(), x(), on.zeros(F16, [2, 24]));
    }
}
