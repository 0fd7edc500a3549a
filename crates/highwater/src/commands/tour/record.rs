//! The tour's records: each is made from its partition and its number alone, so what is read back can be compared
//! with what was sent without keeping it.
//!
//! ```text
//!  0         4                  12                                             256
//!  ├─────────┼──────────────────┼───────────────────────────────────────────────┤
//!  │partition│ number           │ filler: a generator's output, seeded by both  │
//!  └─────────┴──────────────────┴───────────────────────────────────────────────┘
//!  big-endian; the key is the number in decimal digits
//! ```

use bytes::Bytes;

/// Bytes of a value.
const VALUE_BYTES: usize = 256;
/// Bytes before the filler.
const HEAD_BYTES: usize = 12;

/// The key of a record.
pub(super) fn key(number: u64) -> Bytes {
    number.to_string().into()
}

/// The value of a record.
pub(super) fn value(partition: u32, number: u64) -> Bytes {
    let mut value = Vec::with_capacity(VALUE_BYTES);
    value.extend(partition.to_be_bytes());
    value.extend(number.to_be_bytes());
    let mut state = number ^ (u64::from(partition) << 48);
    while value.len() < VALUE_BYTES {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value.extend((word ^ (word >> 31)).to_le_bytes());
    }
    value.truncate(VALUE_BYTES);
    value.into()
}

/// The number of a record that was read, if it is byte for byte one of this partition's.
pub(super) fn number_of(partition: u32, key_read: Option<&[u8]>, value_read: Option<&[u8]>) -> Option<u64> {
    let head = value_read?.get(HEAD_BYTES - 8..HEAD_BYTES)?;
    let number = u64::from_be_bytes(head.try_into().ok()?);
    let is_whole = key_read? == key(number) && value_read? == value(partition, number);
    is_whole.then_some(number)
}

/// Bytes of a record's key and value.
pub(super) fn bytes_of(number: u64) -> u64 {
    u64::try_from(key(number).len() + VALUE_BYTES).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_known_again_and_one_changed_byte_is_noticed() {
        let (key, value) = (key(7), value(2, 7));
        assert_eq!(number_of(2, Some(&key), Some(&value)), Some(7));
        assert_eq!(number_of(1, Some(&key), Some(&value)), None);
        assert_eq!(number_of(2, Some(b"8"), Some(&value)), None);
        assert_eq!(number_of(2, Some(&key), None), None);
        for byte in 0..value.len() {
            let mut changed = value.to_vec();
            changed[byte] ^= 1;
            assert_eq!(number_of(2, Some(&key), Some(&changed)), None, "byte {byte}");
        }
        assert_eq!(number_of(2, Some(&key), Some(&value[..100])), None);
    }
}
