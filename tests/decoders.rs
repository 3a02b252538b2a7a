//! Decoders from their own files, against the pictures of their own code: `reference/published.py` made both.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use steep::model::{Decoder, DecoderFile, TensorFile};
use steep::video::Video;
use steep::{DType, Device};

mod common;
use common::devices;

/// Each file or folder, and whose pictures it must give.
const ALL: [(&str, &str); 5] = [
    ("diffusers", "kl"),
    ("kl-old.safetensors", "kl"),
    ("kl-own.ckpt", "kl"),
    ("taesd", "taesd"),
    ("taesd_decoder.pth", "taesd"),
];

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/published").join(name)
}

fn numbers(expected: &str, name: &str) -> Vec<f32> {
    let file = TensorFile::open(path(&format!("{expected}.expected.safetensors"))).unwrap();
    file.data(name).unwrap().as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect()
}

/// Two frames of 6×10 latents.
fn latents(expected: &str) -> Video {
    Video::new(2, 4, 6, 10, numbers(expected, "z")).unwrap()
}

/// A file that does not say its groups is of 32: these have two, which the folder says.
fn open(name: &str) -> Result<DecoderFile, steep::Error> {
    match name.starts_with("kl") {
        false => DecoderFile::open(path(name)),
        true => {
            let folder = tempfile::tempdir().unwrap();
            fs::copy(path("diffusers/vae/config.json"), folder.path().join("config.json")).unwrap();
            fs::copy(path(name), folder.path().join(name)).unwrap();
            DecoderFile::open(folder.path().join(name))
        }
    }
}

fn decode(decoder: &Decoder, clip: &Video) -> Video {
    pollster::block_on(decoder.video(clip, &mut |_| Ok(()))).unwrap()
}

#[test]
fn decoders_give_the_pictures_of_their_own_code() {
    for device in devices() {
        for (name, expected) in ALL {
            let file = open(name).unwrap();
            let scale = file.scale();
            let pictures = decode(&file.load(&device, DType::F32).unwrap(), &latents(expected));
            assert_eq!(pictures.shape(), [2, 3, 6 * scale, 10 * scale]);
            let theirs = numbers(expected, "out");
            let largest = theirs.iter().fold(0.0f32, |all, x| all.max(x.abs()));
            let worst = pictures.data.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            println!("{name} on {}: {:.1e} of {largest}", device.name(), worst / largest);
            assert!(worst <= 1e-4 * largest, "{name} on {}: {worst} of {largest}", device.name());
        }
    }
}

/// In 16 bits pictures are the same but for what such numbers round.
#[test]
fn decoders_run_in_every_type() {
    for (name, expected) in [ALL[0], ALL[3]] {
        let exact = numbers(expected, "out");
        let size = exact.iter().map(|x| f64::from(x * x)).sum::<f64>();
        for (dtype, bound) in [(DType::F16, 1e-5), (DType::BF16, 1e-3)] {
            let decoder = open(name).unwrap().load(&Device::cpu(), dtype).unwrap();
            let pictures = decode(&decoder, &latents(expected)).data;
            let error = pictures.iter().zip(&exact).map(|(a, b)| f64::from((a - b) * (a - b))).sum::<f64>();
            assert!(error / size < bound, "{name} in {dtype}: {:.1e}", error / size);
        }
    }
}

/// A copy of a decoder's file with some tensors changed.
fn changed(change: impl Fn(&mut Vec<(String, Vec<usize>)>)) -> String {
    let file = TensorFile::open(path("diffusers/vae/diffusion_pytorch_model.safetensors")).unwrap();
    let mut all: Vec<_> = file.tensors().into_iter().map(|(name, _, shape)| (name, shape)).collect();
    change(&mut all);
    let zeros = |shape: &[usize]| vec![0u8; 4 * shape.iter().product::<usize>()];
    let data: Vec<_> = all.iter().map(|(_, shape)| zeros(shape)).collect();
    let views = all.iter().zip(&data).map(|((name, shape), data)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), data).unwrap())
    });
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().join("decoder.safetensors");
    serialize_to_file(views, None, &at).unwrap();
    fs::copy(path("diffusers/vae/config.json"), folder.path().join("config.json")).unwrap();
    DecoderFile::open(&at).err().map_or("nothing".into(), |e| e.to_string())
}

#[test]
fn what_is_no_decoder_is_refused_in_one_line() {
    assert_eq!(changed(|_| ()), "nothing");
    let conv = "decoder.up_blocks.1.resnets.0.conv2.weight";
    let says = |said: String, words: &str| assert!(said.contains(words), "{said}");
    says(changed(|all| all.retain(|(name, _)| name != conv)), &format!("{conv} is missing"));
    says(
        changed(|all| all.iter_mut().filter(|(name, _)| name == conv).for_each(|(_, shape)| shape[1] = 7)),
        &format!("{conv} is [8, 7, 3, 3] (wanted [8, 8, 3, 3])"),
    );
    says(
        changed(|all| all.push(("decoder.up_blocks.0.attentions.0.to_q.weight".into(), vec![2, 2]))),
        "decoder.up_blocks.0.attentions.0.to_q.weight is not part of this decoder",
    );
    says(
        changed(|all| {
            all.iter_mut().filter(|(name, _)| name == "decoder.conv_out.weight").for_each(|(_, s)| s[0] = 4)
        }),
        "decoder.conv_out.bias is [3] (wanted [4])",
    );
    let of = |path: &Path| DecoderFile::open(path).err().expect("an error").to_string();
    says(of(&path("dit.safetensors")), "is no decoder: it has `blocks.0.adaLN_modulation.1.bias`");
    says(of(&path("nothing-here")), "nothing-here");

    // A configuration of another decoder; groups that do not divide the channels; a scale that nothing says.
    let text = fs::read_to_string(path("diffusers/vae/config.json")).unwrap();
    let with = |from: &str, to: &str| {
        let folder = tempfile::tempdir().unwrap();
        let name = "diffusion_pytorch_model.safetensors";
        fs::copy(path("diffusers/vae").join(name), folder.path().join(name)).unwrap();
        assert!(text.contains(from), "{from} is not there");
        fs::write(folder.path().join("config.json"), text.replace(from, to)).unwrap();
        of(folder.path())
    };
    says(with("\"AutoencoderKL\"", "\"AutoencoderKLWan\""), "_class_name is \"AutoencoderKLWan\"; wanted");
    says(with("\"norm_num_groups\": 2", "\"norm_num_groups\": 32"), "in each of 32 groups");
    says(with("\"scaling_factor\": 0.18215", "\"scaling_factor\": 0"), "0 is its latents' `scaling_factor`");
}

#[test]
fn latents_of_other_channels_are_refused() {
    let decoder = open("taesd").unwrap().load(&Device::cpu(), DType::F32).unwrap();
    let clip = Video::new(1, 1, 6, 10, vec![0.0; 60]).unwrap();
    let said = pollster::block_on(decoder.video(&clip, &mut |_| Ok(()))).unwrap_err().to_string();
    assert!(said.contains("latents of 1 channels: wanted 4 channels"), "{said}");
}
