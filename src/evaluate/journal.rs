//! Files that grow by whole lines: what a long run has finished survives its end.
//!
//! The first line is a JSON object that says what the run is, every other one is a finished piece of it. Lines are
//! written in one go and reach the disk before the next piece begins; a line that was torn by a kill is dropped when the
//! file is opened again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::{Error, Result, input};

/// A journal that is being written.
pub struct Journal {
    path: PathBuf,
    file: File,
    /// The first line of a new journal: written with the first record, so that a run which does not get that far leaves
    /// nothing that another one would have to agree with.
    first: String,
}

impl Journal {
    /// Opens or begins the journal of the run that `header` describes; returns what it holds already.
    ///
    /// A journal with another header is an error that names what differs, and is left as it was.
    pub fn open(path: &Path, header: &Map<String, Value>) -> Result<(Journal, Vec<Value>)> {
        let fail = |e: std::io::Error| Error::file(path, format!("{e}; wanted a journal to write to"));
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(fail)?;
        // Some file systems have no locks; that is no reason not to write.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            return Err(Error::file(path, "another run writes to it; wanted one at a time"));
        }
        input::remember(path, &file);
        let mut bytes = vec![];
        file.read_to_end(&mut bytes).map_err(fail)?;
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
        let first = format!("{}\n", Value::Object(header.clone()));
        let mut journal = Journal { path: path.into(), file, first: String::new() };
        if whole == 0 {
            // Nothing, or the beginning of what we would write ourselves. Anything else is not ours to write over.
            if !first.as_bytes().starts_with(&bytes) {
                return Err(Error::file(path, "not a journal; wanted one of this program, or no file"));
            }
            journal.keep(0)?;
            journal.first = first;
            return Ok((journal, vec![]));
        }
        let (theirs, records) = parse(path, &bytes[..whole])?;
        agree(path, header, &theirs)?;
        journal.keep(whole)?;
        Ok((journal, records))
    }

    /// Adds a finished piece.
    pub fn append(&mut self, record: &Value) -> Result<()> {
        let line = format!("{}{record}\n", std::mem::take(&mut self.first));
        let written = self.file.write_all(line.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|e| Error::file(&self.path, format!("wanted to add a line: {e}")))
    }

    /// Cuts off what is behind the last whole line, and goes there.
    fn keep(&mut self, whole: usize) -> Result<()> {
        let cut = self.file.set_len(whole as u64);
        let cut = cut.and_then(|()| self.file.seek(SeekFrom::Start(whole as u64)));
        cut.map(drop).map_err(|e| Error::file(&self.path, e))
    }
}

/// Header and records of a journal, without touching it. A torn last line is left out.
pub fn read(path: &Path) -> Result<(Map<String, Value>, Vec<Value>)> {
    let bytes = input::read(path, "a journal of this program")?;
    let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |end| end + 1);
    parse(path, &bytes[..whole])
}

/// Header and records of a journal's whole lines; errors name `path`. A byte order mark at the beginning is none of them.
pub fn parse(path: &Path, whole: &[u8]) -> Result<(Map<String, Value>, Vec<Value>)> {
    let lines = whole.strip_prefix("\u{feff}".as_bytes()).unwrap_or(whole).split_inclusive(|&b| b == b'\n');
    let value = |(i, line): (usize, &[u8])| {
        let why = |e| Error::file(path, format!("line {}: {e}; wanted a line of JSON", i + 1));
        serde_json::from_slice(line).map_err(why)
    };
    let mut values = lines.enumerate().map(value).collect::<Result<Vec<Value>>>()?;
    match values.first_mut().map(Value::take) {
        Some(Value::Object(header)) => Ok((header, values.split_off(1))),
        _ => Err(Error::file(path, "not a journal; wanted one of this program")),
    }
}

/// The header of a journal, without touching it; empty where not even the first line is whole.
///
/// # Errors
///
/// If the file cannot be read.
pub fn header(path: &Path) -> Result<Map<String, Value>> {
    let bytes = input::read(path, "a journal of this program")?;
    let end = bytes.iter().position(|&b| b == b'\n').unwrap_or(0);
    Ok(serde_json::from_slice(&bytes[..end]).unwrap_or_default())
}

/// An error that names what differs. `model` may differ: it is a name for people, and the weights have their hash.
///
/// # Errors
///
/// If anything else does.
pub fn agree(path: &Path, ours: &Map<String, Value>, theirs: &Map<String, Value>) -> Result<()> {
    let shown = |v: Option<&Value>| v.map_or("not recorded".into(), Value::to_string);
    let differs = |key: &&String| *key != "model" && ours.get(*key) != theirs.get(*key);
    let mut keys: Vec<&String> = ours.keys().filter(differs).collect();
    keys.extend(theirs.keys().filter(|key| !ours.contains_key(*key)).filter(differs));
    let Some(key) = keys.first() else { return Ok(()) };
    let (had, now) = (shown(theirs.get(*key)), shown(ours.get(*key)));
    let why = format!(
        "belongs to another run: {key} is {had} there and {now} here; wanted the same, or another file"
    );
    Err(Error::file(path, why))
}
