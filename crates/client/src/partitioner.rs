//! Which partition a record goes to. A key goes where Kafka's default partitioner puts it,
//! so that producers of both kinds can share a topic: murmur2 of the key, without its sign,
//! modulo the number of partitions.

use highwater_types::PartitionIndex;

/// The partition of a key among `partitions`, which is at least 1.
pub fn partition_for_key(key: &[u8], partitions: u32) -> PartitionIndex {
    PartitionIndex((murmur2(key) & 0x7fff_ffff) % partitions)
}

/// MurmurHash2 in 32 bits, with the seed that Kafka's clients use.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    const ROTATION: u32 = 24;

    // Kafka's lengths are 32-bit; keys longer than that do not exist.
    #[expect(clippy::cast_possible_truncation, reason = "keys are shorter than 4 GiB")]
    let mut hash = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        k = k.wrapping_mul(MULTIPLIER);
        k ^= k >> ROTATION;
        k = k.wrapping_mul(MULTIPLIER);
        hash = hash.wrapping_mul(MULTIPLIER) ^ k;
    }
    let rest = words.remainder();
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hashes that Kafka's own Java client computes.
    const GOLDEN: [(&[u8], i32); 6] = [
        (b"21", -973_932_308),
        (b"foobar", -790_332_482),
        (b"a-little-bit-long-string", -985_981_536),
        (b"a-little-bit-longer-string", -1_486_304_829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        (b"abc", 479_470_107),
    ];

    #[test]
    fn hashes_are_those_of_kafkas_java_client() {
        for (key, expected) in GOLDEN {
            assert_eq!(murmur2(key).cast_signed(), expected, "{}", String::from_utf8_lossy(key));
        }
    }

    #[test]
    fn a_key_goes_to_a_partition_that_exists_and_always_the_same() {
        for partitions in 1..20 {
            for number in 0..100_u32 {
                let key = number.to_be_bytes();
                let partition = partition_for_key(&key, partitions);
                assert!(partition.0 < partitions);
                assert_eq!(partition, partition_for_key(&key, partitions));
            }
        }
    }
}
