//! Variable-length integers: zigzag, seven bits to a byte, the lowest first, as in protobuf.
//!
//! Only writing and arithmetic live here; reading is in `record`, where the bytes come from
//! two kinds of input.

/// Most bytes of a 32-bit integer.
pub(crate) const BYTES_MAX_32: usize = 5;
/// Most bytes of a 64-bit integer.
pub(crate) const BYTES_MAX_64: usize = 10;

/// Appends `value`.
pub(crate) fn put(out: &mut Vec<u8>, value: i64) {
    let mut rest = zigzag(value);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// Bytes that `value` takes. A 32-bit value takes the same as its 64-bit equal.
pub(crate) fn size(value: i64) -> usize {
    let bits = 64 - (zigzag(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Undoes the zigzag.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_is_what_is_written_at_every_power_of_two() {
        for shift in 0..64 {
            for value in [1_i64 << shift, (1_i64 << shift).wrapping_sub(1), (1_i64 << shift).wrapping_neg()] {
                let mut out = Vec::new();
                put(&mut out, value);
                assert_eq!(out.len(), size(value), "value {value}");
                assert!(out.len() <= BYTES_MAX_64);
                assert_eq!(unzigzag(zigzag(value)), value);
            }
        }
    }
}
