//! steep and burn-wgpu on one adapter, in one run: the same inputs, results compared whole, rounds interleaved.
//!
//! `cargo run --release > results.json` from this folder. Both run in WGSL through the same wgpu. Where burn has more
//! than one way to say an op, the faster one counts. Times are medians over rounds, from the first call until the device
//! has finished the last.

use std::time::Instant;

use burn::tensor::activation::softmax;
use burn::tensor::module::{attention as fused_attention, layer_norm};
use burn::tensor::{Device as BurnDevice, DeviceKind, Tensor as Burn, TensorData};
use pollster::block_on;
use steep::device::Gate;
use steep::ops::{self, Chunks, Epilogue, Over, PARTIALS};
use steep::cases::{nmse, normal_numbers, wide};
use steep::{DType, Device, Tensor};

const ROUNDS: usize = 7;

fn main() {
    let steep = block_on(Device::open("wgpu")).expect("an adapter");
    let burn = BurnDevice::wgpu(DeviceKind::DefaultDevice);
    let rows = [linear(&steep, &burn), attention(&steep, &burn), rel_l1(&steep, &burn), modulate(&steep, &burn)];
    let rows: Vec<String> = rows.iter().map(|row| format!("  {row}")).collect();
    println!("[\n{}\n]", rows.join(",\n"));
}

/// A way to compute something: enqueues it once.
struct Way<'a> {
    name: &'static str,
    run: Box<dyn FnMut() + 'a>,
}

/// Times ways in turn; seconds of each, the median over rounds.
fn times(ways: &mut [Way<'_>], finish_steep: &dyn Fn(), finish_burn: &dyn Fn()) -> Vec<f64> {
    let finish = |name: &str| if name == "steep" { finish_steep() } else { finish_burn() };
    let mut seconds = vec![vec![]; ways.len()];
    for way in ways.iter_mut() {
        // Compiles, tunes itself, and touches its memory.
        for _ in 0..3 {
            (way.run)();
        }
        finish(way.name);
    }
    for _ in 0..ROUNDS {
        for (way, seconds) in ways.iter_mut().zip(&mut seconds) {
            let runs = 3;
            let begin = Instant::now();
            for _ in 0..runs {
                (way.run)();
            }
            finish(way.name);
            seconds.push(begin.elapsed().as_secs_f64() / runs as f64);
        }
    }
    seconds
        .into_iter()
        .map(|mut s| {
            s.sort_by(f64::total_cmp);
            s[ROUNDS / 2]
        })
        .collect()
}

/// One line of the results, of an op that does `amount` (in units of `unit`·1e9) once.
fn row(steep: &Device, op: &str, shape: &str, unit: &str, amount: f64, ways: &[Way<'_>], seconds: &[f64]) -> String {
    let rate = |s: f64| amount / s / 1e9;
    let theirs = seconds[1..].iter().copied().fold(f64::INFINITY, f64::min);
    let way = ways[1..].iter().zip(&seconds[1..]).find(|(_, s)| **s == theirs).map_or("", |(way, _)| way.name);
    format!(
        "{{\"op\": \"{op}\", \"shape\": \"{shape}\", \"device\": \"{}\", \"unit\": \"{unit}\", \"steep\": {:.3}, \
         \"burn\": {:.3}, \"burn_way\": \"{way}\", \"burn_version\": \"0.22.1\", \"ratio\": {:.3}}}",
        steep.describe(),
        rate(seconds[0]),
        rate(theirs),
        theirs / seconds[0],
    )
}

fn data(seed: u64, n: usize) -> Vec<f32> {
    normal_numbers(seed, n, 0.0, 1.0)
}

fn ours<const N: usize>(device: &Device, x: &[f32], shape: [usize; N]) -> Tensor {
    Tensor::from_f32(device, DType::F32, shape, x).unwrap()
}

fn theirs<const D: usize>(device: &BurnDevice, x: &[f32], shape: [usize; D]) -> Burn<D> {
    Burn::from_data(TensorData::new(x.to_vec(), shape), device)
}

/// Waits for steep's device.
fn finish(device: &Device) {
    let marks = [device.mark(), device.mark()];
    block_on(device.seconds(&marks)).unwrap();
}

/// The whole results, element by element.
fn same(op: &str, ours: &[f32], theirs: TensorData) {
    within(op, ours, theirs, 1e-9);
}

fn within(op: &str, ours: &[f32], theirs: TensorData, bound: f64) {
    let theirs: Vec<f32> = theirs.iter::<f32>().collect();
    assert_eq!(ours.len(), theirs.len(), "{op}");
    let error = nmse(&wide(ours), &wide(&theirs));
    assert!(error < bound, "{op}: steep and burn disagree, NMSE {error:.1e}");
}

fn linear(steep: &Device, burn: &BurnDevice) -> String {
    const N: usize = 1024;
    let (x, w, b) = (data(1, N * N), data(2, N * N), data(3, N));
    let (sx, sw, sb) = (ours(steep, &x, [N, N]), ours(steep, &w, [N, N]), ours(steep, &b, [N]));
    let mut out = Tensor::zeros(steep, DType::F32, [N, N]).unwrap();
    let (bx, bw, bb) = (theirs(burn, &x, [N, N]), theirs(burn, &w, [N, N]), theirs(burn, &b, [1, N]));
    ops::linear(Gate::Open, &mut out, &sx, &sw, &sb, Epilogue::Bias).unwrap();
    let product = (bx.clone().matmul(bw.clone().transpose()) + bb.clone()).into_data();
    same("linear", &block_on(out.read_f32()).unwrap(), product);
    // Weights as burn likes them, laid out once: [in, out].
    let laid_out = Burn::<2>::from_data(bw.clone().transpose().into_data(), burn);
    let mut last = None;
    let mut last2 = None;
    let mut ways = [
        Way {
            name: "steep",
            run: Box::new(|| ops::linear(Gate::Open, &mut out, &sx, &sw, &sb, Epilogue::Bias).unwrap()),
        },
        Way {
            name: "matmul, transposed view",
            run: Box::new(|| last = Some(bx.clone().matmul(bw.clone().transpose()) + bb.clone())),
        },
        Way { name: "matmul", run: Box::new(|| last2 = Some(bx.clone().matmul(laid_out.clone()) + bb.clone())) },
    ];
    let seconds = times(&mut ways, &|| finish(steep), &|| burn.sync().unwrap());
    let flops = 2.0 * (N * N * N) as f64;
    row(steep, "linear", "1024×1024×1024", "GFLOP/s", flops, &ways, &seconds)
}

fn attention(steep: &Device, burn: &BurnDevice) -> String {
    const H: usize = 8;
    const S: usize = 1024;
    const D: usize = 64;
    let parts = [1, 2, 3].map(|seed| data(seed, H * S * D));
    // steep reads token by token: queries, keys and values of all heads, packed.
    let mut packed = vec![0.0; S * 3 * H * D];
    for (p, part) in parts.iter().enumerate() {
        for (i, x) in part.iter().enumerate() {
            let (h, s, d) = (i / (S * D), i / D % S, i % D);
            packed[(s * 3 + p) * H * D + h * D + d] = *x;
        }
    }
    let qkv = ours(steep, &packed, [1, 1, S, 3 * H * D]);
    let mut out = Tensor::zeros(steep, DType::F32, [1, 1, S, H * D]).unwrap();
    let [q, k, v] = parts.each_ref().map(|part| theirs(burn, part, [1, H, S, D]));
    let by_hand = || {
        let scores = q.clone().matmul(k.clone().transpose()) * (1.0 / (D as f32).sqrt());
        softmax(scores, 3).matmul(v.clone())
    };
    let fused = || fused_attention(q.clone(), k.clone(), v.clone(), None, None, Default::default());
    ops::attention(Gate::Open, &mut out, &qkv, H, Over::Tokens).unwrap();
    let got = block_on(out.read_f32()).unwrap();
    let by_head: Vec<f32> = (0..H * S * D)
        .map(|i| got[(i / D % S) * H * D + i / (S * D) * D + i % D])
        .collect();
    same("attention", &by_head, by_hand().into_data());
    same("attention", &by_head, fused().into_data());
    let (mut last, mut last2) = (None, None);
    let mut ways = [
        Way {
            name: "steep",
            run: Box::new(|| ops::attention(Gate::Open, &mut out, &qkv, H, Over::Tokens).unwrap()),
        },
        Way { name: "attention", run: Box::new(|| last = Some(fused())) },
        Way { name: "matmul, softmax, matmul", run: Box::new(|| last2 = Some(by_hand())) },
    ];
    let seconds = times(&mut ways, &|| finish(steep), &|| burn.sync().unwrap());
    let flops = 4.0 * (H * S * S * D) as f64;
    row(steep, "attention", "1×8×1024×64", "GFLOP/s", flops, &ways, &seconds)
}

/// Both sides compute the two sums and read them back.
fn rel_l1(steep: &Device, burn: &BurnDevice) -> String {
    const N: usize = 16 << 20;
    let (cur, prev) = (data(1, N), data(2, N));
    let scur = ours(steep, &cur, [N]);
    let mut sprev = ours(steep, &prev, [N]);
    let mut partials = Tensor::zeros(steep, DType::F32, [PARTIALS, 2]).unwrap();
    let (bcur, bprev) = (theirs(burn, &cur, [N]), theirs(burn, &prev, [N]));
    let by_hand = || {
        let change = (bcur.clone() - bprev.clone()).abs().sum();
        let size = bprev.clone().abs().sum();
        (change / size).into_data()
    };
    ops::rel_l1(Gate::Open, &mut sprev, &mut partials, &scur).unwrap();
    let distance = |partials: &Tensor| {
        let all = block_on(partials.read_f32()).unwrap();
        let sum = |column| all.iter().skip(column).step_by(2).map(|x: &f32| f64::from(*x)).sum::<f64>();
        (sum(0) / sum(1)) as f32
    };
    let exact = |f: &dyn Fn(usize) -> f64| (0..N).map(f).sum::<f64>();
    let change = exact(&|i| f64::from(cur[i] - prev[i]).abs());
    let wanted = change / exact(&|i| f64::from(prev[i]).abs());
    let ours = distance(&partials);
    assert!((f64::from(ours) - wanted).abs() < 1e-6 * wanted, "rel_l1: {ours}, wanted {wanted}");
    // burn adds sixteen million numbers up in f32 and loses a thousandth on the way.
    within("rel_l1", &[ours], by_hand(), 1e-5);
    let mut ways = [
        Way {
            name: "steep",
            run: Box::new(|| {
                ops::rel_l1(Gate::Open, &mut sprev, &mut partials, &scur).unwrap();
                distance(&partials);
            }),
        },
        Way { name: "sub, abs, sum", run: Box::new(|| drop(by_hand())) },
    ];
    let seconds = times(&mut ways, &|| finish(steep), &|| burn.sync().unwrap());
    // What must be read; that steep writes `prev` in the same pass comes on top and is not counted.
    row(steep, "rel_l1", "2 × 64 MiB", "GB/s", 8.0 * N as f64, &ways, &seconds)
}

fn modulate(steep: &Device, burn: &BurnDevice) -> String {
    const ROWS: usize = 4096;
    const D: usize = 1152;
    let (x, shift, scale) = (data(1, ROWS * D), data(2, D), data(3, D));
    let sx = ours(steep, &x, [1, ROWS, D]);
    let mods = ours(steep, &[shift.clone(), scale.clone()].concat(), [1, 2 * D]);
    let mut out = Tensor::zeros(steep, DType::F32, [1, ROWS, D]).unwrap();
    let bx = theirs(burn, &x, [ROWS, D]);
    let (bshift, bscale) = (theirs(burn, &shift, [1, D]), theirs(burn, &scale, [1, D]));
    let ones = Burn::<1>::ones([D], burn);
    let normed = || layer_norm(bx.clone(), ones.clone(), None, 1e-6) * (bscale.clone() + 1.0) + bshift.clone();
    let by_hand = || {
        let centred = bx.clone() - bx.clone().mean_dim(1);
        let variance = (centred.clone() * centred.clone()).mean_dim(1);
        centred / (variance + 1e-6).sqrt() * (bscale.clone() + 1.0) + bshift.clone()
    };
    let chunks = Chunks { shift: 0, scale: 1 };
    ops::modulate(Gate::Open, &mut out, &sx, &mods, chunks, ops::EPSILON).unwrap();
    let got = block_on(out.read_f32()).unwrap();
    same("modulate", &got, normed().into_data());
    same("modulate", &got, by_hand().into_data());
    let (mut last, mut last2) = (None, None);
    let mut ways = [
        Way {
            name: "steep",
            run: Box::new(|| ops::modulate(Gate::Open, &mut out, &sx, &mods, chunks, ops::EPSILON).unwrap()),
        },
        Way { name: "layer_norm", run: Box::new(|| last = Some(normed())) },
        Way { name: "mean, sub, mul, sqrt", run: Box::new(|| last2 = Some(by_hand())) },
    ];
    let seconds = times(&mut ways, &|| finish(steep), &|| burn.sync().unwrap());
    row(steep, "modulate", "4096×1152", "GB/s", 8.0 * (ROWS * D) as f64, &ways, &seconds)
}
