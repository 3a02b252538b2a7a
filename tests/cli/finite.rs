//! Numbers that a type cannot hold: refused or found, and named, by every verb. No table, clip or file has a NaN.

use std::fs;

use crate::{Place, complaint, fixture, tensor};

/// The small Latte, with some values of a tensor of f32 replaced.
fn with(place: &Place, name: &str, places: impl Iterator<Item = usize>, value: f32) -> String {
    let mut bytes = fs::read(fixture("tiny-latte")).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap().data();
    let (start, end) = (data.as_ptr() as usize - bytes.as_ptr() as usize, data.len());
    for at in places {
        assert!(4 * at < end);
        bytes[start + 4 * at..][..4].copy_from_slice(&value.to_le_bytes());
    }
    let path = place.path("model.safetensors");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_string()
}

/// Inputs for `forward`, one clip.
fn input(place: &Place, x: f32, t: f32) -> String {
    use safetensors::tensor::{Dtype, TensorView};
    let (x, t, y) = (x.to_le_bytes().repeat(360), t.to_le_bytes(), 0i64.to_le_bytes());
    let view = |dtype, shape: &[usize], bytes| TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let tensors = [
        ("x", view(Dtype::F32, &[1, 3, 2, 10, 6], &x)),
        ("t", view(Dtype::F32, &[1], &t)),
        ("y", view(Dtype::I64, &[1], &y)),
    ];
    let path = place.path("in.safetensors");
    fs::write(&path, safetensors::serialize(tensors, None).unwrap()).unwrap();
    path.to_str().unwrap().to_string()
}

/// What every verb that runs a model does with this one.
fn verbs<'a>(model: &'a str, input: &'a str, dtype: &'a str) -> [Vec<&'a str>; 4] {
    let all = ["--model", model, "--dtype", dtype, "--device", "cpu"];
    let clips = [&all[..], &["--steps", "3"]].concat();
    [
        [&["generate", "--out", "clip.safetensors", "--compare", "--quiet"][..], &clips].concat(),
        [&["forward", input, "--out", "x.safetensors"][..], &all].concat(),
        // In one folder: a model that was refused in a type leaves nothing there that another type would disagree with.
        [&["compare", "uniform:2", "--seeds", "1", "--out", "c", "--quiet"][..], &clips].concat(),
        [&["calibrate", "--seeds", "1", "--out", "x.json", "--quiet"][..], &clips].concat(),
    ]
}

#[test]
fn weights_beyond_the_type_are_named() {
    let place = Place::new();
    let model = with(&place, "blocks.1.mlp.fc1.weight", 0..1, 1e5);
    let input = input(&place, 0.5, 500.0);
    for args in verbs(&model, &input, "f16") {
        let said = complaint(&place.run(&args), 2);
        for word in ["blocks.1.mlp.fc1.weight", "element 0 is 100000", "f16 goes to 65504", "wanted bf16"] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(!place.path("clip.safetensors").exists() && !place.path("x.safetensors").exists());
    }
    for args in verbs(&model, &input, "bf16") {
        let out = place.run(&args);
        assert!(out.status.success(), "{}", crate::text(&out.stderr));
    }
    assert!(tensor(&place.path("x.safetensors"), "out").1.iter().all(|x| x.is_finite()));
}

#[test]
fn activations_beyond_the_type_are_found() {
    let place = Place::new();
    // Each weight fits, one for each channel. Times a channel above 1.1 it does not.
    let model = with(&place, "blocks.1.mlp.fc1.weight", (0..96).map(|i| 97 * i), 6e4);
    let input = input(&place, 0.5, 500.0);
    for args in verbs(&model, &input, "f16") {
        let said = complaint(&place.run(&args), 2);
        for word in ["values are not finite", "went beyond 65504, the largest of f16", "wanted bf16 or f32"] {
            assert!(said.contains(word), "no {word:?} in {said}");
        }
        assert!(!place.path("clip.safetensors").exists() && !place.path("x.safetensors").exists());
    }
    for args in verbs(&model, &input, "f32") {
        let out = place.run(&args);
        assert!(out.status.success(), "{args:?} {}", crate::text(&out.stderr));
    }
}

#[test]
fn inputs_that_are_no_numbers_are_refused() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    for (x, t, words) in [
        (f32::NAN, 1.0, "x: element 0 is NaN; wanted finite numbers"),
        (0.0, f32::INFINITY, "t: element 0 is inf; wanted finite numbers"),
    ] {
        let input = input(&place, x, t);
        let out = place.run(&["forward", &input, "--model", &model, "--out", "x.safetensors"]);
        let said = complaint(&out, 2);
        assert!(said.contains(words), "{said}");
    }
    // A guidance that is a number, and makes clips that are none.
    let model = fixture("tiny-dit");
    let args = ["--model", &model, "--steps", "4", "--guidance", "3.4e38", "--out", "clip.safetensors"];
    let out = place.run(&[&["generate"][..], &args].concat());
    let said = complaint(&out, 2);
    assert!(said.contains("the clip: ") && said.contains("values are not finite"), "{said}");
    assert_eq!(place.names(), ["in.safetensors"]);
}
