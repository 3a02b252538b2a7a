//! Several calls, one after the other: what no single case shows.

use std::f64::consts::TAU;

use pollster::block_on;
use steep::cases::run::sources;
use steep::cases::{Bound, Check, Values, normal_numbers, totals, wide};
use steep::device::{Gate, Kernel};
use steep::ops::*;
use steep::{DType, DType::*, Device, Shape, Tensor};

use crate::{devices, pass};

/// On every device, with every source of `kernel` in turn.
fn each(kernel: &'static Kernel, run: impl Fn(&str, &Device)) {
    for device in devices() {
        for label in sources(&device, kernel) {
            device.prefer(Some(label));
            run(&format!("{} on {} ({label})", kernel.name, device.name()), &device);
            device.prefer(None);
        }
    }
}

fn tensor(device: &Device, dtype: DType, shape: impl Into<Shape>, x: &[f32]) -> Tensor {
    Tensor::from_f32(device, dtype, shape, x).unwrap()
}

fn random(device: &Device, dtype: DType, shape: impl Into<Shape>, seed: u64) -> Tensor {
    let shape = shape.into();
    tensor(device, dtype, shape, &normal_numbers(seed, shape.elements().unwrap(), 0.0, 1.0))
}

fn zeros(device: &Device, dtype: DType, shape: impl Into<Shape>) -> Tensor {
    Tensor::zeros(device, dtype, shape).unwrap()
}

fn bits(t: &Tensor) -> Vec<u8> {
    block_on(t.read()).unwrap()
}

/// Both columns of partial sums, added up.
fn sums(partials: &Tensor) -> Vec<f64> {
    totals(&block_on(partials.read_f32()).unwrap(), 2)
}

/// The head's own way and a sampler's are the same step: a prediction that `denoise` laid out, then `axpby`, gives the
/// bits that `denoise` alone gives.
#[test]
fn axpby_is_the_step_that_denoise_takes() {
    let update = Update { keep: 0.75, add: -0.3, guidance: 3.0, channels: usize::MAX };
    each(&AXPBY, |name, device| {
        let shape = [2, 1, 1, 8, 8];
        let tokens = random(device, F32, [4, 1, 4, 16], 2);
        let mut direct = random(device, F32, shape, 1);
        denoise(Gate::Open, &mut direct, &tokens, 4, update).unwrap();
        let (mut v, mut z) = (zeros(device, F32, shape), random(device, F32, shape, 1));
        let as_is = Update { keep: 0.0, add: 1.0, ..update };
        denoise(Gate::Open, &mut v, &tokens, 4, as_is).unwrap();
        axpby(Gate::Open, &mut z, (update.keep, None), (update.add, &v)).unwrap();
        assert_eq!(bits(&z), bits(&direct), "{name}");
    });
}

/// In place or not, the same bits.
#[test]
fn axpby_in_place_is_axpby() {
    each(&AXPBY, |name, device| {
        for n in [561, 33280] {
            let (x, y) = (random(device, F32, [n], 1), random(device, F32, [n], 2));
            let (mut out, mut z) = (zeros(device, F32, [n]), random(device, F32, [n], 1));
            axpby(Gate::Open, &mut out, (0.75, Some(&x)), (-0.3, &y)).unwrap();
            axpby(Gate::Open, &mut z, (0.75, None), (-0.3, &y)).unwrap();
            assert_eq!(bits(&z), bits(&out), "{name}, {n}");
        }
    });
}

/// One pass does what `modulate` and `rel_l1` do in two, to the bit of the signal; and what it leaves is the anchor of the
/// next step: a second one with the same input has distance 0, a third with another one does not.
#[test]
fn modulate_rel_l1_is_modulate_and_rel_l1() {
    let chunks = Chunks { shift: 4, scale: 1 };
    each(&MODULATE_REL_L1, |name, device| {
        for (dtype, [samples, rows, d]) in [F32, F16, BF16]
            .into_iter()
            .flat_map(|t| [[2, 5, 17], [3, 11, 48], [1, 65, 64], [1, 3, 1304]].map(|d| (t, d)))
        {
            let shape = [samples, rows, d];
            let [x, y] = [1, 2].map(|seed| random(device, F32, shape, seed));
            let mods = random(device, F32, [samples, 6 * d], 3);
            let mut whole = zeros(device, dtype, shape);
            modulate(Gate::Open, &mut whole, &x, &mods, chunks, EPSILON).unwrap();
            let (mut prev, mut apart) = (random(device, dtype, shape, 4), zeros(device, F32, [PARTIALS, 2]));
            rel_l1(Gate::Open, &mut prev, &mut apart, &whole).unwrap();
            let mut signal = random(device, dtype, shape, 4);
            let mut step = |x: &Tensor| {
                let mut partials = zeros(device, F32, [3, 2]);
                modulate_rel_l1(Gate::Open, &mut signal, &mut partials, x, &mods, chunks).unwrap();
                (sums(&partials), bits(&signal))
            };
            let case = format!("{name}, {dtype} {shape:?}");
            let [(first, made), (second, _), (third, _)] = [step(&x), step(&x), step(&y)];
            assert!(made == bits(&whole), "{case}: signal is not what modulate makes");
            let near = |a: f64, b: f64| assert!((a - b).abs() <= 1e-6 * b, "{case}: {a} is not {b}");
            let other = sums(&apart);
            first.iter().zip(&other).for_each(|(a, b)| near(*a, *b));
            assert!(second[0] == 0.0, "{case}: {second:?}");
            assert!(third[0] > 0.0 && third[1] == second[1], "{case}: {third:?}");
        }
    });
}

/// Against the definition of a filter: the discrete Fourier transform along the axis, each frequency times its gain,
/// and back; in complex numbers written out, on a grid of three axes, which the op takes one by one.
#[test]
fn spectral_filter_filters_frequencies() {
    let (dims, d) = ([3, 4, 5], 2);
    let n = dims.iter().product::<usize>() * d;
    let stride = |axis: usize| dims[axis + 1..].iter().product::<usize>() * d;
    let gain = |axis: usize, k: usize| 1.0 / (1.0 + (axis + 1) as f64 * k.min(dims[axis] - k) as f64);
    let turn = |axis: usize, k: usize, i: usize| TAU * (k * i) as f64 / dims[axis] as f64;
    let x = normal_numbers(1, n, 0.0, 1.0);
    let mut want = wide(&x);
    for (axis, &length) in dims.iter().enumerate() {
        let (before, stride) = (want.clone(), stride(axis));
        for (e, want) in want.iter_mut().enumerate() {
            let i = e / stride % length;
            let back = |k: usize| {
                let at = |j: usize| before[e - i * stride + j * stride];
                let re: f64 = (0..length).map(|j| at(j) * turn(axis, k, j).cos()).sum();
                let im: f64 = (0..length).map(|j| -at(j) * turn(axis, k, j).sin()).sum();
                gain(axis, k) * (re * turn(axis, k, i).cos() - im * turn(axis, k, i).sin()) / length as f64
            };
            *want = (0..length).map(back).sum();
        }
    }
    let check = Check::output("grid", 0, want, Bound::Stored(F32, 1e-12), "three sums of n products in f32");
    each(&SPECTRAL_FILTER, |name, device| {
        let mut grid = tensor(device, F32, [n], &x);
        for (axis, &length) in dims.iter().enumerate() {
            let at =
                |i| (0..length).map(|k| gain(axis, k) * turn(axis, k, i).cos()).sum::<f64>() / length as f64;
            let kernel: Vec<f32> = (0..length).map(|i| at(i) as f32).collect();
            let (mut out, kernel) = (zeros(device, F32, [n]), tensor(device, F32, [1, length], &kernel));
            spectral_filter(Gate::Open, &mut out, &grid, (&kernel, 0), stride(axis)).unwrap();
            grid = out;
        }
        let nothing = Values { before: vec![], reads: vec![] };
        pass(name, &[check.judge(&nothing, &[block_on(grid.read_f32()).unwrap()])]);
    });
}
