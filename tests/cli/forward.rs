//! `steep forward`.

use std::collections::HashMap;
use std::fs;

use safetensors::{Dtype, tensor::TensorView};

use crate::{Place, complaint, fixture, tensor};

fn largest_error((shape, a): (Vec<usize>, Vec<f32>), (wanted, b): (Vec<usize>, Vec<f32>)) -> f32 {
    assert_eq!(shape, wanted);
    a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn agrees_with_pytorch() {
    let place = Place::new();
    for name in ["tiny-latte", "tiny-dit", "moving-mnist-32"] {
        let input = fixture(&format!("{name}.fixture"));
        let model = match name {
            "moving-mnist-32" => {
                concat!(env!("CARGO_MANIFEST_DIR"), "/models/moving-mnist-32.safetensors").into()
            }
            _ => fixture(name),
        };
        place.ok(&["forward", &input, "--model", &model, "--out", "out.safetensors"]);
        for result in ["out", "gate_signal"] {
            let ours = tensor(&place.path("out.safetensors"), result);
            let error = largest_error(ours, tensor(input.as_ref(), result));
            assert!(error <= 2e-5, "{name} {result}: {error}");
        }
    }
    // Without --model, the shipped one: as the last of the three.
    let input = fixture("moving-mnist-32.fixture");
    place.ok(&["forward", &input, "--out", "again.safetensors"]);
    let [a, b] = ["out.safetensors", "again.safetensors"].map(|n| fs::read(place.path(n)).unwrap());
    assert!(a == b);
}

/// A file of x, t and y with these types, shapes and bytes.
fn inputs(place: &Place, tensors: &[(&str, Dtype, &[usize], &[u8])]) -> String {
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.to_vec(), bytes).unwrap()));
    let path = place.path("in.safetensors");
    fs::write(&path, safetensors::serialize(views, None::<HashMap<_, _>>).unwrap()).unwrap();
    path.to_str().unwrap().to_string()
}

#[test]
fn takes_other_types() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let mut results = Vec::new();
    let (halves, wholes) = (vec![0x3cu8; 720], vec![0u8; 1440]);
    let ones = |bytes: &[u8]| bytes.repeat(2);
    for (x, t, y) in [
        ((Dtype::F32, &wholes), (Dtype::F32, ones(&7f32.to_le_bytes())), (Dtype::U8, vec![1, 3])),
        (
            (Dtype::F16, &wholes),
            (Dtype::F64, ones(&7f64.to_le_bytes())),
            (Dtype::I32, vec![1, 0, 0, 0, 3, 0, 0, 0]),
        ),
        ((Dtype::BF16, &halves), (Dtype::F16, vec![0x00, 0x47, 0x00, 0x47]), (Dtype::U16, vec![1, 0, 3, 0])),
    ] {
        let x_bytes: Vec<u8> = match x.0 {
            Dtype::F32 => x.1.repeat(2),
            _ => vec![0; 1440],
        };
        let shape = [2, 3, 2, 10, 6];
        let input =
            inputs(&place, &[("x", x.0, &shape, &x_bytes), ("t", t.0, &[2], &t.1), ("y", y.0, &[2], &y.1)]);
        place.ok(&["forward", &input, "--model", &model, "--out", "out.safetensors"]);
        results.push(tensor(&place.path("out.safetensors"), "out"));
    }
    assert!(results.iter().all(|r| *r == results[0]));
}

#[test]
fn says_what_is_wrong_with_its_inputs() {
    let place = Place::new();
    fs::write(place.path("out.safetensors"), "kept").unwrap();
    let model = fixture("tiny-latte");
    let (x, t, y) = (vec![0u8; 1440], 0f32.to_le_bytes(), 0i64.to_le_bytes());
    let (clip, far) = ([1, 3, 2, 10, 6], (-1i64).to_le_bytes());
    let good_x = ("x", Dtype::F32, &clip[..], &x[..]);
    let (good_t, good_y) = (("t", Dtype::F32, &[1][..], &t[..]), ("y", Dtype::I64, &[1][..], &y[..]));
    let none: &[u8] = &[];
    for (tensors, words) in [
        (&[good_t, good_y][..], "no tensor `x`; wanted x [B, 3, 2, 10, 6]"),
        (&[good_x, good_t], "no tensor `y`"),
        (&[("x", Dtype::F32, &[1, 3, 2, 6, 10], &x), good_t, good_y], "x is [1, 3, 2, 6, 10]; wanted"),
        (&[("x", Dtype::F32, &[0, 3, 2, 10, 6], none), good_t, good_y], "B at least 1"),
        (&[("x", Dtype::I32, &clip, &x), good_t, good_y], "x is I32; wanted F32"),
        (&[good_x, ("t", Dtype::F32, &[1, 1], &t), good_y], "t is [1, 1]; wanted [1]"),
        (&[good_x, good_t, ("y", Dtype::F64, &[1], &y)], "y is F64; wanted integers"),
        (&[good_x, good_t, ("y", Dtype::I64, &[1], &far)], "y has -1; wanted 0 to 3"),
        (&[good_x, good_t, ("y", Dtype::U8, &[1], &[5])], "y has 5; wanted 0 to 3"),
    ] {
        let input = inputs(&place, tensors);
        let out = place.run(&["forward", &input, "--model", &model, "--out", "out.safetensors"]);
        let said = complaint(&out, 2);
        assert!(said.contains("in.safetensors") && said.contains(words), "{said}");
    }
    let out = place.run(&["forward", "none.safetensors", "--out", "out.safetensors"]);
    assert!(complaint(&out, 2).contains("none.safetensors"));
    assert_eq!(fs::read_to_string(place.path("out.safetensors")).unwrap(), "kept");
}
