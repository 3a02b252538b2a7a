//! Ctrl-C, and what is drawn while a run goes on.
#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use safetensors::tensor::{Dtype, TensorView};

use crate::{Place, complaint, fixture, text};

/// Waits until the program has asked to be told of SIGINT (2).
fn listening(child: &Child) {
    let status = format!("/proc/{}/status", child.id());
    let start = Instant::now();
    loop {
        let text = fs::read_to_string(&status).unwrap();
        let caught = text.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap().trim();
        if u64::from_str_radix(caught, 16).unwrap() & 1 << (2 - 1) != 0 {
            return;
        }
        assert!(start.elapsed() < Duration::from_secs(30), "SIGINT is never caught");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// How long a program may take to end once it is told to. It has half a second; the rest is for a busy machine.
const SOON: Duration = Duration::from_secs(3);

/// Starts the program, sends it a signal in the middle of its work, and returns what it said, and when it ended.
fn ended(place: &Place, args: &[&str], signal: &str) -> (Output, Duration) {
    ended_after(place, args, signal, || true)
}

/// The same, once `begun` says that there is something to keep.
fn ended_after(place: &Place, args: &[&str], signal: &str, begun: impl Fn() -> bool) -> (Output, Duration) {
    let mut command = place.command(args);
    // Who runs the tests with `nohup` has hangups ignored, and so would the program.
    // SAFETY: the call is one that may be made between fork and exec.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_DFL);
            Ok(())
        })
    };
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    listening(&child);
    let start = Instant::now();
    while !begun() {
        assert!(start.elapsed() < Duration::from_secs(120), "{args:?}: nothing comes of it");
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(700));
    let sent = Instant::now();
    let kill = format!("kill -{signal} {}", child.id());
    assert!(Command::new("bash").args(["-c", &kill]).status().unwrap().success());
    let out = child.wait_with_output().unwrap();
    (out, sent.elapsed())
}

fn fifo(place: &Place, name: &str) -> String {
    let path = place.path(name);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    path.to_str().unwrap().to_string()
}

/// Clips for `forward` that take it minutes.
fn large_batch(place: &Place) -> String {
    let inspected: serde_json::Value = serde_json::from_str(&place.ok(&["inspect", "--json"])).unwrap();
    let size = |key: &str| inspected["config"][key].as_u64().unwrap() as usize;
    let (b, clip) = (64, ["frames", "channels", "height", "width"].map(size));
    let floats = |n: usize| vec![0; 4 * n];
    let (x, t, y) = (floats(b * clip.iter().product::<usize>()), floats(b), floats(b));
    let view = |dtype, shape: &[usize], data| TensorView::new(dtype, shape.to_vec(), data).unwrap();
    let tensors = [
        ("x", view(Dtype::F32, &[&[b], &clip[..]].concat(), &x)),
        ("t", view(Dtype::F32, &[b], &t)),
        ("y", view(Dtype::I32, &[b], &y)),
    ];
    fs::write(place.path("in.safetensors"), safetensors::serialize(tensors, None).unwrap()).unwrap();
    "in.safetensors".into()
}

/// Every verb that works for long, in the middle of it, and those that wait for a file that never comes.
#[test]
fn every_verb_ends_soon_and_writes_nothing() {
    let place = Place::new();
    let (fifo, batch) = (fifo(&place, "fifo"), large_batch(&place));
    fs::write(place.path("x.gif"), "kept").unwrap();
    let before = place.names();
    for args in [
        "generate --device cpu --steps 100000 --compare --out x.gif --json run.json",
        "plan --device cpu --steps 60 --search 20",
        &format!("forward --device cpu {batch} --out out.safetensors"),
        "bench --device cpu --op linear --json",
        &format!("plan --threshold 0.1 {fifo}"),
        &format!("generate --device cpu --steps 2 --quiet --json {fifo}"),
    ] {
        let (out, took) = ended(&place, &args.split(' ').collect::<Vec<_>>(), "INT");
        assert_eq!(complaint(&out, 130), "interrupted", "{args}");
        assert!(took < SOON, "{args}: {took:?}");
        assert_eq!(fs::read_to_string(place.path("x.gif")).unwrap(), "kept");
        assert_eq!(place.names(), before, "{args}");
    }
}

/// A model is read at many places, which a pipe cannot do: it is refused before it is waited for.
#[test]
fn pipes_are_no_models() {
    let place = Place::new();
    let fifo = fifo(&place, "fifo");
    for args in [
        format!("inspect {fifo}"),
        format!("generate --model {fifo}"),
        format!("forward {fifo} --out out.safetensors"),
    ] {
        let said = complaint(&place.run(&args.split(' ').collect::<Vec<_>>()), 2);
        assert!(said.contains("is a pipe or a device; wanted a safetensors"), "{said}");
    }
}

/// What a run has finished so far is kept, and is whole.
#[test]
fn long_runs_keep_what_they_finished() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let args =
        format!("calibrate --model {model} --device cpu --seeds 100000 --pairs pairs.jsonl --out fit.json");
    let args = args.split(' ').collect::<Vec<_>>();
    let has = |file: &str| fs::read_to_string(place.path(file)).is_ok_and(|text| text.lines().count() > 2);
    let (out, took) = ended_after(&place, &args, "INT", || has("pairs.jsonl"));
    assert_eq!(complaint(&out, 130), "interrupted");
    assert!(took < SOON, "{took:?}");
    assert_eq!(place.names(), ["pairs.jsonl"]);
    let (_, records) = steep::evaluate::journal::read(&place.path("pairs.jsonl")).unwrap();
    assert!(!records.is_empty());

    let args = format!("compare --model {model} --device cpu --seeds 100000 uniform:2 --out all");
    let args = args.split(' ').collect::<Vec<_>>();
    let (out, took) = ended_after(&place, &args, "TERM", || has("all/rounds.jsonl"));
    assert_eq!(complaint(&out, 143), "ended by SIGTERM");
    assert!(took < SOON, "{took:?}");
    for entry in fs::read_dir(place.path("all")).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "rounds.jsonl" => {}
            "clips.gif" => {
                let film = fs::read(&path).unwrap();
                assert!(film.starts_with(b"GIF89a") && film.ends_with(b"\x3b"), "{} bytes", film.len());
            }
            other => panic!("{other}"),
        }
    }
}

/// The exit status tells which signal it was. Whoever started the program with `nohup` has its runs outlive the terminal.
#[test]
fn each_signal_has_its_exit_status() {
    let place = Place::new();
    let args = ["generate", "--device", "cpu", "--steps", "100000"];
    for (signal, status, said) in
        [("INT", 130, "interrupted"), ("TERM", 143, "ended by SIGTERM"), ("HUP", 129, "ended by SIGHUP")]
    {
        let (out, took) = ended(&place, &args, signal);
        assert!(complaint(&out, status).starts_with(said));
        assert!(took < SOON, "{signal}: {took:?}");
    }
    let script = format!(
        "trap '' HUP; {} {} & child=$!; sleep 0.7; kill -HUP $child; sleep 0.7; kill -TERM $child; wait $child",
        crate::STEEP,
        args.join(" ")
    );
    let out = place.shell(&script);
    assert_eq!(complaint(&out, 143), "ended by SIGTERM");
}

/// `script` (util-linux) runs a command in a terminal of its own.
#[test]
fn progress_is_drawn_in_a_terminal_alone() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let args = format!("generate --model {model} --steps 40 --cache uniform:2");
    assert!(place.run(&args.split(' ').collect::<Vec<_>>()).stderr.is_empty());

    let run = |command: &str, (name, value): (&str, &str)| {
        let script = Command::new("script")
            .args(["-qec", &format!("{} {command}", crate::STEEP), "typescript"])
            .current_dir(place.0.path())
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR")
            .env_remove("CLICOLOR_FORCE")
            .env("TERM", "xterm")
            // Some libraries take every terminal of a CI for one with colours.
            .env("CI", "true")
            .env(name, value)
            .stdin(Stdio::null())
            .output();
        script.ok().map(|out| text(&out.stdout))
    };
    let terminal = |more: &str| run(&format!("{args} {more}"), ("TERM", "xterm"));
    let Some(drawn) = terminal("") else {
        return eprintln!("skipped: no `script` here");
    };
    assert!(drawn.contains("40") && drawn.contains("skipped") && drawn.contains('\x1b'), "{drawn}");
    // Nothing is said of the time left before there is a step to tell it by.
    assert!(!drawn.split('\r').any(|line| line.contains(" 0/40") && line.contains("left")), "{drawn}");
    assert_eq!(terminal("--quiet").unwrap(), "");

    // Neither colour nor movements of the cursor for who wants none or can show none; an empty NO_COLOR is none.
    let search = format!("plan --search 4 --steps 8 --device cpu --model {model}");
    for command in [&args, &search, "--help", "generate --help"] {
        for plain in [("TERM", "dumb"), ("NO_COLOR", "1"), ("NO_COLOR", "0"), ("CLICOLOR", "0")] {
            let said = run(command, plain).unwrap().replace("\r\n", "\n");
            assert!(!said.contains(['\x1b', '\r']) && !said.is_empty(), "{plain:?} {command}: {said:?}");
        }
        for fancy in [("NO_COLOR", ""), ("CLICOLOR", "1"), ("TERM", "xterm-256color")] {
            assert!(run(command, fancy).unwrap().contains('\x1b'), "{fancy:?} {command}");
        }
    }
}
