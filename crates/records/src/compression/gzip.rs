//! Gzip: one member after another, as RFC 1952 allows and Kafka's clients read. The number of members is
//! limited: each costs the set-up of a decoder, so many empty ones would cost seconds without ever
//! coming near the limit on what comes out.

use std::io::{self, Read};

use bytes::buf::Reader;
use bytes::{Buf, Bytes};
use flate2::bufread::GzDecoder;

/// Most members of one batch. Block-wise writers cut at 64 KiB, so the largest batch that may be has about 1030.
const MEMBERS_MAX: usize = 4096;

/// What comes out of all members.
pub(super) struct Members {
    decoder: GzDecoder<Reader<Bytes>>,
    members: usize,
}

impl Members {
    pub(super) fn new(compressed: Bytes) -> Self {
        Self { decoder: GzDecoder::new(compressed.reader()), members: 1 }
    }
}

impl Read for Members {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let len = self.decoder.read(out)?;
            if len > 0 || out.is_empty() || !self.decoder.get_ref().get_ref().has_remaining() {
                return Ok(len);
            }
            if self.members == MEMBERS_MAX {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("more than {MEMBERS_MAX} members"),
                ));
            }
            let rest = self.decoder.get_ref().get_ref().clone();
            self.decoder = GzDecoder::new(rest.reader());
            self.members += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attributes::Compression;
    use crate::compression::{compress, decompress};

    fn member(content: &[u8]) -> Vec<u8> {
        compress(Compression::Gzip, content).expect("compresses")
    }

    #[test]
    fn members_are_read_one_after_another_up_to_the_limit() {
        let mut data = member(b"").repeat(MEMBERS_MAX - 2);
        data.extend(member(b"first "));
        data.extend(member(b"second"));
        let records = decompress(Compression::Gzip, Bytes::from(data), 100).expect("within the limit");
        assert_eq!(&records[..], b"first second");
    }

    #[test]
    fn a_flood_of_empty_members_is_refused_before_it_is_worked_through() {
        let flood = Bytes::from(member(b"").repeat(MEMBERS_MAX + 1));
        let error = decompress(Compression::Gzip, flood, 100).expect_err("too many members");
        assert!(error.to_string().contains("more than 4096 members"), "{error}");
    }

    #[test]
    fn bytes_after_the_last_member_that_are_no_member_are_refused() {
        let mut data = member(b"records");
        data.extend(b"no gzip header");
        assert!(decompress(Compression::Gzip, Bytes::from(data), 100).is_err());
    }
}
