//! The judges of a cached clip: foreground, digits, sets of frames, motion, confidence.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use steep::evaluate::metrics::{
    Digits, Estimate, Moments, Motion, Normal, foreground_psnr, frechet, jackknife, psnr, speedup, student,
    unpaired_speedup, velocity_error, wilson,
};
use steep::noise::normal;
use steep::video::Video;

/// Grey frames of 0 to 1.
fn clip(frames: usize, height: usize, width: usize, value: impl Fn(usize, usize, usize) -> f64) -> Video {
    let place = |i: usize| (i / (height * width), i / width % height, i % width);
    let data = (0..frames * height * width).map(place).map(|(f, y, x)| (2.0 * value(f, y, x) - 1.0) as f32);
    Video::new(frames, 1, height, width, data.collect()).unwrap()
}

#[test]
fn the_foreground_is_what_is_lit_in_either() {
    let stroke = |y: usize, x: usize, at: usize, value: f64| if y == 2 && x == at { value } else { 0.0 };
    let a = clip(2, 8, 8, |_, y, x| stroke(y, x, 3, 1.0));
    // One pixel of 64 differs by ½, and it alone is lit.
    let b = clip(2, 8, 8, |_, y, x| stroke(y, x, 3, 0.5));
    let wanted = 20.0 * 2f64.log10();
    assert!((foreground_psnr(&a, &b).unwrap() - wanted).abs() < 1e-6);
    assert!((psnr(&a, &b).unwrap() - wanted - 10.0 * 64f64.log10()).abs() < 1e-6);
    // Lit in one of them is lit: of two pixels, both are wrong by 1.
    let moved = clip(2, 8, 8, |_, y, x| stroke(y, x, 4, 1.0));
    assert!(foreground_psnr(&a, &moved).unwrap().abs() < 1e-6);
    assert_eq!(foreground_psnr(&a, &a).unwrap(), 100.0);
    // 0.09 is not lit: it counts neither by itself nor where nothing else is.
    let dim = clip(2, 8, 8, |_, y, x| stroke(y, x, 3, 1.0) + stroke(y, x, 5, 0.09));
    assert_eq!(foreground_psnr(&a, &dim).unwrap(), 100.0);
    assert_eq!(
        foreground_psnr(&clip(1, 8, 8, |_, _, _| 0.0), &clip(1, 8, 8, |_, _, _| 0.09)).unwrap(),
        100.0
    );
    // Frames without light are left out of the mean.
    let first = |of: f64| clip(3, 8, 8, move |f, y, x| if f == 0 { stroke(y, x, 3, of) } else { 0.0 });
    assert!((foreground_psnr(&first(1.0), &first(0.5)).unwrap() - wanted).abs() < 1e-6);
    let mut spoilt = a.clone();
    spoilt.data[7] = f32::NAN;
    assert!(foreground_psnr(&a, &spoilt).unwrap().is_nan() && foreground_psnr(&spoilt, &a).unwrap().is_nan());
    assert!(foreground_psnr(&a, &clip(2, 8, 9, |_, _, _| 0.0)).is_err());
}

/// All channels of a pixel that is lit in one of them.
#[test]
fn the_foreground_of_a_colour_clip() {
    let video = |red: f32, green: f32| Video::new(1, 2, 1, 2, vec![red, -1.0, green, -1.0]).unwrap();
    let got = foreground_psnr(&video(1.0, -1.0), &video(1.0, 0.0)).unwrap();
    assert!((got - 20.0 * 8f64.sqrt().log10()).abs() < 1e-6, "{got}");
}

#[test]
fn frechet_agrees_with_numpy() {
    let (rows, width) = (40, 6);
    let make = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f32> {
        (0..rows * width).map(|k| f((k / width) as f64, (k % width) as f64) as f32).collect()
    };
    let a = make(&|i, j| (3.0 * i + j * j).sin());
    let b = make(&|i, j| 1.5 * (2.0 * i - j).cos() + 0.1 * j * (i * i).sin());
    // numpy 2: means, np.cov, the square roots of np.linalg.eigvals(Σa·Σb).
    let close = |got: f64, want: f64| assert!((got - want).abs() < 1e-6 * want, "{got} {want}");
    close(frechet(&a, &b, width).unwrap(), 4.271666026018097);
    close(frechet(&b, &a, width).unwrap(), 4.271666026018097);
    // Fewer rows than columns: singular covariances.
    close(frechet(&a[..4 * width], &b[..5 * width], width).unwrap(), 7.168397403405516);
    assert!(frechet(&a, &a, width).unwrap() < 1e-9);
    // A shift alone.
    let shifted: Vec<f32> = a.iter().map(|x| x + 0.5).collect();
    close(frechet(&a, &shifted, width).unwrap(), 0.25 * width as f64);
    // One dimension: (μa − μb)² + (σa − σb)².
    let (x, y) = (normal(1, 0, 500), normal(2, 0, 300));
    let y: Vec<f32> = y.iter().map(|v| 3.0 * v + 1.0).collect();
    let moments = |x: &[f32]| {
        let mean = x.iter().map(|&v| f64::from(v)).sum::<f64>() / x.len() as f64;
        let square = x.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
        (mean, (square / (x.len() - 1) as f64).sqrt())
    };
    let ((ma, sa), (mb, sb)) = (moments(&x), moments(&y));
    close(frechet(&x, &y, 1).unwrap(), (ma - mb).powi(2) + (sa - sb).powi(2));
    assert!(frechet(&a, &[f32::NAN; 12], width).unwrap().is_nan());
    for (a, b, width) in [(&a[..6], &b[..], 6), (&a, &b[..7], 6), (&a, &b, 0), (&[], &b, 6)] {
        assert!(frechet(a, b, width).is_err());
    }
}

#[test]
fn students_quantiles() {
    let table = [(1, 12.70620), (5, 2.57058), (11, 2.200985), (15, 2.131450), (29, 2.045230), (99, 1.984217)];
    for (freedom, t) in table {
        assert!((student(freedom) - t).abs() < 2e-5, "{freedom}");
    }
    assert!((1..200).all(|n| student(n) > student(n + 1)));
}

#[test]
fn the_jackknife_of_a_mean_is_students_interval() {
    let x = [3.0, 4.5, 2.0, 7.0, 5.5];
    let mean = |use_: &[usize]| use_.iter().map(|&i| x[i]).sum::<f64>() / use_.len() as f64;
    let got = jackknife(x.len(), mean);
    let centre = 4.4;
    let deviation = (x.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / 4.0).sqrt();
    assert!((got.value - centre).abs() < 1e-12);
    assert!((got.half.unwrap() - student(4) * deviation / 5f64.sqrt()).abs() < 1e-9);
    assert_eq!(jackknife(1, mean).half, None);
    assert_eq!(jackknife(3, |_| 2.0).half, Some(0.0));
}

/// A disc that moves by `step` and turns back at the walls, and the turns it makes.
fn bouncing(frames: usize, side: usize, mut at: [f64; 2], step: [f64; 2]) -> (Video, usize) {
    const RADIUS: f64 = 5.0;
    let (low, high) = (RADIUS, side as f64 - 1.0 - RADIUS);
    let (mut path, mut v, mut turns) = (vec![], step, 0);
    for _ in 0..frames {
        path.push(at);
        for (at, v) in at.iter_mut().zip(&mut v) {
            *at += *v;
            if !(low..=high).contains(at) {
                *at = if *at < low { 2.0 * low - *at } else { 2.0 * high - *at };
                *v = -*v;
                turns += 1;
            }
        }
    }
    // A soft edge, so that the centroid follows in fractions of a pixel.
    let value = |f: usize, y: usize, x: usize| {
        let [cy, cx] = path[f];
        (RADIUS + 0.5 - (y as f64 - cy).hypot(x as f64 - cx)).clamp(0.0, 1.0)
    };
    (clip(frames, side, side, value), turns)
}

#[test]
fn straight_motion_with_bounces_is_steady() {
    let mut bounced = 0;
    for (start, step) in [([8.0, 20.0], [1.7, 0.9]), ([15.0, 9.0], [-1.3, 1.9]), ([20.0, 20.0], [0.8, -1.1])]
    {
        let (disc, turns) = bouncing(40, 32, start, step);
        let motion = Motion::of(&disc).unwrap();
        assert!(motion.jitter < 0.1, "{motion:?}");
        // A bounce in the last step cannot be seen.
        assert!(motion.turns.abs_diff(turns) <= 1 && motion.turns >= 2, "{motion:?} of {turns}");
        assert_eq!(motion.at_wall, motion.turns);
        assert_eq!(motion.lost, 0);
        let step = step[0].hypot(step[1]);
        assert!((motion.jump - step).abs() < 0.15, "{motion:?} of {step}");
        bounced += turns;
        assert_eq!(velocity_error(&disc, &disc).unwrap(), 0.0);
    }
    assert!(bounced > 8);
}

#[test]
fn broken_motion_is_seen() {
    let (disc, _) = bouncing(16, 32, [8.0, 8.0], [0.9, 1.1]);
    let size = 32 * 32;
    // One frame jumps ahead: the path goes there and back, away from any wall.
    let mut jumps = disc.clone();
    jumps.data.copy_within(10 * size..11 * size, 5 * size);
    let (good, bad) = (Motion::of(&disc).unwrap(), Motion::of(&jumps).unwrap());
    assert!(bad.jump > 4.0 * good.jump && bad.turns > bad.at_wall, "{good:?} {bad:?}");
    let error = velocity_error(&disc, &jumps).unwrap();
    let leap = 5.0 * 0.9f64.hypot(1.1);
    assert!((error - 2.0 * leap / 15.0).abs() < 0.1, "{error}");
    // Frozen, then twice as far: no turn, so the difference counts.
    let mut halts = disc.clone();
    halts.data.copy_within(4 * size..5 * size, 5 * size);
    let motion = Motion::of(&halts).unwrap();
    assert!(motion.jitter > 0.4 && motion.turns == 0, "{motion:?}");
    // A frame that goes dark breaks the path.
    let mut dark = disc.clone();
    dark.data[7 * size..8 * size].fill(-1.0);
    let motion = Motion::of(&dark).unwrap();
    assert!(motion.lost == 1 && motion.jitter < 0.1, "{motion:?}");
    let nothing = Motion::of(&clip(4, 8, 8, |_, _, _| 0.0)).unwrap();
    assert!(nothing.lost == 4 && nothing.jitter.is_nan() && nothing.jump.is_nan());
    assert!(velocity_error(&disc, &clip(16, 32, 32, |_, _, _| 0.0)).unwrap().is_nan());
}

/// Random weights of the right shapes.
fn weights(seed: u64) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let shapes: [(&str, &[usize]); 8] = [
        ("conv1.weight", &[16, 1, 3, 3]),
        ("conv1.bias", &[16]),
        ("conv2.weight", &[32, 16, 3, 3]),
        ("conv2.bias", &[32]),
        ("conv3.weight", &[64, 32, 3, 3]),
        ("conv3.bias", &[64]),
        ("linear.weight", &[10, 64]),
        ("linear.bias", &[10]),
    ];
    let tensor = |(i, (name, shape)): (usize, (&'static str, &[usize]))| {
        let n: usize = shape.iter().product();
        let fan = if shape.len() == 1 { 4.0 } else { (n / shape[0]) as f32 };
        let values = normal(seed, i as u64, n).iter().map(|v| v / fan.sqrt()).collect();
        (name, shape.to_vec(), values)
    };
    shapes.into_iter().enumerate().map(tensor).collect()
}

fn save(path: &Path, tensors: &[(&'static str, Vec<usize>, Vec<f32>)]) {
    let view = |(name, shape, values): &'_ (&'static str, Vec<usize>, Vec<f32>)| {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        (*name, shape.clone(), bytes)
    };
    let bytes: Vec<_> = tensors.iter().map(view).collect();
    let views =
        bytes.iter().map(|(name, shape, b)| (*name, TensorView::new(Dtype::F32, shape.clone(), b).unwrap()));
    safetensors::serialize_to_file(views, None, path).unwrap();
}

/// The network again, in f64, by its definition: zero-padded frames and plain loops.
fn naive(weights: &[(&str, Vec<usize>, Vec<f32>)], frame: &[f32], mut side: usize) -> (Vec<f64>, Vec<f64>) {
    let get = |i: usize| weights[i].2.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let mut x: Vec<Vec<f64>> = vec![frame.iter().map(|&v| f64::from(v)).collect()];
    for layer in 0..3 {
        let (w, b) = (get(2 * layer), get(2 * layer + 1));
        let padded: Vec<Vec<f64>> = x
            .iter()
            .map(|plane| {
                let mut p = vec![0.0; (side + 2) * (side + 2)];
                for y in 0..side {
                    for x in 0..side {
                        p[(y + 1) * (side + 2) + x + 1] = plane[y * side + x];
                    }
                }
                p
            })
            .collect();
        let out = (side - 1) / 2 + 1;
        let mut next = vec![vec![0.0; out * out]; b.len()];
        for (o, plane) in next.iter_mut().enumerate() {
            for y in 0..out {
                for x in 0..out {
                    let mut sum = b[o];
                    for (c, from) in padded.iter().enumerate() {
                        for ky in 0..3 {
                            for kx in 0..3 {
                                let tap = w[((o * padded.len() + c) * 3 + ky) * 3 + kx];
                                sum += tap * from[(2 * y + ky) * (side + 2) + 2 * x + kx];
                            }
                        }
                    }
                    plane[y * out + x] = sum.max(0.0);
                }
            }
        }
        (x, side) = (next, out);
    }
    let features: Vec<f64> = x.iter().map(|p| p.iter().sum::<f64>() / p.len() as f64).collect();
    let (w, b) = (get(6), get(7));
    let logit = |k: usize| b[k] + (0..64).map(|c| w[k * 64 + c] * features[c]).sum::<f64>();
    (features.clone(), (0..b.len()).map(logit).collect())
}

fn close(got: &[f32], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len());
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((f64::from(*g) - w).abs() <= tolerance * largest, "{i}: {g} {w}");
    }
}

#[test]
fn the_classifier_is_its_definition() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let weights = weights(5);
    save(&path, &weights);
    let digits = Digits::open(&path).unwrap();
    assert_eq!(digits.classes(), 10);
    for side in [32, 17, 1] {
        let clip = Video::new(3, 1, side, side, normal(9, 0, 3 * side * side)).unwrap();
        let seen = digits.look(&clip).unwrap();
        let frames: Vec<_> = (0..3).map(|f| naive(&weights, clip.plane(f, 0), side)).collect();
        close(&seen.features, &frames.iter().flat_map(|f| f.0.clone()).collect::<Vec<_>>(), 1e-5);
        close(&seen.logits, &frames.iter().flat_map(|f| f.1.clone()).collect::<Vec<_>>(), 1e-5);
        let total = |k: usize| frames.iter().map(|f| f.1[k]).sum::<f64>();
        let best = (0..10).max_by(|&a, &b| total(a).total_cmp(&total(b)));
        assert_eq!(seen.class, best);
    }
    let spoilt = Video::new(1, 1, 4, 4, vec![f32::NAN; 16]).unwrap();
    assert_eq!(digits.look(&spoilt).unwrap().class, None);
    assert!(digits.look(&Video::new(1, 2, 4, 4, vec![0.0; 32]).unwrap()).is_err());
}

/// Features and logits of `reference/classifier.py` in PyTorch.
#[test]
fn the_shipped_classifier_agrees_with_pytorch() {
    let path = format!("{}/tests/fixtures/digits.fixture.safetensors", env!("CARGO_MANIFEST_DIR"));
    let file = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&file).unwrap();
    let read = |name: &str| -> (Vec<usize>, Vec<f32>) {
        let view = file.tensor(name).unwrap();
        let values = view.data().chunks_exact(4).map(|x| f32::from_le_bytes(x.try_into().unwrap()));
        (view.shape().to_vec(), values.collect())
    };
    let (shape, frames) = read("frames");
    let clip = Video::new(shape[0], shape[1], shape[2], shape[3], frames).unwrap();
    let seen = Digits::shipped().unwrap().look(&clip).unwrap();
    let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<_>>();
    close(&seen.features, &wide(read("features").1), 1e-5);
    close(&seen.logits, &wide(read("logits").1), 1e-5);
    // The distance of these frames to real clips, as `reference/judge.py` has it.
    let judge = Digits::shipped().unwrap();
    let ours = Moments::of(&seen.features, Digits::FEATURES).unwrap().normal().unwrap();
    let distance = ours.frechet(judge.real([32, 32]).unwrap());
    let wanted = f64::from(read("frechet").1[0]);
    assert!((distance / wanted - 1.0).abs() < 1e-4, "{distance} {wanted}");
    assert!(
        judge.real([64, 64]).is_some() && judge.real([32, 64]).is_none() && judge.real([48, 48]).is_none()
    );
}

/// Parts joined are the whole.
#[test]
fn moments_join() {
    let (a, b) = (normal(1, 0, 300), normal(2, 0, 240));
    let whole = Moments::of(&a, 6).unwrap();
    let parts = [&a[..60], &a[60..66], &[], &a[66..]].map(|rows| Moments::of(rows, 6).unwrap());
    let joined = Moments::join(&parts).unwrap();
    let other = Moments::of(&b, 6).unwrap();
    assert!((whole.frechet(&other) - joined.frechet(&other)).abs() < 1e-12);
    assert!(whole.frechet(&joined) < 1e-12);
    assert!(Moments::join([]).is_none() && Moments::of(&a[..5], 6).is_err());
    assert!(parts[1].frechet(&other).is_nan(), "one row has no spread");
    let (normal, other) = (whole.normal().unwrap(), other.normal().unwrap());
    assert_eq!(normal.frechet(&other), whole.frechet(&Moments::of(&b, 6).unwrap()));
    assert!(parts[1].normal().is_none() && Normal::new(vec![0.0; 2], vec![1.0; 3]).is_err());
    assert!(Normal::new(vec![0.0], vec![f64::NAN]).is_err());
    // |1 − 3|² + 4 + 9 − 2·√36, by hand.
    let one = |mean, variance| Normal::new(vec![mean], vec![variance]).unwrap();
    assert!((one(1.0, 4.0).frechet(&one(3.0, 9.0)) - 5.0).abs() < 1e-12);
}

#[test]
fn weights_that_are_no_classifier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    let fails = |word: &str| {
        let why = Digits::open(&path).err().expect("an error").to_string();
        assert!(why.contains(word) && why.contains("w.safetensors") && !why.contains('\n'), "{why}");
    };
    fails("No such file");
    std::fs::write(&path, b"not this").unwrap();
    fails("not a whole safetensors file");
    let mut missing = weights(1);
    missing.remove(3);
    save(&path, &missing);
    fails("conv2.bias is missing");
    let mut wrong = weights(1);
    wrong[2].1 = vec![16, 32, 3, 3];
    save(&path, &wrong);
    fails("conv2.weight is [16, 32, 3, 3]");
    let mut spoilt = weights(1);
    spoilt[6].2[5] = f32::INFINITY;
    save(&path, &spoilt);
    fails("linear.weight: element 5 is inf; wanted finite weights");
}

/// Newcombe 1998 (Statistics in Medicine 17, table I, method 3) has the first four.
#[test]
fn proportions_have_wilsons_interval() {
    for (found, trials, low, high) in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (3, 3, 0.4385, 1.0000),
        (0, 1, 0.0000, 0.7935),
    ] {
        let ends = wilson(f64::from(found) / f64::from(trials), trials as usize);
        assert!((ends[0] - low).abs() < 5e-5 && (ends[1] - high).abs() < 5e-5, "{found}/{trials}: {ends:?}");
    }
}

#[test]
fn what_is_noise_is_known_as_such() {
    let of = |value, half| Estimate { value, half };
    assert!(of(717.0, Some(2761.7)).is_noise() && of(-1.0, Some(1.1)).is_noise());
    assert!(!of(2.0, Some(1.9)).is_noise() && !of(0.0, Some(0.0)).is_noise() && !of(2.0, None).is_noise());
    // Ten pairs of 2 and 1 s, and one disturbed pair.
    let steady = speedup(&[[2.0, 1.0]; 10]);
    assert_eq!((steady.value, steady.half), (2.0, Some(0.0)));
    assert!(steady.is_timed() && steady.within(0.0));
    let disturbed = speedup(&[[2.0, 1.0], [2.0, 1.0], [2.0, 9.0]]);
    assert_eq!(disturbed.value, 6.0 / 11.0);
    assert!(!disturbed.is_timed());
    // 1067 % of a bound is no measurement; 103 ± 4 % may be.
    assert!(!of(10.67, Some(0.5)).is_within_bound() && !of(1.2, None).is_within_bound());
    assert!(of(1.03, Some(0.04)).is_within_bound() && of(3.0, Some(0.5)).scaled(1.0 / 2.5).is_within_bound());
    assert_eq!(of(3.0, Some(0.5)).scaled(-2.0), of(-6.0, Some(1.0)));
    // Means of 3 and 2, errors of the means of 1/√3 and 0; Welch's two degrees of freedom: 4.30265.
    let apart = unpaired_speedup(&[2.0, 3.0, 4.0], &[2.0, 2.0]);
    let half = apart.half.unwrap();
    assert!(apart.value == 1.5 && (half - 4.30265 * 1.5 / 27f64.sqrt()).abs() < 1e-12, "{half}");
    assert_eq!(unpaired_speedup(&[2.0], &[1.0, 1.0]).half, None);
    assert_eq!(unpaired_speedup(&[2.0, 2.0], &[1.0, 1.0]), of(2.0, Some(0.0)));
    let once = speedup(&[[2.0, 1.0]]);
    assert!(once.value == 2.0 && !once.is_timed() && !once.is_noise(), "one pair has no interval");
}
