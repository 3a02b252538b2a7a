use steep::device::Gate;
use steep::ops::{TEMPORAL_EMBED, temporal_embed};
use steep::{DType::*, oracle};

use crate::*;

#[test]
fn agrees_with_the_oracle() {
    for shape in [
        [1, 1, 1, 1],
        [2, 3, 1, 3],
        [1, 1, 5, 16],
        [2, 2, 15, 17],
        [1, 5, 33, 72],
        [3, 2, 65, 193],
        [2, 3, 35, 64],
    ] {
        for offset in OFFSETS {
            let [_, f, _, d] = shape;
            let x = normal(1, F32, shape.iter().product(), offset, 1.0);
            let table = normal(2, F32, f * d, offset, 1.0);
            let want = oracle::temporal_embed(&x.wide, &table.wide, shape);
            for on in sources(&TEMPORAL_EMBED) {
                let mut out = on.inout(F32, shape, &x.x);
                temporal_embed(Gate::Open, &mut out, &on.f32([f, d], &table.x)).unwrap();
                exact(&on.case(F32, shape, offset), "x", &out, &want);
            }
        }
    }
}

#[test]
fn gated() {
    let (x, table) = (oracle::data(1, 42, 0.0, 1.0), oracle::data(2, 6, 0.0, 1.0));
    let outputs = |on: &On| [on.inout(F32, [1, 2, 7, 3], &x)];
    gates(&TEMPORAL_EMBED, outputs, |on, gate, [x]| temporal_embed(gate, x, &on.f32([2, 3], &table)));
}

#[test]
fn refused() {
    for on in sources(&TEMPORAL_EMBED) {
        let check = |message: &str, x: Tensor, table: Tensor| {
            refuses(&on, message, &mut [x], |[x]| temporal_embed(Gate::Open, x, &table));
        };
        let (x, table) = (|| on.out(F32, [1, 2, 3, 4]), |f, d| on.zeros(F32, [f, d]));
        check(
            "temporal_embed: x: wanted 4 dimensions, got f32 [2, 3, 4]",
            on.out(F32, [2, 3, 4]),
            table(2, 4),
        );
        let message = "temporal_embed: x: wanted f32 [1, 2, 3, 4], got bf16 [1, 2, 3, 4]";
        check(message, on.out(BF16, [1, 2, 3, 4]), table(2, 4));
        check("temporal_embed: table: wanted f32 [2, 4], got f32 [3, 4]", x(), table(3, 4));
        check("temporal_embed: table: wanted f32 [2, 4], got f32 [2, 5]", x(), table(2, 5));
        check("temporal_embed: table: wanted f32 [2, 4], got f16 [2, 4]", x(), on.zeros(F16, [2, 4]));
    }
}
