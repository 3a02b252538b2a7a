//! The rules beside TeaCache, each against an independent reading of its authors' code, on made-up numbers.

use steep::cache::{
    Decision, Given, IDENTITY, Measure, Spec, StandIn, Step, TeaCache, letters, shortest, wiener,
};

use crate::{made, rule};

/// Numbers between 0 and 1 that are the same everywhere (an LCG's high bits).
fn random(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(2) + 1;
    move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f64 / (1u64 << 24) as f64
    }
}

fn distances(seed: u64, steps: usize, scale: f64) -> Vec<Option<f64>> {
    let mut next = random(seed);
    (0..steps).map(|i| (i > 0).then(|| scale * next())).collect()
}

fn trace(spec: &str, distances: &[Option<f64>]) -> String {
    letters(&made(spec, distances.len()).replay(distances))
}

/// MagCache with a table.
fn mag(spec: &str, table: &[f64], steps: usize) -> Vec<Step> {
    let given = Given { fit: None, magnitudes: Some(table.to_vec()) };
    spec.parse::<Spec>().unwrap().policy(steps, &given).unwrap().replay(&vec![None; steps])
}

/// Steps 2 and 3 skipped in a row, then the cap; from step 7 on, and before step 2, all compute.
#[test]
fn windows_by_hand() {
    let list = vec![Some(0.01); 10];
    let with = |spec: &str| trace(spec, &list);
    assert_eq!(with("tea:1"), "FSSSSSSSSF");
    assert_eq!(with("tea:1+max-skips=2"), "FSSCSSCSSF");
    assert_eq!(with("tea:1+start=3"), "FFFSSSSSSF");
    assert_eq!(with("tea:1+end=7"), "FSSSSSSFFF");
    assert_eq!(with("tea:1+start=2+end=7+max-skips=2"), "FFSSCSSFFF");
    // The cap counts from each computed step, also one that the threshold asked for.
    assert_eq!(with("tea:0.025+max-skips=2"), "FSSCSSCSSF");
    assert_eq!(with("tea:0.025+max-skips=1"), "FSCSCSCSCF");
    assert_eq!(with("tea:1+start=0"), with("tea:1"));
    // The sum restarts after a step that the cap made compute: 0.03 would have reached the threshold at step 3.
    let list: Vec<_> = [0.0, 0.02, 0.02, 0.03, 0.02, 0.02, 0.0].map(Some).into();
    assert_eq!(trace("tea:0.06+max-skips=1", &list), "FSCSCSF");
}

/// ParaAttention's `get_can_use_cache`: the last step is like any other, nothing adds up, equality computes.
#[test]
fn first_block_is_the_authors_rule() {
    for seed in 0..200 {
        let list = distances(seed, 24, 0.2);
        let reference: String = (list.iter().enumerate())
            .map(|(step, d)| match d {
                _ if step == 0 => 'F',
                Some(d) if *d < 0.1 => 'S',
                _ => 'C',
            })
            .collect();
        assert_eq!(trace("fb:0.1", &list), reference, "{seed}");
    }
    let list = [None, Some(0.0999), Some(0.1), Some(0.09), Some(0.09), Some(f64::NAN), Some(0.2)];
    assert_eq!(trace("fb:0.1", &list), "FSCSSCC");
    assert_eq!(trace("fb:0", &list), "FCCCCCC");
}

/// SeaCache's loop: TeaCache's with the distance as it is.
#[test]
fn sea_is_the_authors_rule() {
    for seed in 0..200 {
        let list = distances(seed, 24, 0.15);
        let (mut sum, mut reference) = (0.0, String::new());
        for (step, d) in list.iter().enumerate() {
            if step == 0 || step == 23 {
                sum = 0.0;
                reference.push('F');
            } else {
                sum += d.unwrap();
                let computes = sum >= 0.3;
                reference.push(if computes { 'C' } else { 'S' });
                sum = if computes { 0.0 } else { sum };
            }
        }
        assert_eq!(trace("sea:0.3", &list), reference, "{seed}");
    }
    assert_eq!(made("sea:0.3", 24).measure, Measure::FilteredSignal);
}

/// EasyCache's loop over made-up inputs and outputs of one number each: what `easycache_forward` does with them.
#[test]
fn easy_is_the_authors_rule() {
    const STEPS: usize = 30;
    const THRESHOLD: f64 = 0.08;
    let mut both = 0;
    for seed in 0..200 {
        let mut next = random(seed);
        let x: Vec<f64> = (0..STEPS)
            .scan(1.0, |x, _| {
                *x -= 0.03 * (0.5 + next());
                Some(*x)
            })
            .collect();
        let v: Vec<f64> = (0..STEPS).map(|i| 2.0 - 0.02 * i as f64 + 0.1 * next()).collect();

        // The authors' variables, by their names.
        let (mut k, mut accumulated, mut reference) = (None, 0.0, String::new());
        let (mut previous_output, mut previous_input, mut prev_prev_input) = (None, None, None);
        let mut list = vec![];
        for step in 0..STEPS {
            let forced = step < 3 || step == STEPS - 1;
            let mut calculate = true;
            let mut predicted = None;
            if let (Some(k), Some(out), Some(input)) = (k, previous_output, previous_input) {
                let (out, input): (f64, f64) = (out, input);
                predicted = Some(k * ((x[step] - input).abs() / out.abs()));
            }
            if forced {
                accumulated = 0.0;
            } else if let Some(predicted) = predicted {
                accumulated += predicted;
                calculate = accumulated >= THRESHOLD;
                accumulated = if calculate { 0.0 } else { accumulated };
            }
            list.push(predicted);
            previous_input = Some(x[step]);
            reference.push(if forced {
                'F'
            } else if calculate {
                'C'
            } else {
                'S'
            });
            if calculate {
                if let (Some(out), Some(input)) = (previous_output, prev_prev_input) {
                    let (out, input): (f64, f64) = (out, input);
                    k = Some((v[step] - out).abs() / (x[step] - input).abs());
                }
                prev_prev_input = previous_input;
                previous_output = Some(v[step]);
            }
        }
        assert_eq!(trace(&format!("easy:{THRESHOLD}"), &list), reference, "{seed}");
        both += usize::from(reference.contains('S') && reference.contains('C'));
    }
    assert!(both > 150, "{both}");
    // Two computed steps at least, or there is no rate.
    for eager in ["easy:9", "easy:9+start=1", "easy:9+start=0"] {
        assert_eq!(trace(eager, &[Some(0.1); 5]), "FFSSF", "{eager}");
    }
    assert_eq!(rule("easy:9", 30).warmup, 3);
}

/// `magcache_forward`, for one branch, with the authors' names.
#[test]
fn mag_is_the_authors_rule() {
    for seed in 0..300 {
        let steps = 12 + (seed % 30) as usize;
        let mut next = random(seed);
        let ratios: Vec<f64> = (0..steps).map(|_| 1.0 - 0.06 * next()).collect();
        let (threshold, most) = (0.05 + 0.2 * next(), 1 + (seed % 5) as usize);
        let (mut ratio, mut error, mut taken, mut reference) = (1.0, 0.0, 0, String::new());
        for (cnt, gamma) in ratios.iter().enumerate() {
            let mut skip = false;
            let retained = cnt < (steps as f64 * 0.2) as usize;
            if !retained {
                ratio *= gamma;
                taken += 1;
                error += (1.0f64 - ratio).abs();
                if error < threshold && taken <= most {
                    skip = true;
                } else {
                    (error, taken, ratio) = (0.0, 0, 1.0);
                }
            }
            reference.push(if retained {
                'F'
            } else if skip {
                'S'
            } else {
                'C'
            });
        }
        let steps = mag(&format!("mag:{threshold}:{most}@x"), &ratios, steps);
        assert_eq!(letters(&steps), reference, "{seed}");
    }
}

/// γ = 0.9 throughout: 1 − 0.9 = 0.1, then 1 − 0.81 = 0.19, in sum 0.29, then 1 − 0.729 makes it 0.561.
#[test]
fn mag_by_hand() {
    let run = |threshold: f64, most: usize| {
        let steps = mag(&format!("mag:{threshold}:{most}@x"), &[0.9; 10], 10);
        (letters(&steps), steps[3].accumulated)
    };
    let (letters, sum) = run(0.3, 9);
    assert_eq!(letters, "FFSSCSSCSS");
    assert!((sum - 0.29).abs() < 1e-12, "{sum}");
    assert_eq!(run(0.11, 9).0, "FFSCSCSCSC");
    assert_eq!(run(9.0, 3).0, "FFSSSCSSSC");
    assert_eq!(run(0.0, 9).0, "FFCCCCCCCC");
    // Too few steps for a fifth of them: the first still computes, there is nothing to reuse.
    assert_eq!(trace("mag:9@x", &[None; 3]), "FSS");
    // The authors' K is 2.
    assert_eq!(trace("mag:9@x", &[None; 10]), "FFSSCSSCSS");
}

/// Another number of steps takes the nearest ratio, as numpy's `round` has it.
#[test]
fn mag_stretches_its_table() {
    // 7 places over a table of 4: 0, 0.5, 1, 1.5, 2, 2.5, 3 → 0, 0, 1, 2, 2, 2, 3.
    let steps = mag("mag:inf:99@x", &[0.5, 0.6, 0.7, 0.8], 7);
    let ratios: Vec<_> = steps.iter().map(|s| s.rescaled).collect();
    assert_eq!(ratios, [None, Some(0.5), Some(0.6), Some(0.7), Some(0.7), Some(0.7), Some(0.8)]);
}

/// The filter as the authors compute it: gains along an axis of `fftfreq` frequencies, divided by their mean, times the
/// spectrum of a wave, and back.
#[test]
fn the_filter_is_the_authors() {
    for n in [1, 2, 4, 5, 16] {
        for [a, b] in [[0.0, 1.0], [0.02, 0.98], [0.5, 0.5], [0.9, 0.1], [1.0, 0.0]] {
            let kernel = wiener(n, [a, b]);
            let [a, b]: [f64; 2] = [a, b].map(|x: f64| x.clamp(1e-6, 1.0 - 1e-6));
            // numpy's `fftfreq`: 0, 1/n, … and then the negative ones.
            let signed = |k: usize| if 2 * k < n { k as f64 } else { k as f64 - n as f64 };
            let frequencies: Vec<f64> = (0..n).map(|k| signed(k) / n as f64).collect();
            let gain = |f: &f64| {
                let power = 1.0 / (f.abs().powi(3) + 1e-16);
                (a * power) / (a * a * power + b * b + 1e-16)
            };
            let gains: Vec<f64> = frequencies.iter().map(gain).collect();
            let mean = gains.iter().sum::<f64>() / n as f64;
            assert!((kernel[0] - 1.0).abs() < 1e-12);
            for (k, gain) in gains.iter().map(|gain| gain / mean).enumerate() {
                // What the convolution makes of the wave of this frequency: the wave, times its gain.
                let wave = |i: usize| (std::f64::consts::TAU * (k * i % n) as f64 / n as f64).cos();
                for i in 0..n {
                    let out: f64 = (0..n).map(|j| kernel[(i + n - j) % n] * wave(j)).sum();
                    let want = gain * wave(i);
                    assert!((out - want).abs() <= 1e-9 * gain.max(1.0), "{n} {a} {k}: {out} {want}");
                }
            }
        }
    }
}

/// A modifier and no more: the schedule is the inner policy's.
#[test]
fn taylor_leaves_the_schedule_alone() {
    let list = distances(3, 20, 0.2);
    for spec in ["tea:0.3", "uniform:3", "fb:0.1", "mask:10010100101001010011", "tea:0.3+max-skips=2"] {
        let (mut plain, mut taylor) = (made(spec, 20), made(&format!("{spec}+taylor"), 20));
        assert_eq!(plain.stand_in, StandIn::Residual);
        assert_eq!(taylor.stand_in, StandIn::Extrapolated);
        assert_eq!(format!("{:?}", plain.rule), format!("{:?}", taylor.rule), "{spec}");
        assert_eq!((plain.measure, plain.span), (taylor.measure, taylor.span), "{spec}");
        assert_eq!(plain.replay(&list), taylor.replay(&list), "{spec}");
        assert_eq!(plain.reuses(), taylor.reuses());
    }
}

/// Errors of a path, largest first.
fn errors(nodes: &[usize], error: impl Fn(usize, usize, usize) -> f64) -> Vec<f64> {
    let mut before = nodes[0];
    let mut all = vec![];
    for pair in nodes.windows(2) {
        all.push(error(before, pair[0], pair[1]));
        before = pair[0];
    }
    all.sort_by(|a, b| b.total_cmp(a));
    all
}

/// Every schedule there is, tried: none has a smaller list of errors. Random errors, few enough to collide, that
/// depend on the computed step before or do not.
#[test]
fn no_schedule_is_better_than_the_shortest() {
    for seed in 0..60 {
        let mut next = random(seed);
        let steps = 2 + (seed % 7) as usize;
        let table: Vec<f64> = (0..steps.pow(3)).map(|_| (next() * 6.0).floor()).collect();
        let second_order = seed % 2 == 0;
        let error = |b: usize, f: usize, t: usize| {
            let forbidden = seed % 3 == 0 && t - f > 3;
            if forbidden {
                f64::NAN
            } else {
                table[(if second_order { b } else { 0 } * steps + f) * steps + t]
            }
        };
        for computed in 1..=steps + 1 {
            let nodes = |mask: u32| (0..steps).filter(|i| mask >> i & 1 == 1).collect::<Vec<_>>();
            let all = (0..1u32 << steps).map(nodes).filter(|n| n.len() == computed);
            let whole = all.filter(|n| n.first() == Some(&0) && n.last() == Some(&(steps - 1)));
            let best = whole.map(|n| errors(&n, error)).filter(|e| e.iter().all(|e| !e.is_nan()));
            let best = best.min_by(|a, b| a.partial_cmp(b).unwrap());
            let found = shortest(steps, computed, error).map(|mask| {
                let nodes: Vec<usize> = (0..steps).filter(|&i| mask[i]).collect();
                assert_eq!(nodes.len(), computed);
                errors(&nodes, error)
            });
            assert_eq!(found, best, "seed {seed}, {computed} of {steps}");
        }
    }
}

/// The published example of why the largest counts: one path with a small sum and one bad segment, one without.
#[test]
fn the_largest_error_counts_first() {
    let error = |_: usize, from: usize, to: usize| match (from, to) {
        (0, 1) => 0.0,
        (1, 4) => 5.0,
        (0, 2) | (0, 3) => 3.0,
        (2, 4) | (3, 4) => 3.0,
        _ => 9.0,
    };
    // By way of 1 the sum is 5, by way of 2 it is 6; but 5 > 3.
    assert_eq!(shortest(5, 3, error), Some(vec![true, false, true, false, true]));
    assert_eq!(shortest(5, 1, error), None);
    assert_eq!(shortest(1, 1, error), Some(vec![true]));
    assert_eq!(shortest(0, 0, error), None);
}

#[test]
fn decisions_are_forced_by_place_alone() {
    let mut rule = TeaCache::new(f64::INFINITY, IDENTITY, 6);
    rule.end = 4;
    rule.warmup = 2;
    let forced: Vec<bool> = (0..6).map(|i| rule.forced(i)).collect();
    assert_eq!(forced, [true, true, false, false, true, true]);
    let steps = rule.replay(&[Some(0.1); 6]);
    assert!(steps.iter().zip(forced).all(|(s, forced)| (s.decision == Decision::Forced) == forced));
}
