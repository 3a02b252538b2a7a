//! Files are written whole or not at all.
#![cfg(feature = "cli")]

use std::fs;
use std::path::Path;

use steep::evaluate::files::{check_writable, write_atomically};

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_file_is_made_and_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.gif");
    check_writable(&path).unwrap();
    assert!(names(folder.path()).is_empty(), "a check leaves nothing");
    for text in ["a first text", "another"] {
        write_atomically(&path, text.as_bytes()).unwrap();
        check_writable(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }
    assert_eq!(names(folder.path()), ["video.gif"]);
}

#[test]
fn a_path_that_cannot_be_written_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "kept").unwrap();
    for (path, why) in [
        (folder.path().join("none/video.gif"), "existing folder"),
        (file.join("video.gif"), "is a file"),
        (folder.path().into(), "this is a folder"),
        (folder.path().join("new/"), "the name of a file"),
        (folder.path().join("x".repeat(300)), "can be made"),
        ("".into(), "the name of a file"),
    ] {
        for result in [check_writable(&path), write_atomically(&path, b"new")] {
            let message = result.unwrap_err().to_string();
            assert!(message.starts_with(&path.display().to_string()), "{message}");
            assert!(message.contains(why), "{message}");
        }
    }
    assert_eq!(names(folder.path()), ["file"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "kept");
}

#[cfg(unix)]
#[test]
fn permissions_and_links_are_kept() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let folder = tempfile::tempdir().unwrap();
    let [plain, ours, link] = ["plain", "ours", "link"].map(|n| folder.path().join(n));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;

    fs::write(&plain, "as the umask says").unwrap();
    write_atomically(&ours, b"old").unwrap();
    assert_eq!(mode(&ours), mode(&plain));

    fs::set_permissions(&ours, fs::Permissions::from_mode(0o640)).unwrap();
    symlink(&ours, &link).unwrap();
    write_atomically(&link, b"new").unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!((fs::read(&ours).unwrap(), mode(&ours)), (b"new".to_vec(), 0o640));

    fs::set_permissions(&ours, fs::Permissions::from_mode(0o444)).unwrap();
    assert!(check_writable(&ours).is_err() && write_atomically(&ours, b"x").is_err());
    assert_eq!(fs::read(&ours).unwrap(), b"new");
}

/// As `/dev/stdout` in a pipeline, and not as `/dev/null`: a test that fails as root would replace it.
#[cfg(target_os = "linux")]
#[test]
fn a_pipe_is_written_to_and_not_replaced() {
    use std::io::Read;
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    // Open for both, so that neither end waits for the other.
    let mut options = fs::OpenOptions::new();
    let mut pipe = options.read(true).write(true).open(&path).unwrap();
    check_writable(&path).unwrap();
    write_atomically(&path, b"frame").unwrap();
    assert!(fs::metadata(&path).unwrap().file_type().is_fifo());
    let mut read = [0; 5];
    pipe.read_exact(&mut read).unwrap();
    assert_eq!(&read, b"frame");
    assert_eq!(names(folder.path()), ["pipe"]);
}

/// Runs itself again where a file may hold one kibibyte.
#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_leaves_the_old_file() {
    if let Some(path) = std::env::var_os(TARGET) {
        let error = write_atomically(Path::new(&path), &[7; 1 << 20]).unwrap_err();
        assert!(error.to_string().contains("File too large"), "{error}");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.gif");
    fs::write(&path, "kept").unwrap();
    let test = std::env::current_exe().unwrap();
    let status = std::process::Command::new("bash")
        .args([
            "-c",
            "trap '' XFSZ; ulimit -f 1; exec \"$0\" --exact a_failed_write_leaves_the_old_file --nocapture",
        ])
        .arg(test)
        .env(TARGET, &path)
        // Where this test prints to a file, that file may hold no more either.
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.unwrap().success());
    assert_eq!(fs::read_to_string(&path).unwrap(), "kept");
    assert_eq!(names(folder.path()), ["video.gif"]);
}

/// Runs `test` of this file again, in a process of its own that finds `path` in its environment.
#[cfg(target_os = "linux")]
fn again(test: &str, path: &Path) -> std::process::Child {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(TARGET, path);
    command.stdout(std::process::Stdio::null()).spawn().unwrap()
}

#[cfg(target_os = "linux")]
const TARGET: &str = "STEEP_TEST_WRITE_TO";

/// Writes a large file over and over.
#[cfg(target_os = "linux")]
fn keep_writing(path: &Path) {
    let bytes = vec![7; 64 << 20];
    loop {
        write_atomically(path, &bytes).unwrap();
    }
}

/// A process that is killed when this is dropped.
#[cfg(target_os = "linux")]
struct Ended(std::process::Child);

#[cfg(target_os = "linux")]
impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A kill leaves the old file and a temporary one, which the next run removes; never that of a run that lives.
#[cfg(target_os = "linux")]
#[test]
fn what_a_killed_run_left_goes() {
    if let Some(path) = std::env::var_os(TARGET) {
        keep_writing(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("video.gif");
    // Somebody else's, though it looks nearly like ours.
    for name in [".steep-notes.tmp", ".steep-abcdef"] {
        fs::write(folder.path().join(name), "kept").unwrap();
    }
    let child = Ended(again("what_a_killed_run_left_goes", &path));
    let mut left = None;
    for _ in 0..20 {
        // It may have ended the file before it was stopped.
        let temporary = begun(folder.path());
        signal(&child.0, "STOP");
        if temporary.exists() {
            check_writable(&path).unwrap();
            assert!(temporary.exists(), "the file of a run that lives is gone");
            left = Some(temporary);
            break;
        }
        signal(&child.0, "CONT");
    }
    drop(child);
    let left = left.expect("caught in the middle of a file");
    assert!(left.exists());
    check_writable(&path).unwrap();
    let names: Vec<_> = names(folder.path()).into_iter().filter(|name| name != "video.gif").collect();
    assert_eq!(names, [".steep-abcdef", ".steep-notes.tmp"]);
    for name in names {
        assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), "kept");
    }
}

/// Waits for a temporary file.
#[cfg(target_os = "linux")]
fn begun(folder: &Path) -> std::path::PathBuf {
    let start = std::time::Instant::now();
    loop {
        let ours = |name: &String| name.starts_with(".steep-") && name.ends_with(".tmp") && name.len() == 17;
        if let Some(name) = names(folder).into_iter().find(ours) {
            return folder.join(name);
        }
        assert!(start.elapsed().as_secs() < 30, "nothing is written");
    }
}

#[cfg(target_os = "linux")]
fn signal(child: &std::process::Child, name: &str) {
    let kill = format!("kill -{name} {}", child.id());
    assert!(std::process::Command::new("bash").args(["-c", &kill]).status().unwrap().success());
}

/// A program that ends at once, as after Ctrl-C, leaves no temporary file, and what was there before is whole.
#[cfg(target_os = "linux")]
#[test]
fn an_abandoned_write_leaves_nothing() {
    if let Some(path) = std::env::var_os(TARGET) {
        let path = std::path::PathBuf::from(path);
        let folder = path.parent().unwrap().to_path_buf();
        std::thread::spawn(move || keep_writing(&path));
        begun(&folder);
        steep::evaluate::files::abandon();
        std::process::exit(0);
    }
    for _ in 0..10 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("video.gif");
        let status = again("an_abandoned_write_leaves_nothing", &path).wait().unwrap();
        assert!(status.success());
        let names = names(folder.path());
        assert!(names.is_empty() || names == ["video.gif"], "{names:?}");
        assert!(names.is_empty() || fs::metadata(&path).unwrap().len() == 64 << 20);
    }
}
