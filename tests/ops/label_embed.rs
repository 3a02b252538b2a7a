use steep::device::Gate;
use steep::ops::{LABEL_EMBED, label_embed};
use steep::{DType::*, oracle};

use crate::*;

/// SiLU's exponential is good to two units in the last place, its quotient to a half: 3·2^-24 of the value, squared.
const SILU: f64 = 1e-13;

#[test]
fn agrees_with_the_oracle() {
    for (b, d, rows) in [(1, 1, 1), (1, 3, 2), (2, 16, 11), (16, 17, 5), (17, 72, 11), (33, 193, 3)] {
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let time = normal(1, F32, b * d, offset, 3.0);
            let table = normal(2, F32, rows * d, -offset, 3.0);
            // Some of them past the table.
            let labels: Vec<u32> = (0..b as u32).map(|i| i * 7 % (rows as u32 + 2)).collect();
            let (want_c, want_act) = oracle::label_embed(&time.wide, &table.wide, &labels, d);
            for on in sources(&LABEL_EMBED) {
                let (mut c, mut act) = (on.out(F32, [b, d]), on.out(dtype, [b, d]));
                let (time, table) = (on.f32([b, d], &time.x), on.f32([rows, d], &table.x));
                label_embed(Gate::Open, &mut c, &mut act, &time, &table, &on.u32([b], &labels)).unwrap();
                let case = on.case(dtype, (b, d, rows), offset);
                exact(&case, "c", &c, &want_c);
                close(&case, "act", &act, &want_act, bound(dtype, SILU));
            }
        }
    }
}

#[test]
fn labels_past_the_table_mean_its_last_row() {
    for on in sources(&LABEL_EMBED) {
        let (mut c, mut act) = (on.out(F32, [3, 1]), on.out(F32, [3, 1]));
        let (time, table) = (on.f32([3, 1], &[0.0; 3]), on.f32([2, 1], &[5.0, 7.0]));
        label_embed(Gate::Open, &mut c, &mut act, &time, &table, &on.u32([3], &[0, 2, u32::MAX])).unwrap();
        assert_eq!(values(&on.case(F32, 3, 0.0), &c), [5.0, 7.0, 7.0]);
    }
}

#[test]
fn silu_of_large_numbers_is_finite() {
    let x = [-1e4, -100.0, -88.0, -87.0, 0.0, 88.0, 1e4];
    let want = x.map(|x| oracle::silu(f64::from(x)));
    for on in sources(&LABEL_EMBED) {
        let (mut c, mut act) = (on.out(F32, [1, 7]), on.out(F32, [1, 7]));
        let (time, table) = (on.f32([1, 7], &x), on.f32([1, 7], &[0.0; 7]));
        label_embed(Gate::Open, &mut c, &mut act, &time, &table, &on.u32([1], &[0])).unwrap();
        let case = on.case(F32, "large", 0.0);
        for (got, want) in values(&case, &act).iter().zip(want) {
            let error = (f64::from(*got) - want).abs();
            // e^-87 is where f32 runs out of normal numbers.
            assert!(error <= 1e-6 * want.abs() + 2e-36, "{case}: {got}, wanted {want}");
        }
    }
}

#[test]
fn gated() {
    let (time, table) = (oracle::data(1, 6, 0.0, 1.0), oracle::data(2, 9, 0.0, 1.0));
    let outputs = |on: &On| [on.out(F32, [2, 3]), on.out(F16, [2, 3])];
    gates(&LABEL_EMBED, outputs, |on, gate, [c, act]| {
        label_embed(gate, c, act, &on.f32([2, 3], &time), &on.f32([3, 3], &table), &on.u32([2], &[2, 0]))
    });
}

#[test]
fn refused() {
    for on in sources(&LABEL_EMBED) {
        let z = |dtype, a, b| on.zeros(dtype, [a, b]);
        let check = |message: &str, outs: [Tensor; 2], time: Tensor, table: Tensor, labels: Tensor| {
            let mut outs = outs;
            refuses(&on, message, &mut outs, |[c, act]| {
                label_embed(Gate::Open, c, act, &time, &table, &labels)
            });
        };
        let outs = |c, act| [on.out(c, [2, 3]), on.out(act, [2, 3])];
        let labels = |n: usize| on.u32([n], &vec![0; n]);
        let good = || outs(F32, BF16);
        let message = "label_embed: c: wanted f32 [2, 3], got f16 [2, 3]";
        check(message, outs(F16, F16), z(F32, 2, 3), z(F32, 4, 3), labels(2));
        let message = "label_embed: act: wanted f32, f16 or bf16, got u32";
        check(message, outs(F32, U32), z(F32, 2, 3), z(F32, 4, 3), labels(2));
        let message = "label_embed: act: wanted f32 [2, 3], got f32 [3, 2]";
        check(message, [on.out(F32, [2, 3]), on.out(F32, [3, 2])], z(F32, 2, 3), z(F32, 4, 3), labels(2));
        let message = "label_embed: time: wanted f32 [2, 3], got f32 [1, 3]";
        check(message, good(), z(F32, 1, 3), z(F32, 4, 3), labels(2));
        let message = "label_embed: table: wanted f32 [4, 3], got f32 [4, 2]";
        check(message, good(), z(F32, 2, 3), z(F32, 4, 2), labels(2));
        let message = "label_embed: table: wanted at least one row, got f32 [0, 3]";
        check(message, good(), z(F32, 2, 3), z(F32, 0, 3), labels(2));
        let message = "label_embed: labels: wanted u32 [2], got u32 [3]";
        check(message, good(), z(F32, 2, 3), z(F32, 4, 3), labels(3));
        let message = "label_embed: labels: wanted u32 [2], got f32 [2]";
        check(message, good(), z(F32, 2, 3), z(F32, 4, 3), on.zeros(F32, [2]));
    }
}
