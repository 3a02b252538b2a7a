//! Text from files that may come from anywhere.

use std::io::{self, Read};
use std::path::Path;

/// The text of a file, without the mark that some editors put at its beginning.
///
/// # Errors
///
/// If the file cannot be read, or is no UTF-8.
pub fn read(path: &Path) -> io::Result<String> {
    std::fs::File::open(path).and_then(read_from)
}

/// The text of a stream up to its end, as [`read`] gives it.
///
/// # Errors
///
/// If it cannot be read, or is no UTF-8.
pub fn read_from(mut stream: impl Read) -> io::Result<String> {
    let mut bytes = vec![];
    stream.read_to_end(&mut bytes)?;
    let wrong = |why: &str| io::Error::new(io::ErrorKind::InvalidData, why);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err(wrong("text in UTF-16; wanted UTF-8"));
    }
    let text = String::from_utf8(bytes).map_err(|_| wrong("not text: wanted UTF-8"))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text))
}
