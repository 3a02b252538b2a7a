use steep::device::Gate;
use steep::ops::{EASY_DISTANCE, EasySums, PARTIALS, easy_distance};
use steep::{DType::*, oracle};

use crate::*;

fn sums(on: &On, x: &[Vec<f32>; 4]) -> EasySums {
    let [moved, inputs, outputs, sizes] = x.each_ref().map(|x| on.f32([x.len() / 2, 2], x));
    EasySums { moved, inputs, outputs, sizes }
}

fn data(pairs: usize) -> [Vec<f32>; 4] {
    [1, 2, 3, 4].map(|seed| oracle::data(seed, 2 * pairs, 4.0, 1.0))
}

#[test]
fn agrees_with_the_oracle() {
    for pairs in [1, 7, 64, 65, PARTIALS, 1025] {
        let x = data(pairs);
        let [a, b, c, d] = x.each_ref().map(|x| wide(x));
        let want = oracle::easy_distance(&a, &b, &c, &d);
        for on in sources(&EASY_DISTANCE) {
            let mut pair = on.out(F32, [1, 2]);
            easy_distance(Gate::Open, &mut pair, &sums(&on, &x)).unwrap();
            let case = format!("{}, {pairs} pairs", on.case(F32, pairs, 0.0));
            let got = wide(&values(&case, &pair));
            relative(&case, "change", got[0], want[0], 2e-6);
            relative(&case, "size", got[1], want[1], 2e-6);
        }
    }
}

/// Each of the four sums has its place: 2·3 over 5·7.
#[test]
fn a_case_by_hand() {
    let x = [
        vec![1.0, 9.0, 2.0, 9.0],
        vec![5.0, 9.0, 0.0, 9.0],
        vec![2.0, 9.0, 0.0, 9.0],
        vec![9.0, 3.0, 9.0, 4.0],
    ];
    for on in sources(&EASY_DISTANCE) {
        let mut pair = on.out(F32, [1, 2]);
        easy_distance(Gate::Open, &mut pair, &sums(&on, &x)).unwrap();
        assert_eq!(values("by hand", &pair), [6.0, 35.0]);
    }
}

#[test]
fn gated() {
    let x = data(5);
    gates(
        &EASY_DISTANCE,
        |on| [on.out(F32, [1, 2])],
        |on, gate, [pair]| easy_distance(gate, pair, &sums(on, &x)),
    );
}

#[test]
fn refused() {
    for on in sources(&EASY_DISTANCE) {
        let check = |message: &str, pair: Tensor, moved: Tensor, sizes: Tensor| {
            let (inputs, outputs) = (on.zeros(F32, [4, 2]), on.zeros(F32, [4, 2]));
            let sums = EasySums { moved, inputs, outputs, sizes };
            refuses(&on, message, &mut [pair], |[pair]| easy_distance(Gate::Open, pair, &sums));
        };
        let t = |dtype, n, m| on.zeros(dtype, [n, m]);
        let name = "easy_distance";
        check(
            &format!("{name}: pair: wanted f32 [1, 2], got f32 [2, 2]"),
            t(F32, 2, 2),
            t(F32, 4, 2),
            t(F32, 4, 2),
        );
        check(
            &format!("{name}: sizes: wanted f32 [4, 2], got f32 [3, 2]"),
            t(F32, 1, 2),
            t(F32, 4, 2),
            t(F32, 3, 2),
        );
        check(
            &format!("{name}: partials: wanted f32 [P, 2], P > 0, got f32 [0, 2]"),
            t(F32, 1, 2),
            t(F32, 0, 2),
            t(F32, 4, 2),
        );
    }
}
