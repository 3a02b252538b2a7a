//! `--device wgpu`: any GPU, and software adapters.

use serde_json::Value;

use crate::{Place, STEEP, common, fixture, tensor, text};

/// Whether there is an adapter to test with.
fn adapter() -> bool {
    common::devices().iter().any(|d| d.name().starts_with("wgpu"))
}

#[test]
fn the_clip_and_the_skip_map_are_the_cpus() {
    if !adapter() {
        return;
    }
    let place = Place::new();
    let run = |device: &str, gate: &str| {
        let name = format!("{}-{gate}", device.replace(':', "-"));
        place.generate(&format!(
            "--steps 8 --cache tea:0.5 --compare --device {device} --gate {gate} --out {name}.safetensors --json {name}.json"
        ));
        let record: Value =
            serde_json::from_slice(&std::fs::read(place.path(&format!("{name}.json"))).unwrap()).unwrap();
        let path = place.path(&format!("{name}.safetensors"));
        (record, tensor(&path, "video").1, tensor(&path, "uncached").1)
    };
    let decisions = |record: &Value| {
        let steps = record["steps"].as_array().unwrap();
        steps.iter().map(|step| step["decision"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let (cpu, cpu_video, cpu_uncached) = run("cpu", "host");
    for device in ["wgpu", "wgpu:core"] {
        let (host, video, uncached) = run(device, "host");
        assert!(host["device"].as_str().unwrap().starts_with("wgpu:0"));
        assert_eq!(decisions(&host), decisions(&cpu), "{device}");
        assert!(decisions(&host).iter().any(|d| d == "S"));
        for (a, b) in video.iter().chain(&uncached).zip(cpu_video.iter().chain(&cpu_uncached)) {
            assert!((a - b).abs() < 1e-4, "{device}: {a}, on the CPU {b}");
        }
        let (gated, gated_video, _) = run(device, "device");
        assert_eq!(decisions(&gated), decisions(&host), "{device}");
        assert!(gated_video == video, "{device}: the gate's place changes the clip");
    }
}

#[test]
fn no_adapter_is_one_clear_error() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let without = |args: &[&str]| {
        let mut command = place.command(args);
        // No driver is found here; elsewhere than on Linux the variables mean nothing.
        command
            .env("VK_DRIVER_FILES", "/nowhere.json")
            .env("VK_ICD_FILENAMES", "/nowhere.json")
            .output()
            .unwrap()
    };
    if !cfg!(target_os = "linux") {
        return;
    }
    let out = without(&["generate", "--model", &model, "--device", "wgpu", "--out", "x.safetensors"]);
    assert_eq!(out.status.code(), Some(2));
    let why = "no adapter: install a Vulkan driver (Mesa's mesa-vulkan-drivers renders on the CPU)";
    assert_eq!(text(&out.stderr), format!("steep: device wgpu: {why}\n"));
    assert!(place.names().is_empty(), "partial output");
    let out = without(&["generate", "--model", &model, "--steps", "2", "--out", "x.safetensors"]);
    assert!(out.status.success() && out.stderr.is_empty(), "{}", text(&out.stderr));
    let out = without(&["devices"]);
    assert!(text(&out.stdout).starts_with("cpu ") && text(&out.stdout).lines().count() == 1);
}

#[test]
fn adapters_are_listed_and_benchmarked() {
    if !adapter() {
        return;
    }
    let place = Place::new();
    let listed = place.ok(&["devices"]);
    assert!(
        listed.lines().any(|l| l.starts_with("wgpu:0 ")) && listed.lines().any(|l| l.starts_with("cpu "))
    );
    let rows = place.ok(&["bench", "--device", "cpu,wgpu", "--op", "axpby", "--json"]);
    let results: Value = serde_json::from_str(&rows).unwrap();
    for (device, name) in results["devices"].as_array().unwrap().iter().zip(["cpu", "wgpu:0"]) {
        assert_eq!(device["name"], name);
        let row = &device["timed"][0];
        assert!(row["gbps"].as_f64().unwrap() > 0.0 && row["error"].as_f64().unwrap() < 1e-6, "{row}");
    }
    let out = place.run(&["generate", "--device", "wgpu:99"]);
    assert_eq!(out.status.code(), Some(2));
    assert!(text(&out.stderr).starts_with("steep: device wgpu:99: no such adapter: wanted 0 to "), "{STEEP}");
}
