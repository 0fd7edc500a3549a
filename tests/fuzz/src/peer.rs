//! Target of `highwater-peer`: frames between nodes.

use bytes::Bytes;
use highwater_peer::{Lane, decode_frame};

/// Bytes of a frame's header, and where its checksum is; see the byte ruler in `highwater-peer`.
const HEADER_LEN: usize = 28;
const CRC_AT: usize = 24;

/// A frame as it is, and once more with lengths and a checksum that are right for whatever it holds.
pub fn peer_frame(data: &[u8]) {
    let mut sealed = data.to_vec();
    if sealed.len() >= HEADER_LEN {
        seal(&mut sealed);
    }
    for bytes in [Bytes::copy_from_slice(data), Bytes::from(sealed)] {
        for lane in Lane::ALL {
            let _refused_or_not = decode_frame(lane, &bytes);
        }
    }
}

/// A frame of each kind that carries something.
pub fn peer_frame_seeds() -> Vec<Vec<u8>> {
    let vote = || message(1, &[number(1, 5), number(2, 1), number(3, 1)]);
    let id = |field| message(field, &[number(1, 5), number(2, 9)]);
    let request = |kind: Vec<u8>| [bytes(1, &[7; 20]), number(2, 1500), kind].concat();
    let control = message(4, &[number(1, 5), number(2, 10), number(3, 3), number(4, 3), crc(5, b"abc")]);
    let blank = message(4, &[number(1, 5), number(2, 11), number(3, 1)]);
    let identity = message(3, &[bytes(1, &[1; 16]), number(2, 1), vec![0x19], vec![2; 8]]);
    vec![
        frame(1, &[number(1, 1), number(2, 1), identity, number(4, 2), number(5, 1)].concat(), b""),
        frame(4, b"", b""),
        frame(5, &request(message(3, &[vote(), id(2), id(3), control, blank])), b"abc"),
        frame(5, &request(message(4, &[vote(), id(2)])), b""),
        frame(5, &request(message(6, &[vote(), id(2), number(4, 6), crc(5, b"abc")])), b"abc"),
        frame(5, &request(message(7, &[vote(), number(2, 2), id(3)])), b""),
        frame(6, &[number(1, 3), crc(2, b"def")].concat(), b"def"),
        frame(8, &message(1, &[number(1, 2), id(2)]), b""),
        frame(8, &message(2, &[vote(), number(2, 1), id(3)]), b""),
        frame(9, &bytes(1, b"no room"), b""),
        frame(10, &[number(1, 3), number(2, 12), number(3, 1)].concat(), b""),
        frame(11, &[number(1, 3), number(2, 12), number(3, 4)].concat(), b""),
    ]
}

/// A whole frame.
fn frame(kind: u8, meta: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = [b"HWPR".as_slice(), &[kind, 0, 0, 0], &[0; 20], meta, payload].concat();
    frame[8..12].copy_from_slice(&(meta.len() as u32).to_le_bytes());
    seal(&mut frame);
    frame
}

/// Makes the payload's length and the checksum right for the meta's length as it is.
fn seal(frame: &mut [u8]) {
    let [a, b, c, d] = [frame[8], frame[9], frame[10], frame[11]];
    let meta_len = u32::from_le_bytes([a, b, c, d]) as usize;
    let meta_end = HEADER_LEN.saturating_add(meta_len).min(frame.len());
    let payload_len = (frame.len() - meta_end) as u32;
    frame[12..16].copy_from_slice(&payload_len.to_le_bytes());
    let crc = crc32c::crc32c_append(crc32c::crc32c(&frame[..CRC_AT]), &frame[HEADER_LEN..meta_end]);
    frame[CRC_AT..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
}

/// A protobuf field with a small number.
fn number(field: u8, value: u16) -> Vec<u8> {
    let tag = field << 3;
    if value < 0x80 { vec![tag, value as u8] } else { vec![tag, value as u8 | 0x80, (value >> 7) as u8] }
}

/// A protobuf field with a few bytes.
fn bytes(field: u8, value: &[u8]) -> Vec<u8> {
    [&[field << 3 | 2, value.len() as u8], value].concat()
}

/// A protobuf field with a message of these fields.
fn message(field: u8, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(field, &fields.concat())
}

/// A protobuf field with a checksum.
fn crc(field: u8, of: &[u8]) -> Vec<u8> {
    [&[field << 3 | 5], crc32c::crc32c(of).to_le_bytes().as_slice()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_are_frames() {
        for (index, seed) in peer_frame_seeds().into_iter().enumerate() {
            decode_frame(Lane::Bulk, &seed.into()).unwrap_or_else(|error| panic!("seed {index}: {error}"));
        }
    }
}
