//! Seeded mutations: the same seed and case number always give the same bytes.

/// A small generator (SplitMix64), for choosing mutations only.
pub struct Choices(u64);

impl Choices {
    /// The choices of one case of one seed.
    pub fn new(seed: u64, case: u64) -> Self {
        Self(seed ^ case.wrapping_mul(0xd134_2543_de82_ef95))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which must not be 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.any() % end as u64) as usize
    }
}

/// One of the `seeds`, changed in one to eight places.
pub fn mutate(seeds: &[Vec<u8>], choices: &mut Choices) -> Vec<u8> {
    let mut bytes = seeds[choices.below(seeds.len())].clone();
    for _ in 0..=choices.below(8) {
        mutate_once(&mut bytes, seeds, choices);
    }
    bytes
}

/// Numbers at which parsers tend to go wrong.
const EDGES: [i64; 12] =
    [0, 1, -1, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];

fn mutate_once(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], choices: &mut Choices) {
    if bytes.is_empty() {
        bytes.push(choices.any() as u8);
        return;
    }
    let at = choices.below(bytes.len());
    match choices.below(8) {
        0 => bytes[at] ^= 1 << choices.below(8),
        1 => bytes[at] = choices.any() as u8,
        2 => bytes.truncate(at),
        3 => bytes.insert(at, choices.any() as u8),
        4 => drop(bytes.drain(at..(at + 1 + choices.below(16)).min(bytes.len()))),
        5 => {
            let edge = EDGES[choices.below(EDGES.len())].to_be_bytes();
            let width = [1, 2, 4, 8][choices.below(4)].min(bytes.len() - at);
            bytes[at..at + width].copy_from_slice(&edge[edge.len() - width..]);
        }
        6 => bytes.splice(at..at, [0xff, 0xff, 0xff, 0xff, 0x0f]).for_each(drop),
        _ => {
            let other = &seeds[choices.below(seeds.len())];
            let from = choices.below(other.len().max(1)).min(other.len());
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from..]);
        }
    }
}
