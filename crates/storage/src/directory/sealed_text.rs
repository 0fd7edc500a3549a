//! A small text file that is replaced as a whole and proves itself whole: the identity
//! and the boot record.
//!
//! ```text
//! highwater identity          what it is
//! format 1                    the version of the lines between here and the seal
//! node 1                      a name, a space, a value; any number of such lines
//! crc32c 8f00a1b2             of all bytes before this line, in hexadecimal
//! ```
//!
//! The first two lines and the seal are the same in every version, so that an older program can
//! tell a newer file from a damaged one.

use std::fmt::Write as _;
use std::io::{self, IoSlice};
use std::path::Path;

use super::layout::TEMPORARY_SUFFIX;
use crate::disk::Disk;

/// Most bytes of such a file, of any version.
const TEXT_BYTES_MAX: u64 = 4096;

/// The lines of such a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SealedText {
    pub(super) format: u32,
    fields: Vec<(String, String)>,
}

/// Why a file was not read.
#[derive(Debug)]
pub(super) enum ReadError {
    Missing,
    Damaged(&'static str),
    Io(io::Error),
}

impl SealedText {
    pub(super) fn new(format: u32) -> Self {
        Self { format, fields: Vec::new() }
    }

    /// Adds a line.
    pub(super) fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.fields.push((name.to_owned(), value.to_string()));
        self
    }

    /// The value of the line of that name.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// Reads and proves the file `name` in the root.
    pub(super) fn read(disk: &dyn Disk, name: &str) -> Result<Self, ReadError> {
        let file = match disk.open(Path::new(name)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(ReadError::Missing);
            }
            Err(error) => return Err(ReadError::Io(error)),
        };
        let length = file.len().map_err(ReadError::Io)?;
        if length > TEXT_BYTES_MAX {
            return Err(ReadError::Damaged("it is too long"));
        }
        // At most `TEXT_BYTES_MAX`.
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, 0).map_err(ReadError::Io)?;
        Self::decode(name, &bytes).map_err(ReadError::Damaged)
    }

    /// Replaces the file `name` in the root; durable on return. A crash leaves the old version or the new.
    pub(super) fn write(&self, disk: &dyn Disk, name: &str) -> io::Result<()> {
        let temporary = format!("{name}{TEMPORARY_SUFFIX}");
        let temporary = Path::new(&temporary);
        if disk.exists(temporary)? {
            disk.remove_file(temporary)?;
        }
        let file = disk.create(temporary)?;
        file.write_all_at(&mut [IoSlice::new(self.encode(name).as_bytes())], 0)?;
        file.sync_data()?;
        disk.rename(temporary, Path::new(name))?;
        disk.sync_dir(Path::new(""))
    }

    fn encode(&self, kind: &str) -> String {
        let mut text = format!("highwater {kind}\nformat {}\n", self.format);
        for (name, value) in &self.fields {
            assert!(!value.contains('\n'), "the value of {name} has a line break");
            // Writing to a string does not fail.
            let _ = writeln!(text, "{name} {value}");
        }
        let seal = crc32c::crc32c(text.as_bytes());
        let _ = writeln!(text, "crc32c {seal:08x}");
        text
    }

    fn decode(kind: &str, bytes: &[u8]) -> Result<Self, &'static str> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
        let body = text.strip_suffix('\n').ok_or("it has been cut")?;
        let (_, seal) = body.rsplit_once('\n').ok_or("it has been cut")?;
        let sealed = &bytes[..body.len() - seal.len()];
        if seal != format!("crc32c {:08x}", crc32c::crc32c(sealed)) {
            return Err("its checksum does not match");
        }
        let mut lines = text.lines();
        if lines.next() != Some(&format!("highwater {kind}")) {
            return Err("its first line is another file's");
        }
        let format =
            lines.next().and_then(|line| line.strip_prefix("format ")).and_then(|format| format.parse().ok());
        let format = format.ok_or("it has no format version")?;
        let fields = lines.filter_map(|line| line.split_once(' '));
        let fields = fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Ok(Self { format, fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_detected() {
        let text = SealedText::new(1).with("node", 7).with("cluster", "x");
        let whole = text.encode("identity").into_bytes();
        let read = SealedText::decode("identity", &whole).unwrap();
        assert_eq!((read.format, read.field("node"), read.field("cluster")), (1, Some("7"), Some("x")));
        assert_eq!(read.field("missing"), None);
        for position in 0..whole.len() {
            assert!(SealedText::decode("identity", &whole[..position]).is_err(), "cut at {position}");
            for bit in 0..8 {
                let mut damaged = whole.clone();
                damaged[position] ^= 1 << bit;
                assert!(SealedText::decode("identity", &damaged).is_err(), "bit {bit} of byte {position}");
            }
        }
    }

    #[test]
    fn one_kind_of_file_is_not_read_as_the_other() {
        let boot = SealedText::new(1).encode("boot");
        assert!(SealedText::decode("identity", boot.as_bytes()).is_err());
    }
}
