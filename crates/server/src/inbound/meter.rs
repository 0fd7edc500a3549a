//! Where one gRPC message ends and the next begins in the bytes of a request. It looks at
//! lengths and never at what a message says.
//!
//! ```text
//! ┌────────────┬───────────────────┬───────────────┐
//! │ compressed │ length, big-endian│ message       │
//! │ 1          │ 4                 │ length bytes  │
//! └────────────┴───────────────────┴───────────────┘
//! ```

/// Bytes before each message.
const PREFIX_BYTES: usize = 5;

/// Follows one request's messages.
#[derive(Debug)]
pub(super) struct Meter {
    message_bytes_max: usize,
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    /// Bytes of the current message that are still to come.
    missing: usize,
    /// A length beyond the limit was seen: the decoder refuses the request there.
    is_refused: bool,
}

impl Meter {
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, prefix: [0; PREFIX_BYTES], prefix_filled: 0, missing: 0, is_refused: false }
    }

    /// Takes in the next bytes; returns the whole sizes of the messages that begin in them. A
    /// message begins with the last byte of its prefix.
    pub(super) fn advance(&mut self, mut data: &[u8]) -> usize {
        let mut begun = 0;
        while !data.is_empty() && !self.is_refused {
            if self.missing > 0 {
                let taken = self.missing.min(data.len());
                self.missing -= taken;
                data = &data[taken..];
                continue;
            }
            let taken = (PREFIX_BYTES - self.prefix_filled).min(data.len());
            self.prefix[self.prefix_filled..self.prefix_filled + taken].copy_from_slice(&data[..taken]);
            self.prefix_filled += taken;
            data = &data[taken..];
            if self.prefix_filled == PREFIX_BYTES {
                begun += self.begin();
            }
        }
        begun
    }

    fn begin(&mut self) -> usize {
        self.prefix_filled = 0;
        let [_, a, b, c, d] = self.prefix;
        let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if length > self.message_bytes_max {
            self.is_refused = true;
            return 0;
        }
        self.missing = length;
        PREFIX_BYTES + length
    }

    /// Whether a message has begun and not ended.
    pub(super) fn is_within_message(&self) -> bool {
        self.missing > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(length: u32) -> Vec<u8> {
        let mut bytes = vec![0];
        bytes.extend(length.to_be_bytes());
        bytes.extend(std::iter::repeat_n(0xff, usize::try_from(length).expect("small")));
        bytes
    }

    #[test]
    fn however_the_bytes_are_cut_each_message_is_counted_once_and_in_full() {
        let stream: Vec<u8> = [0, 1, 7, 300, 0, 2].into_iter().flat_map(message).collect();
        for cut in 1..=stream.len() {
            let mut meter = Meter::new(1000);
            let begun: usize = stream.chunks(cut).map(|chunk| meter.advance(chunk)).sum();
            assert_eq!(begun, stream.len(), "cut into {cut}");
            assert!(!meter.is_within_message(), "cut into {cut}");
        }
    }

    #[test]
    fn a_message_is_open_until_its_last_byte() {
        let bytes = message(10);
        let mut meter = Meter::new(1000);
        assert_eq!(meter.advance(&bytes[..4]), 0);
        assert!(!meter.is_within_message());
        assert_eq!(meter.advance(&bytes[4..14]), 15);
        assert!(meter.is_within_message());
        assert_eq!(meter.advance(&bytes[14..]), 0);
        assert!(!meter.is_within_message());
    }

    #[test]
    fn a_message_beyond_the_limit_is_left_to_the_decoder() {
        let mut meter = Meter::new(9);
        assert_eq!(meter.advance(&message(10)), 0);
        assert_eq!(meter.advance(&message(1)), 0);
        assert!(!meter.is_within_message());
    }
}
