//! Ops that go over their tensors once.

use steep::cache::{Decision, IDENTITY, Negative, TeaCache};
use steep::ops::Update;
use steep::oracle;

use crate::source::{Call, each};
use crate::*;

/// The angle t·f is f32: f and the product are each rounded, and f's exponent before, which moves t·f by up
/// to (3/2 + ln 10000 / 2)·2^-24·t·f, say 2^-21·t. Then come the roundings of the cosine.
#[test]
fn time_embed() {
    let times = [0.0, 1000.0, 999.0, 1e-3, 33.333, 500.0, 721.9];
    for (batch, dtype) in [1, 2, 7].into_iter().flat_map(|b| FLOATS.map(|t| (b, t))) {
        let all = Data::new(F32, &[&vec![1.0; batch], &times[7 - batch..]].concat());
        let want = oracle::time_embed(&all.wide[batch..]);
        let call = Call {
            work: [1, 1, batch],
            writes: vec![unwritten(dtype, batch * 256)],
            reads: vec![all.bytes()],
            params: params![batch as u32, 1u32],
            ..Call::default()
        };
        each("time_embed", (dtype, dtype), &call, &[1, 2], |case, out| {
            close(case, dtype, &out[0], &want, bound(dtype, 1e-9));
            let unit = bound(dtype, 0.0).sqrt().max(0.5f64.powi(24));
            for (i, (got, want)) in from_bytes(dtype, &out[0]).iter().zip(&want).enumerate() {
                let most = unit + all.wide[batch + i / 256] * 0.5f64.powi(21);
                assert!((f64::from(*got) - want).abs() <= most, "{case}: {i}: {got}, wanted {want}");
            }
        });
    }
}

/// SiLU's exponential is good to two units in the last place, its quotient to a half: 3·2^-24 of the value,
/// squared.
#[test]
fn label_embed() {
    for (b, d, rows) in [(1usize, 1, 1), (1, 3, 2), (2, 16, 11), (5, 72, 11), (3, 1100, 3)] {
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let (time, table) = (normal(1, F32, b * d, offset, 3.0), normal(2, F32, rows * d, -offset, 3.0));
            // Some of them past the table.
            let labels: Vec<u32> = (0..b as u32).map(|i| i * 7 % (rows as u32 + 2)).collect();
            let (want_c, want_act) = oracle::label_embed(&time.wide, &table.wide, &labels, d);
            let labels = labels.iter().flat_map(|l| l.to_le_bytes()).collect();
            let call = Call {
                work: [1, 1, b],
                writes: vec![unwritten(F32, b * d), unwritten(dtype, b * d)],
                reads: vec![time.bytes(), table.bytes(), labels],
                params: params![d as u32, rows as u32, b as u32],
                ..Call::default()
            };
            each("label_embed", (dtype, F32), &call, &[1, 2], |case, out| {
                close(case, F32, &out[0], &want_c, 1e-14);
                close(case, dtype, &out[1], &want_act, bound(dtype, 1e-13));
            });
        }
    }
}

#[test]
fn temporal_embed() {
    for dims in [[1, 1, 1, 1], [2, 3, 5, 7], [1, 4, 3, 48], [2, 2, 1, 1100]] {
        let [b, f, n, d] = dims;
        let (x, table) = (normal(1, F32, b * f * n * d, 100.0, 1.0), normal(2, F32, f * d, 0.0, 1.0));
        let want = oracle::temporal_embed(&x.wide, &table.wide, dims);
        let call = Call {
            work: [1, 1, b * f * n],
            writes: vec![x.bytes()],
            reads: vec![table.bytes()],
            params: params![f as u32, n as u32, d as u32, (b * f * n) as u32],
            ..Call::default()
        };
        each("temporal_embed", (F32, F32), &call, &[1, 2], |case, out| {
            close(case, F32, &out[0], &want, 1e-14);
        });
    }
}

/// Samples, rows of all samples, d.
const ROWS: [[usize; 3]; 7] =
    [[1, 1, 1], [2, 2, 3], [2, 32, 17], [3, 33, 48], [5, 15, 72], [1, 3, 1304], [2, 4, 2051]];

/// See tests/ops/modulate.rs.
const TWO_PASSES: [f64; 2] = [1e-13, 1e-8];

/// Shift and scale: neither in order nor next to each other, of six.
const CHUNKS: [usize; 2] = [4, 1];

fn modulate_params([samples, rows, d]: [usize; 3]) -> Vec<u8> {
    let [shift, scale] = CHUNKS;
    let fields = [rows, d, rows / samples, 6 * d, shift * d, scale * d];
    fields.iter().flat_map(|x| (*x as u32).to_le_bytes()).collect()
}

/// And with the distance in the same pass: the same bits, and the sums of what is stored.
#[test]
fn modulate() {
    for (dims, (dtype, i)) in
        ROWS.into_iter().flat_map(|d| FLOATS.map(|t| [(d, (t, 0)), (d, (t, 1))]).concat())
    {
        let [samples, rows, d] = dims;
        let x = normal(1, F32, rows * d, OFFSETS[i], 1.0);
        let mods = normal(2, F32, samples * 6 * d, 0.0, 1.0);
        let old = normal(3, dtype, rows * d, 0.0, 1.0);
        let want = oracle::modulate(&x.wide, &mods.wide, dims, CHUNKS[0], CHUNKS[1]);
        let mut call = Call {
            work: [1, 1, rows],
            writes: vec![unwritten(dtype, rows * d)],
            reads: vec![x.bytes(), mods.bytes()],
            params: modulate_params(dims),
            ..Call::default()
        };
        let mut whole = vec![];
        each("modulate", (dtype, dtype), &call, &[1, 2], |case, out| {
            close(case, dtype, &out[0], &want, bound(dtype, TWO_PASSES[i]));
            whole = out[0].clone();
        });
        // More pairs than rows: the rest must say 0.
        for pairs in [1, 7] {
            call.work = [1, 1, pairs];
            call.writes = vec![old.bytes(), unwritten(F32, 2 * pairs)];
            each("modulate_rel_l1", (dtype, dtype), &call, &[1, 2], |case, out| {
                assert!(out[0] == whole, "{case}: not what modulate makes");
                let stored = oracle::rel_l1(&wide(&from_bytes(dtype, &out[0])), &old.wide);
                let sums = totals(&out[1]);
                relative(&format!("{case}, change"), sums[0], stored[0], 1e-6);
                relative(&format!("{case}, size"), sums[1], stored[1], 1e-6);
            });
        }
    }
}

fn rel_l1_call(cur: &Data, prev: &Data, pairs: usize) -> Call {
    Call {
        work: [1, 1, pairs],
        writes: vec![prev.bytes(), unwritten(F32, 2 * pairs)],
        reads: vec![cur.bytes()],
        params: params![cur.x.len() as u32, pairs as u32],
        ..Call::default()
    }
}

#[test]
fn rel_l1() {
    for n in [1, 15, 17, 1000, 4099, 30001] {
        for (dtype, offset) in FLOATS.into_iter().flat_map(|t| OFFSETS.map(|o| (t, o))) {
            let (cur, prev) = (normal(1, dtype, n, offset, 1.0), normal(2, dtype, n, offset, 1.0));
            let want = oracle::rel_l1(&cur.wide, &prev.wide);
            for pairs in [1, 7] {
                each("rel_l1", (dtype, dtype), &rel_l1_call(&cur, &prev, pairs), &[1, 2], |case, out| {
                    assert!(out[0] == cur.bytes(), "{case}: prev is not cur");
                    let sums = totals(&out[1]);
                    relative(&format!("{case}, {n} change"), sums[0], want[0], 1e-6);
                    relative(&format!("{case}, {n} size"), sums[1], want[1], 1e-6);
                });
            }
        }
    }
}

/// Equal numbers, whose additions all round the same way.
#[test]
fn rel_l1_of_many_equal_numbers() {
    const N: usize = 1 << 20;
    let (cur, prev) = (Data::new(F32, &vec![0.3; N]), Data::new(F32, &vec![0.1; N]));
    each("rel_l1", (F32, F32), &rel_l1_call(&cur, &prev, 1), &[1], |case, out| {
        let sums = totals(&out[1]);
        relative(case, sums[0], (cur.wide[0] - prev.wide[0]) * N as f64, 4e-6);
        relative(case, sums[1], prev.wide[0] * N as f64, 4e-6);
    });
}

/// A NaN must reach the decision, which then computes.
#[test]
fn rel_l1_shows_nan() {
    for at in [0, 15, 16, 36] {
        let mut x = [1.0; 37];
        x[at] = f32::NAN;
        let call = rel_l1_call(&Data::new(F32, &x), &Data::new(F32, &[0.0; 37]), 4);
        each("rel_l1", (F32, F32), &call, &[1], |case, out| {
            let [change, size] = totals(&out[1]);
            assert!(change.is_nan() && size == 0.0, "{case}: {change} {size}");
        });
    }
}

/// Plays a list of distances step by step and holds decisions and numbers to the specification.
fn play(rule: &TeaCache, distances: &[f32], pairs: usize) -> String {
    let mut specification = rule.clone();
    let steps = distances.len();
    let mut state = vec![unwritten(F32, 1), unwritten(F32, 2), unwritten(F32, 4 * steps)];
    let mut letters = String::new();
    for (step, &d) in distances.iter().enumerate() {
        let changes = data(step as u64, pairs, 2.0, 0.1);
        let partials = Data::new(F32, &changes.iter().flat_map(|c| [c * d, *c]).collect::<Vec<_>>());
        let want = oracle::tea_gate(&mut specification, step, &partials.wide);
        let negative = Negative::ALL.iter().position(|n| *n == rule.negative).unwrap() as u32;
        let coefficients = rule.coefficients.map(|c| (c as f32).to_le_bytes()).concat();
        let call = Call {
            work: [1, 1, 1],
            writes: state.clone(),
            reads: vec![partials.bytes()],
            params: [
                params![step as u32, pairs as u32, u32::from(rule.forced(step)), negative],
                params![rule.threshold as f32],
                coefficients,
                params![u32::from(rule.accumulates), u32::try_from(rule.max_skips).unwrap_or(u32::MAX)],
                rule.limits().map(|d| (d as f32).to_le_bytes()).concat(),
            ]
            .concat(),
            ..Call::default()
        };
        each("tea_gate", (F32, F32), &call, &[1, 2], |case, out| {
            let row = &from_bytes(F32, &out[2])[4 * step..4 * step + 4];
            let at = format!("{case}, step {step}, {rule:?}: {row:?}, wanted {want:?}");
            let code = match want.decision {
                Decision::Skipped => 0.0,
                Decision::Computed => 1.0,
                Decision::Forced => 2.0,
            };
            assert_eq!(row[3], code, "{at}");
            assert_eq!(out[0], u32::from(want.decision.computes()).to_le_bytes(), "{at}");
            for (got, want) in row.iter().zip([want.distance, want.rescaled, Some(want.accumulated)]) {
                let (got, want) = (f64::from(*got), want.unwrap_or(f64::NAN));
                let same = got == want || (got.is_nan() && want.is_nan());
                assert!(same || (got - want).abs() <= 1e-5 * (1.0 + want.abs()), "{at}");
            }
            let kept = if want.decision.computes() { 0.0 } else { row[2] };
            assert_eq!(from_bytes(F32, &out[1]), [kept, 1.0], "{at}");
            letters.push(want.decision.letter());
            state = out.to_vec();
        });
    }
    letters
}

#[test]
fn tea_gate() {
    let list = [1.0, 0.1, 0.12, 0.08, 0.2, 0.05, f32::NAN, 0.05, 0.0, f32::INFINITY, 0.01, 0.3];
    for (i, negative) in Negative::ALL.into_iter().enumerate() {
        for (j, (threshold, coefficients)) in
            [(0.25, IDENTITY), (0.5, [3.0, -2.0, 1.0, 0.5, -0.1]), (0.0, IDENTITY)].into_iter().enumerate()
        {
            let mut rule = TeaCache::new(threshold, coefficients, list.len());
            rule.negative = negative;
            let skipped = play(&rule, &list, [1, 255, 1025][(i + j) % 3]).contains('S');
            assert!(skipped == (threshold > 0.0) || !harness::available(), "{rule:?}");
        }
    }
}

/// Factors of ±1 leave one rounding; a factor of 0 does not look at x.
#[test]
fn axpby() {
    for (n, (a, b)) in [1, 7, 8, 40, 2047, 2048, 4101].into_iter().flat_map(|n| {
        [(1.0f32, -1.0f32), (1.0, 1.0), (1.037, -0.211), (0.0, 2.0)].map(|factors| (n, factors))
    }) {
        let (x, y) = (normal(1, F32, n, 100.0, 1.0), normal(2, F32, n, 0.0, 1.0));
        let want = oracle::axpby((a, &x.wide), (b, &y.wide));
        let x = if a == 0.0 { unwritten(F32, n) } else { x.bytes() };
        for in_place in [0u32, 1] {
            let (out, first) = if in_place == 1 { (&x, y.bytes()) } else { (&unwritten(F32, n), x.clone()) };
            let call = Call {
                work: [1, 1, n],
                writes: vec![out.clone()],
                reads: vec![first, y.bytes()],
                params: params![n as u32, in_place, a, b],
                ..Call::default()
            };
            each("axpby", (F32, F32), &call, &[1, 2], |case, out| {
                close(&format!("{case}, {a}, {b}, {in_place}"), F32, &out[0], &want, 1e-13);
                let want: Vec<f32> = want.iter().map(|w| *w as f32).collect();
                assert!(a == 1.037 || from_bytes(F32, &out[0]) == want, "{case}");
            });
        }
    }
}

/// B, Z, F, C, H, W, p, P. A few operations in f32; guidance makes what is lost in c − u up to 7.5 times as
/// large.
#[test]
fn denoise() {
    let shapes = [
        [1, 1, 1, 1, 1, 1, 1, 1],
        [2, 1, 1, 1, 1, 1, 1, 1],
        [2, 2, 3, 3, 6, 4, 2, 3],
        [2, 1, 2, 3, 10, 6, 2, 6],
        [4, 2, 1, 4, 9, 15, 3, 8],
        [6, 3, 2, 2, 16, 8, 4, 5],
        [1, 1, 1, 3, 6, 66, 2, 3],
        [2, 1, 1, 4, 4, 64, 2, 8],
    ];
    let updates = [
        Update { keep: 1.0, add: -0.05, guidance: 4.0 },
        Update { keep: 1.037, add: -0.211, guidance: 7.5 },
        // The prediction itself: the clip is not read.
        Update { keep: 0.0, add: 1.0, guidance: 1.0 },
    ];
    for (dims, update) in shapes.into_iter().flat_map(|d| updates.map(|u| (d, u))) {
        let [b, s, f, c, h, w, p, predicted] = dims;
        let tokens = normal(1, F32, b * f * (h / p) * (w / p) * p * p * predicted, 100.0, 1.0);
        let z = normal(2, F32, s * f * c * h * w, 100.0, 1.0);
        let want = oracle::denoise(&z.wide, &tokens.wide, dims, update);
        let bands = s * f * (h / p);
        let fields = [f, c, h, w, p, predicted, usize::from(b != s)].map(|x| (x as u32).to_le_bytes());
        let call = Call {
            work: [1, 1, bands],
            writes: vec![if update.keep == 0.0 { unwritten(F32, z.x.len()) } else { z.bytes() }],
            reads: vec![tokens.bytes()],
            params: [fields.concat(), params![update.keep, update.add, update.guidance, bands as u32]]
                .concat(),
            ..Call::default()
        };
        each("denoise", (F32, F32), &call, &[1, 2], |case, out| {
            close(&format!("{case}, {update:?}"), F32, &out[0], &want, 1e-13);
        });
    }
}
