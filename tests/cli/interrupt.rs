//! Ctrl-C, and what is drawn while a run goes on.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_run_writes_nothing() {
    let place = Place::new();
    fs::write(place.path("x.gif"), "kept").unwrap();
    let args = "generate --steps 100000 --compare --out x.gif --json run.json";
    let mut command = place.command(&args.split(' ').collect::<Vec<_>>());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    listening(&child);
    std::thread::sleep(Duration::from_millis(300));
    let sent = Command::new("bash").args(["-c", &format!("kill -INT {}", child.id())]).status().unwrap();
    assert!(sent.success());
    let out = child.wait_with_output().unwrap();
    assert_eq!(complaint(&out, 130), "interrupted");
    assert_eq!(fs::read_to_string(place.path("x.gif")).unwrap(), "kept");
    assert_eq!(place.names(), ["x.gif"]);
}

/// `script` (util-linux) runs a command in a terminal of its own.
#[cfg(target_os = "linux")]
#[test]
fn progress_is_drawn_in_a_terminal_alone() {
    let place = Place::new();
    let model = fixture("tiny-latte");
    let args = format!("generate --model {model} --steps 40 --cache uniform:2");
    assert!(place.run(&args.split(' ').collect::<Vec<_>>()).stderr.is_empty());

    let terminal = |more: &str| {
        let command = format!("{} {args} {more}", crate::STEEP);
        let script = Command::new("script")
            .args(["-qec", &command, "typescript"])
            .current_dir(place.0.path())
            .env("TERM", "xterm")
            .stdin(Stdio::null())
            .output();
        script.ok().map(|out| text(&out.stdout))
    };
    let Some(drawn) = terminal("") else {
        return eprintln!("skipped: no `script` here");
    };
    assert!(drawn.contains("40") && drawn.contains("skipped") && drawn.contains('\x1b'), "{drawn}");
    assert_eq!(terminal("--quiet").unwrap(), "");
}
