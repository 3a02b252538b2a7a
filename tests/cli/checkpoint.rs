//! Checkpoint files as people have them: deep ones, ones of other programs, and files that are none.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::checkpoint::{checkpoint, file};
use crate::{Place, complaint, fixture, text};

const CONFIG: &str = r#"{"frames":2,"height":4,"width":4,"channels":1,"patch":2,"dim":4,"depth":2,"heads":2,"mlp_ratio":1,"classes":2,"temporal":true,"learn_sigma":false,"prediction":"velocity"}"#;

/// Writes a checkpoint after `edit` has had its header.
fn write(place: &Place, config: &str, edit: impl Fn(&mut serde_json::Map<String, Value>)) {
    let (mut header, data) = checkpoint(config);
    edit(header.as_object_mut().unwrap());
    fs::write(place.path("m.safetensors"), file(header.to_string().as_bytes(), &data)).unwrap();
}

/// The time does not grow with the square of the number of tensors.
#[test]
fn deep_models_are_inspected_at_once() {
    let place = Place::new();
    for depth in [400, 1000] {
        write(&place, &CONFIG.replace("\"depth\":2", &format!("\"depth\":{depth}")), |_| ());
        let start = Instant::now();
        let said = place.ok(&["inspect", "m.safetensors"]);
        assert!(start.elapsed() < Duration::from_secs(3), "depth {depth}: {:?}", start.elapsed());
        assert!(said.contains(&format!("{depth}, d = 4")), "{said}");
    }
}

/// Renames all tensors.
fn rename(header: &mut serde_json::Map<String, Value>, name: impl Fn(&str) -> String) {
    let old = std::mem::take(header);
    let new = |(key, value): (String, Value)| (if key == "__metadata__" { key } else { name(&key) }, value);
    *header = old.into_iter().map(new).collect();
}

#[test]
fn a_prefix_is_seen_through() {
    let place = Place::new();
    for prefix in ["module.", "model.", "_orig_mod.", "model.diffusion_model."] {
        write(&place, CONFIG, |header| rename(header, |name| format!("{prefix}{name}")));
        let said = place.ok(&["inspect", "m.safetensors"]);
        assert!(said.contains("2, d = 4"), "{said}");
    }
    // What is wrong is told with the names of the file.
    write(&place, CONFIG, |header| {
        rename(header, |name| if name == "pos_embed" { "net.step".into() } else { format!("net.{name}") });
    });
    let said = complaint(&place.run(&["inspect", "m.safetensors"]), 2);
    assert!(said.contains("net.pos_embed is missing") && said.contains("net.step is not part"), "{said}");
}

#[test]
fn names_of_another_model_are_shown_beside_ours() {
    let place = Place::new();
    write(&place, CONFIG, |header| rename(header, |name| format!("theirs_{}", name.replace('.', "_"))));
    let said = complaint(&place.run(&["inspect", "m.safetensors"]), 2);
    for words in ["none of its 33 tensors", "`theirs_blocks_0_adaLN", "`blocks.0.adaLN"] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    // Of each kind of fault some are shown, and all are counted.
    write(&place, CONFIG, |header| {
        rename(header, |name| match name.starts_with("blocks.1.") {
            true => name.replace("blocks.1.", "blocks.7."),
            false => name.into(),
        });
    });
    let said = complaint(&place.run(&["inspect", "m.safetensors"]), 2);
    assert_eq!(said.matches("is missing").count(), 4, "{said}");
    assert_eq!(said.matches("is not part of this model").count(), 4, "{said}");
    assert_eq!(said.matches("and 6 more like this").count(), 2, "{said}");
}

#[test]
fn a_configuration_is_asked_for_and_its_fields_are_told() {
    let place = Place::new();
    write(&place, CONFIG, |header| drop(header.remove("__metadata__")));
    let generate = ["generate", "--model", "m.safetensors", "--steps", "1", "--quiet"];
    let said = complaint(&place.run(&generate), 2);
    assert!(
        said.contains("do not tell how many heads") && said.contains("--config '{\"heads\": 16}'"),
        "{said}"
    );
    place.ok(&[&generate[..], &["--config", r#"{"heads": 2, "prediction": "velocity"}"#]].concat());
    fs::write(place.path("theirs.json"), r#"{"num_heads": 2}"#).unwrap();
    place.ok(&[&generate[..], &["--config", "theirs.json"]].concat());
    let said = complaint(&place.run(&[&generate[..], &["--config", "none.json"]].concat()), 2);
    assert!(said.contains("none.json") && said.contains("wanted JSON, or a file of it"), "{said}");
    // One that is no JSON is told what is.
    let said = complaint(&place.run(&[&generate[..], &["--config", "{heads: 2}"]].concat()), 2);
    let fields: Value = serde_json::from_str(CONFIG).unwrap();
    for field in fields.as_object().unwrap().keys() {
        assert!(said.contains(&format!("\"{field}\"")), "no {field} in {said:?}");
    }
    // What it shows as an example is a configuration.
    let example = &said[said.find('{').unwrap()..=said.rfind('}').unwrap()];
    let shipped = steep::model::Checkpoint::shipped().unwrap();
    assert_eq!(steep::model::Config::from_json(example).as_ref(), Ok(shipped.config()));
    // Windows' editors put a byte order mark first.
    let marked = format!("\u{feff}{example}");
    assert_eq!(steep::model::Config::from_json(&marked).as_ref(), Ok(shipped.config()));
}

#[test]
fn all_faults_of_a_configuration_are_told_at_once() {
    let place = Place::new();
    let wrong = CONFIG
        .replace("\"frames\":2", "\"frames\":0")
        .replace("\"dim\":4,", "")
        .replace("\"depth\":2", "\"depth\":\"two\"")
        .replace("\"classes\":2", "\"classes\":1e30")
        .replace("\"temporal\":true", "\"temporal\":1")
        .replace("velocity", "score");
    write(&place, CONFIG, |header| header["__metadata__"] = json!({ "config": wrong }));
    let said = complaint(&place.run(&["inspect", "m.safetensors"]), 2);
    for words in [
        "frames 0 (wanted a whole number, 1 to 65536)",
        "dim is missing",
        "depth \"two\" (wanted a whole number, 1 to 1024)",
        "classes 1e",
        "temporal 1 (wanted true or false)",
        "prediction \"score\" (wanted \"velocity\" or \"epsilon\")",
    ] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
    let wrong = CONFIG.replace("\"height\":4", "\"height\":5").replace("\"heads\":2", "\"heads\":3");
    write(&place, CONFIG, |header| header["__metadata__"] = json!({ "config": wrong }));
    let said = complaint(&place.run(&["inspect", "m.safetensors"]), 2);
    for words in ["height 5 (wanted a multiple of patch, 2)", "dim 4 (wanted a multiple of heads, 3)"] {
        assert!(said.contains(words), "no {words:?} in {said:?}");
    }
}

#[test]
fn files_of_other_kinds_are_recognised() {
    let place = Place::new();
    let lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n";
    for (name, bytes, words) in [
        ("a.safetensors", lfs.as_bytes(), "a Git LFS pointer"),
        ("b.safetensors", b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page"),
        ("c.pt", b"PK\x03\x04\x00\x00\x08\x08archive/data.pkl and so on", "a PyTorch file"),
        ("d.ckpt", b"\x80\x02}q\x00(X\x05\x00\x00\x00modelq", "a PyTorch file"),
        ("e.gguf", b"GGUF\x03\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00", "a GGUF file"),
        ("m.index.json", br#"{"metadata":{},"weight_map":{"a":"b"}}"#, "in several files"),
        ("f.json", br#"{"dim": 192, "depth": 6}"#, "is JSON text"),
        ("g.safetensors", b"", "is empty"),
        ("h.safetensors", b"a few words that are no header", "not a whole safetensors file"),
    ] {
        fs::write(place.path(name), bytes).unwrap();
        for args in [&["inspect", name][..], &["generate", "--model", name], &["compare", "--digits", name]] {
            let said = complaint(&place.run(args), 2);
            assert!(said.starts_with(&format!("{name}: ")) && said.contains(words), "{said:?}");
        }
    }
}

#[test]
fn any_file_of_tensors_is_listed() {
    let place = Place::new();
    let other = fixture("tiny-latte.fixture");
    let out = place.run(&["inspect", &other, "--tensors"]);
    let said = text(&out.stdout);
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    assert!(
        said.lines().any(|line| line.trim().starts_with("gate_signal  ") && line.contains("F32")),
        "{said}"
    );
    assert!(said.lines().last().unwrap().starts_with("not a model: "), "{said}");
    let json: Value = serde_json::from_str(&place.ok(&["inspect", &other, "--tensors", "--json"])).unwrap();
    assert!(json["not_a_model"].as_str().unwrap().contains("tensors has a name of this model"));
    assert!(json["tensors"].as_array().unwrap().iter().any(|t| t["name"] == "gate_signal"));
    // Without --tensors it is an error, and so is a file of no tensors.
    assert!(complaint(&place.run(&["inspect", &other]), 2).contains("tensors has a name of this model"));
    fs::write(place.path("x"), "x").unwrap();
    complaint(&place.run(&["inspect", "x", "--tensors"]), 2);
}

#[test]
fn classes_are_asked_for_by_name() {
    let place = Place::new();
    write(&place, &CONFIG.replace("\"classes\":2", "\"classes\":1000"), |_| ());
    let generate = ["generate", "--model", "m.safetensors", "--steps", "1", "--class"];
    let said = place.ok(&[&generate[..], &["Golden Retriever"]].concat());
    assert!(said.contains("class 207"), "{said}");
    let said = complaint(&place.run(&[&generate[..], &["crane"]].concat()), 2);
    assert!(said.contains("class 'crane': wanted one of them: 134 is crane; 517 is crane"), "{said}");
}

/// A model of no classes draws without one, whether that is said or not.
#[test]
fn a_model_may_have_no_classes() {
    let place = Place::new();
    write(&place, &CONFIG.replace("\"classes\":2", "\"classes\":0"), |_| ());
    let record = |args: &[&str]| -> Value {
        let base = ["generate", "--model", "m.safetensors", "--steps", "2", "--quiet", "--json", "-"];
        serde_json::from_str(&place.ok(&[&base[..], args].concat())).unwrap()
    };
    for args in [&[][..], &["--class", "none"], &["--class", "0"]] {
        assert_eq!(record(args)["class"], "none", "{args:?}");
    }
    let said = complaint(&place.run(&["generate", "--model", "m.safetensors", "--class", "1"]), 2);
    assert!(said.contains("class 1: wanted none: this model has no classes"), "{said}");
    assert!(place.ok(&["inspect", "m.safetensors"]).contains("classes     none"));
}
