//! What the compiler made, kept on disk: whole, or not at all.
//!
//! A file begins with [`MARK`], the length of what follows and a hash of it. Whatever cannot be read, is shorter, longer or
//! changed counts as not there, and is made again.

use std::collections::hash_map::DefaultHasher;
use std::fs::{self, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Result, Write};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

const MARK: &[u8; 8] = b"steep 1\n";
const HEADER: usize = 24;

fn header(bytes: &[u8]) -> [u8; HEADER] {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(MARK);
    header[8..16].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    header[16..].copy_from_slice(&hasher.finish().to_le_bytes());
    header
}

/// What was [written](write) there, if it is whole.
pub(super) fn read(path: &Path) -> Option<Vec<u8>> {
    let mut all = fs::read(path).ok()?;
    let bytes = (all.len() >= HEADER).then(|| all.split_off(HEADER))?;
    (all == header(&bytes)).then_some(bytes)
}

/// Under a name of its own first, which nobody else has, in this process or in another, on this machine or on one that
/// shares the folder: two programs may keep the same thing, and none may read half of it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    fs::create_dir_all(path.parent().expect("a file in a folder"))?;
    loop {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let unfinished = path.with_extension(format!("{}.{count}.{now:x}.tmp", process::id()));
        let mut file = match OpenOptions::new().write(true).create_new(true).open(&unfinished) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => continue,
            file => file?,
        };
        let written = file.write_all(&header(bytes)).and_then(|()| file.write_all(bytes));
        let kept = written.and_then(|()| fs::rename(&unfinished, path));
        if kept.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        return kept;
    }
}

#[cfg(test)]
mod tests {
    use super::{HEADER, read, write};

    #[test]
    fn what_is_not_whole_is_not_there() {
        let folder = std::env::temp_dir().join(format!("steep-kept-{}", std::process::id()));
        let path = folder.join("some.code");
        write(&path, b"machine code").unwrap();
        assert_eq!(read(&path).unwrap(), b"machine code");
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(read(&path), None, "{length} bytes of {}", whole.len());
        }
        for at in [0, 8, 16, HEADER, whole.len() - 1] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            std::fs::write(&path, changed).unwrap();
            assert_eq!(read(&path), None, "byte {at}");
        }
        std::fs::write(&path, [&whole[..], b"and more"].concat()).unwrap();
        assert_eq!(read(&path), None);
        // Many at once: each reads something whole, and nothing else is left in the folder.
        std::thread::scope(|scope| {
            for i in 0..8u8 {
                let path = &path;
                scope.spawn(move || {
                    let bytes = vec![i; 100_000];
                    for _ in 0..20 {
                        write(path, &bytes).unwrap();
                        let found = read(path).expect("whole");
                        assert!(found.len() == 100_000 && found.iter().all(|&b| b == found[0]));
                    }
                });
            }
        });
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
