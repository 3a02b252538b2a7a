//! Where the entries of a ZIP archive lie, if they are stored as they are: PyTorch's are.

use std::collections::BTreeMap;
use std::ops::Range;

/// Reads bytes of the file; None where it has no such bytes.
pub(super) type Read<'a> = &'a mut dyn FnMut(Range<u64>) -> Option<Vec<u8>>;

/// The longest list of entries that is read, in bytes: of a million of PyTorch's, and less than a gigabyte.
const LONGEST: u64 = 100_000_000;
/// The end of an archive: a record of this many bytes and a comment.
const END: u64 = 22;
const COMMENT: u64 = 0xffff;

fn u16_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?).into())
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?).into())
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// The place of each entry's bytes in an archive of `size` bytes. The error is what is wrong with it.
pub(super) fn entries(size: u64, read: Read<'_>) -> Result<BTreeMap<String, Range<u64>>, String> {
    let broken = || "a ZIP archive that is not whole".to_string();
    let directory = directory(size, read).ok_or_else(broken)?;
    let list = read(directory).ok_or_else(broken)?;
    let mut all = BTreeMap::new();
    let mut rest = &list[..];
    while rest.starts_with(b"PK\x01\x02") {
        let entry = Entry::of(rest).ok_or_else(broken)?;
        rest = rest.get(entry.length..).ok_or_else(broken)?;
        if entry.method != 0 || entry.flags & 1 != 0 || entry.packed != entry.bytes {
            return Err(format!("a ZIP archive whose entry {} is compressed or encrypted", entry.name));
        }
        let range = entry.place(size, read).ok_or_else(broken)?;
        all.insert(entry.name, range);
    }
    Ok(all)
}

/// Where the list of entries is (APPNOTE 4.3.16, and 4.3.14 for archives of more than 4 GB).
fn directory(size: u64, read: Read<'_>) -> Option<Range<u64>> {
    let from = size.saturating_sub(END + COMMENT);
    let tail = read(from..size)?;
    let at = (0..=tail.len().checked_sub(END as usize)?).rev().find(|&at| {
        tail[at..].starts_with(b"PK\x05\x06")
            && u16_at(&tail, at + 20) == Some((tail.len() - at) as u64 - END)
    })?;
    let (mut length, mut start) = (u32_at(&tail, at + 12)?, u32_at(&tail, at + 16)?);
    if let Some(locator) = at.checked_sub(20).filter(|&at| tail[at..].starts_with(b"PK\x06\x07")) {
        let end = u64_at(&tail, locator + 8)?;
        let record = read(end..end.checked_add(56)?).filter(|record| record.starts_with(b"PK\x06\x06"))?;
        (length, start) = (u64_at(&record, 40)?, u64_at(&record, 48)?);
    }
    let end = start.checked_add(length).filter(|&end| end <= size && length <= LONGEST)?;
    Some(start..end)
}

/// What the list says of an entry.
struct Entry {
    name: String,
    flags: u64,
    method: u64,
    packed: u64,
    bytes: u64,
    /// Where its own header is.
    header: u64,
    /// Bytes of the list.
    length: usize,
}

impl Entry {
    fn of(list: &[u8]) -> Option<Entry> {
        let [name, extra, comment] = [28, 30, 32].map(|at| u16_at(list, at));
        let (name, extra, comment) = (name? as usize, extra? as usize, comment? as usize);
        let (mut packed, mut bytes, mut header) = (u32_at(list, 20)?, u32_at(list, 24)?, u32_at(list, 42)?);
        let text = String::from_utf8_lossy(list.get(46..46 + name)?).into_owned();
        let mut fields = list.get(46 + name..46 + name + extra)?;
        while let (Some(id), Some(length)) = (u16_at(fields, 0), u16_at(fields, 2)) {
            let field = fields.get(4..4 + length as usize)?;
            if id == 1 {
                // Those of the three that do not fit into 32 bits, in this order.
                let large = [&mut bytes, &mut packed, &mut header].into_iter().filter(|n| **n == 0xffff_ffff);
                for (i, number) in large.enumerate() {
                    *number = u64_at(field, 8 * i)?;
                }
            }
            fields = &fields[4 + length as usize..];
        }
        let [flags, method] = [8, 10].map(|at| u16_at(list, at));
        let length = 46 + name + extra + comment;
        Some(Entry { name: text, flags: flags?, method: method?, packed, bytes, header, length })
    }

    /// Where its bytes are, within a file of `size`.
    fn place(&self, size: u64, read: Read<'_>) -> Option<Range<u64>> {
        let own =
            read(self.header..self.header.checked_add(30)?).filter(|own| own.starts_with(b"PK\x03\x04"))?;
        let start = self.header + 30 + u16_at(&own, 26)? + u16_at(&own, 28)?;
        let end = start.checked_add(self.bytes).filter(|&end| end <= size)?;
        Some(start..end)
    }
}
