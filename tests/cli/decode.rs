//! From a published pipeline to pictures: `generate` with a decoder, previews, and `decode`.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Place, complaint, tensor};

fn published(name: &str) -> String {
    format!("{}/tests/fixtures/published/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// `generate` of a picture with the small pipeline of diffusers, whose folder has a decoder.
fn draw<'a>(folder: &'a str, more: &'a str) -> Vec<&'a str> {
    let model = ["generate", "--model", folder, "--class", "1", "--steps", "6", "--guidance", "2"];
    model.into_iter().chain(more.split_whitespace()).collect()
}

/// Columns and rows of a PNG.
fn size(path: &Path) -> [u32; 2] {
    let bytes = fs::read(path).unwrap();
    assert_eq!(&bytes[12..16], b"IHDR");
    [16, 20].map(|at| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()))
}

/// Latents of 8×8, of which the decoder makes 32×32 pixels.
#[test]
fn a_pipeline_draws_pictures_with_its_own_decoder() {
    let (place, folder) = (Place::new(), published("diffusers"));
    let said = place.ok(&draw(&folder, "--cache tea:0.2:identity --compare --out both.png"));
    assert!(said.contains("pictures of 32×32 pixels by vae (diffusers' AutoencoderKL)"), "{said}");
    assert_eq!(size(&place.path("both.png")), [8 * 65, 8 * 32]);

    let record = place.ok(&draw(&folder, "--quiet --out one.png --json -"));
    let record: Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["decoder"], "vae (diffusers' AutoencoderKL)");

    // The same in two parts.
    place.ok(&draw(&folder, "--quiet --out latents.safetensors"));
    assert_eq!(tensor(&place.path("latents.safetensors"), "video").0, [1, 4, 8, 8]);
    let vae = published("diffusers");
    place.ok(&["decode", "latents.safetensors", "--vae", &vae, "--out", "again.png"]);
    assert_eq!(fs::read(place.path("again.png")).unwrap(), fs::read(place.path("one.png")).unwrap());
    place.ok(&["decode", "latents.safetensors", "--vae", &vae, "--quiet", "--out", "pictures.safetensors"]);
    assert_eq!(tensor(&place.path("pictures.safetensors"), "video").0, [1, 3, 32, 32]);

    // Another decoder, by name; it doubles once.
    let tiny = published("taesd_decoder.pth");
    place.ok(&draw(&folder, &format!("--vae {tiny} --scale 1 --out tiny.png")));
    assert_eq!(size(&place.path("tiny.png")), [16, 16]);
}

/// What is compared is pictures where a decoder makes them, and latents where it is told not to.
#[test]
fn policies_are_compared_by_their_pictures() {
    let (place, folder) = (Place::new(), published("diffusers"));
    let run = |verb: &[&str], more: &str| {
        let model = ["--model", &folder, "--steps", "6", "--guidance", "2", "--quiet", "--json"];
        let words: Vec<&str> = verb.iter().copied().chain(model).chain(more.split_whitespace()).collect();
        serde_json::from_str::<Value>(&place.ok(&words)).unwrap()
    };
    // The same clip by `generate`, as pictures and as latents.
    let generate = |out: &str| {
        let cache = format!("- --cache tea:0.3:identity --compare --out {out}");
        run(&["generate", "--class", "0", "--seed", "3"], &cache)["psnr"].as_f64().unwrap()
    };
    let (pictures, latents) = (generate("both.png"), generate("both.safetensors"));
    assert!((pictures - latents).abs() > 0.1, "{pictures} and {latents}");
    let compare = |more: &str| {
        let options = format!("--seeds 1 --first-seed 3 --classes 0 {more}");
        run(&["compare", "tea:0.3:identity"], &options)
    };
    let psnr = |results: &Value| results["rows"][1]["psnr"]["value"].as_f64().unwrap();
    let (of_pictures, of_latents) = (compare("--out a"), compare("--vae none --out b"));
    assert_eq!(psnr(&of_pictures), pictures);
    assert_eq!(psnr(&of_latents), latents);
    assert_eq!(of_pictures["settings"]["decoder"], "vae (diffusers' AutoencoderKL)");
    assert_eq!(of_latents["settings"]["decoder"], Value::Null);
    // Four times as large.
    let columns = |folder: &str| {
        let gif = fs::read(place.path(folder).join("clips.gif")).unwrap();
        u16::from_le_bytes([gif[6], gif[7]])
    };
    assert!(columns("a") > columns("b"), "{} and {}", columns("a"), columns("b"));
    let said = place.ok(&["compare", "--merge", "a/rounds.jsonl", "--out", "a"]);
    assert!(said.contains("guidance 2.0; pictures by vae (diffusers' AutoencoderKL)"), "{said}");
    // Pictures and latents are not mixed in one folder.
    let line = complaint(
        &place.run(&[
            "compare",
            "tea:0.3:identity",
            "--model",
            &folder,
            "--steps",
            "6",
            "--guidance",
            "2",
            "--seeds",
            "2",
            "--first-seed",
            "3",
            "--classes",
            "0",
            "--vae",
            "none",
            "--out",
            "a",
        ]),
        2,
    );
    assert!(line.contains("decoder"), "{line}");

    let calibrate = |vae: &str| {
        let options =
            format!("--seeds 2 --classes 0 --target-psnr 20 --target-clips 1 --out {vae}.json --vae {vae}");
        run(&["calibrate"], &options)["targets"][0]["psnr"].as_f64().unwrap()
    };
    let own = published("diffusers");
    let found = run(
        &["calibrate", "--vae", &own],
        "--seeds 2 --classes 0 --target-psnr 20 --target-clips 1 --out pictures.json",
    );
    assert!(found["targets"][0]["psnr"].as_f64().unwrap() != calibrate("none"));
}

#[test]
fn previews_show_what_the_clip_will_be() {
    let (place, folder) = (Place::new(), published("diffusers"));
    // Without a small decoder, a pixel for each latent.
    place.ok(&draw(&folder, "--preview now.png --preview-every 3 --scale 1"));
    assert_eq!(size(&place.path("now.png")), [8, 8]);
    let tiny = published("taesd");
    let with = |every: &str, gate: &str| {
        let options =
            format!("--preview now.png --preview-every {every} --preview-vae {tiny} --scale 1 --gate {gate}");
        place.ok(&draw(&folder, &format!("{options} --cache tea:0.2:identity --out latents.safetensors")));
        assert_eq!(size(&place.path("now.png")), [16, 16]);
        fs::read(place.path("now.png")).unwrap()
    };
    // The last of six steps estimates the clip itself; the first does not.
    let last = with("5", "host");
    place.ok(&["decode", "latents.safetensors", "--vae", &tiny, "--scale", "1", "--out", "end.png"]);
    assert_eq!(last, fs::read(place.path("end.png")).unwrap());
    assert_eq!(last, with("5", "device"));
    assert_ne!(last, with("6", "host"));
    // Clips that are pictures need no decoder.
    place.ok(&["generate", "--steps", "2", "--preview", "grey.gif"]);
    assert!(fs::read(place.path("grey.gif")).unwrap().starts_with(b"GIF89a"));
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let (place, folder) = (Place::new(), published("diffusers"));
    let refused = |more: &str, words: &str| {
        let line = complaint(&place.run(&draw(&folder, more)), 2);
        assert!(line.contains(words), "{more}: {line}");
        assert!(place.names().is_empty(), "{:?}", place.names());
    };
    refused("--vae none --out x.png", "clips have 4 channels, which are no colours; wanted");
    refused("--vae nowhere --out x.png", "nowhere");
    refused(&format!("--vae {} --out x.png", published("dit.safetensors")), "is no decoder");
    refused("--preview x.safetensors", "x.safetensors: wanted a name that ends in .gif, .png or .y4m");
    refused("--preview x.png --compare", "--compare");
    refused("--preview x.png --out x.png", "x.png: is named twice");
    refused("--preview-every 2", "--preview");
    let line = complaint(
        &place.run(&["decode", &published("kl.expected.safetensors"), "--vae", &folder, "--out", "x.png"]),
        2,
    );
    assert!(line.contains("has no `video`"), "{line}");
}
