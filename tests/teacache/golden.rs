//! Every number of the golden traces.

use steep::cache::{Negative, letters};

use crate::tables::{FLUX, Golden, HUNYUAN, LATTE, OPEN_SORA, WAN_RET};
use crate::teacache;

/// Runs every threshold of a table, in every mode, and compares every printed digit.
fn check(golden: &Golden) {
    let rows = golden.rows();
    for (column, run) in golden.runs.iter().enumerate() {
        for negative in Negative::ALL {
            let mut tea = golden.policy(run.threshold);
            tea.negative = negative;
            let steps = tea.replay(&golden.distances());
            assert_eq!(letters(&steps), run.letters, "δ = {}", run.threshold);
            let mut margin = f64::INFINITY;
            for (i, (row, step)) in rows.iter().zip(&steps).enumerate() {
                let at = format!("{}, δ = {}, step {i}", golden.set, run.threshold);
                let decision = row[3 + 2 * column];
                assert_eq!(step.decision.letter().to_string(), decision, "{at}");
                let forced = decision == "F";
                assert_eq!(forced, tea.forced(i), "{at}");
                assert_eq!(step.rescaled.is_none(), forced, "{at}");
                if row[1] != "-" {
                    let f = tea.rescale(step.distance.unwrap());
                    close(f, row[1], &at);
                    assert!(forced || step.rescaled == Some(f), "{at}");
                }
                close(step.accumulated, row[2 + 2 * column], &at);
                if !forced {
                    margin = margin.min((step.accumulated - run.threshold).abs());
                }
            }
            let computes = steps.iter().filter(|s| s.decision.computes()).count();
            assert_eq!(computes, run.computes);
            let ratio = steps.len() as f64 / computes as f64;
            assert!((ratio - run.ratio).abs() <= 0.5e-4, "ratio {ratio}");
            assert!((margin / run.margin - 1.0).abs() < 0.05, "margin {margin}");
        }
    }
}

/// Equal to every printed digit.
fn close(got: f64, printed: &str, at: &str) {
    let decimals = printed.split_once('.').map_or(0, |(_, d)| d.len());
    let half = 0.5001 * 0.1f64.powi(decimals as i32);
    let wanted: f64 = printed.parse().unwrap();
    assert!((got - wanted).abs() <= half, "{at}: {got}, not {printed}");
}

#[test]
fn golden_t1_open_sora() {
    check(&OPEN_SORA);
}

#[test]
fn golden_t2_latte() {
    check(&LATTE);
}

#[test]
fn golden_t3_flux() {
    check(&FLUX);
}

#[test]
fn golden_t4_wan_ret() {
    check(&WAN_RET);
}

#[test]
fn golden_t6_hunyuan() {
    check(&HUNYUAN);
}

/// Wan runs its guidance branches one after the other, each with a state of its own.
#[test]
fn golden_t4_branches_are_separate() {
    let mut conditional = WAN_RET.policy(0.1);
    let mut unconditional = WAN_RET.policy(0.1);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for (step, distance) in WAN_RET.distances().into_iter().enumerate() {
        one.push(conditional.decide(step, distance));
        two.push(unconditional.decide(step, distance.map(|d| 1.5 * d)));
    }
    assert_eq!(letters(&one), "FFFFFSSCSCSCSCSC");
    assert_eq!(letters(&two), "FFFFFSCSCSCSCCCC");
}

/// Wan 2.1 14B, whose polynomial is negative over much of this list.
#[test]
fn golden_t5_negative_polynomial() {
    let rescaled = [
        "-4.091814",
        "-1.035340",
        "-0.133432",
        "0.087934",
        "0.145341",
        "0.133770",
        "0.125989",
        "0.172556",
        "0.301814",
        "0.519892",
        "0.810710",
        "1.135972",
        "1.435171",
        "1.625588",
        "1.602290",
        "1.238131",
        "0.383753",
        "-1.132414",
    ];
    let distances = t5_distances();
    for (negative, wanted) in [
        (Negative::Raw, "FSSSSSSSSSSSSSCCCCSF"),
        (Negative::Clamp, "FSSSSCSCSCCCCCCCCCSF"),
        (Negative::Abs, "FCCSCSCSCCCCCCCCCCCF"),
    ] {
        let mut tea = teacache(0.2, "wan2.1-t2v-14b", distances.len());
        tea.negative = negative;
        let steps = tea.replay(&distances);
        assert_eq!(letters(&steps), wanted, "{negative:?}");
        for (step, f) in steps[1..19].iter().zip(rescaled) {
            close(step.rescaled.unwrap(), f, "f(d)");
        }
        if negative == Negative::Raw {
            close(steps[3].accumulated, "-5.260586", "step 3");
            close(steps[13].accumulated, "-0.391437", "step 13");
            close(steps[14].accumulated, "1.234151", "step 14");
        }
    }
}

/// With δ = 0 the official loop, which adds f as it is, skips 14 of these 20 steps:
/// FSSSSSSSSSSSSSCCCCSF. Here δ = 0 is off in every mode, on purpose.
#[test]
fn golden_t5_zero_threshold_is_off() {
    for negative in Negative::ALL {
        let distances = t5_distances();
        let mut tea = teacache(0.0, "wan2.1-t2v-14b", distances.len());
        tea.negative = negative;
        let steps = tea.replay(&distances);
        assert_eq!(letters(&steps), "FCCCCCCCCCCCCCCCCCCF", "{negative:?}");
    }
}

fn t5_distances() -> Vec<Option<f64>> {
    let list = ".05 .09 .12 .14 .16 .18 .20 .22 .24 .26 .28 .30 .32 .34 .36 .38 .40 .42 .45";
    let measured = list.split(' ').map(|d| d.parse().ok());
    std::iter::once(None).chain(measured).collect()
}
