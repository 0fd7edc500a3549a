//! Snapshots: the whole state as the records that would make it, in pieces.
//!
//! ```text
//! 0      4         8        12       16       20
//! +------+---------+--------+--------+--------+------------------------------+
//! | HWGS | version | crc32c | number | last   | protobuf Records             |
//! +------+---------+--------+--------+--------+------------------------------+
//!  magic   u32 LE    u32 LE   u32 LE   u32 LE   of exactly the rest
//! ```
//!
//! The checksum covers what is behind it. Pieces are numbered from 0; `last` is 1 on the last one and 0 on the
//! others. Reading applies the records to nothing, so what contradicts itself is refused.

use bytes::{BufMut, Bytes};
use highwater_types::limits::GROUPS_SNAPSHOT_CHUNK_BYTES;
use prost::Message;

use super::record::{read_record, write_record};
use super::{FORMAT_VERSION, Reader, wire};
use crate::error::GroupsError;
use crate::group::{Group, Member};
use crate::ids::GroupName;
use crate::record::{GroupChange, GroupRecord};
use crate::state::GroupsState;

const READER: Reader = Reader { what: "snapshot" };
const MAGIC: [u8; 4] = *b"HWGS";
const HEADER_BYTES: usize = 20;
const _: () = assert!(HEADER_BYTES == MAGIC.len() + 4 * size_of::<u32>());
/// The checksum covers everything from here on.
const CHECKED_FROM: usize = 12;

/// The state in pieces, which are made as they are asked for.
pub(crate) fn encode_snapshot(state: &GroupsState) -> impl Iterator<Item = Bytes> {
    let mut records = state.groups().flat_map(|(name, group)| group_records(name, group)).peekable();
    let mut number = 0;
    let mut is_over = false;
    std::iter::from_fn(move || {
        if is_over {
            return None;
        }
        let mut piece = Vec::new();
        let mut bytes = 0;
        while let Some(record) = records.next_if(|_| bytes < GROUPS_SNAPSHOT_CHUNK_BYTES) {
            bytes += record.encoded_len();
            piece.push(record);
        }
        is_over = records.peek().is_none();
        number += 1;
        Some(encode_piece(number - 1, is_over, piece))
    })
}

fn encode_piece(number: u32, is_last: bool, records: Vec<wire::Record>) -> Bytes {
    let body = wire::Records { version: 0, records };
    let mut checked = Vec::with_capacity(HEADER_BYTES - CHECKED_FROM + body.encoded_len());
    checked.put_u32_le(number);
    checked.put_u32_le(u32::from(is_last));
    checked.extend_from_slice(&body.encode_to_vec());
    let mut out = Vec::with_capacity(CHECKED_FROM + checked.len());
    out.extend_from_slice(&MAGIC);
    out.put_u32_le(FORMAT_VERSION);
    out.put_u32_le(crc32c::crc32c(&checked));
    out.extend_from_slice(&checked);
    out.into()
}

/// The records that make a group: those that others refer to come first.
fn group_records<'a>(name: &'a GroupName, group: &'a Group) -> impl Iterator<Item = wire::Record> + 'a {
    let head = std::iter::once(GroupChange::Group(group.head().clone()));
    let members = group.members().flat_map(member_changes);
    let assigned = std::iter::once(GroupChange::Assigned(group.assignment_epoch()));
    let offset = |(partition, offset): (_, &crate::record::CommittedOffset)| GroupChange::Offset {
        partition,
        offset: offset.clone(),
    };
    let changes = head.chain(members).chain(assigned).chain(group.offsets().map(offset));
    changes.map(|change| write_record(&GroupRecord { group: name.clone(), change }))
}

fn member_changes(member: &Member) -> [GroupChange; 3] {
    let id = &member.description.member;
    [
        GroupChange::Member(member.description.clone()),
        GroupChange::Target { member: id.clone(), partitions: member.target.clone() },
        GroupChange::Current { member: id.clone(), current: member.current.clone() },
    ]
}

/// The state that pieces were made of.
pub(crate) fn decode_snapshot<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<GroupsState, GroupsError> {
    let mut state = GroupsState::default();
    let mut is_over = false;
    for (expected, piece) in (0..).zip(pieces) {
        let (number, is_last, records) = decode_piece(piece)?;
        if is_over || number != expected {
            return Err(READER.malformed(format!("piece {number} comes in the place of {expected}")));
        }
        is_over = is_last;
        for record in records {
            state.apply(&read_record(READER, record)?)?;
        }
    }
    match is_over {
        true => Ok(state),
        false => Err(READER.malformed("its last piece is missing")),
    }
}

fn decode_piece(piece: &[u8]) -> Result<(u32, bool, Vec<wire::Record>), GroupsError> {
    let too_short = || READER.malformed(format!("{} bytes are no piece of one", piece.len()));
    let (magic, rest) = piece.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (version, rest) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (stated, checked) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (number, rest) = checked.split_first_chunk::<4>().ok_or_else(too_short)?;
    let (last, body) = rest.split_first_chunk::<4>().ok_or_else(too_short)?;
    if *magic != MAGIC {
        return Err(READER.malformed("it does not start with HWGS"));
    }
    READER.version(u32::from_le_bytes(*version))?;
    let (stated, actual) = (u32::from_le_bytes(*stated), crc32c::crc32c(checked));
    if stated != actual {
        return Err(GroupsError::Checksum { stated, actual });
    }
    let records: wire::Records = READER.message(body)?;
    let is_last = match u32::from_le_bytes(*last) {
        0 => false,
        1 => true,
        other => return Err(READER.malformed(format!("{other} does not say whether it is the last piece"))),
    };
    Ok((u32::from_le_bytes(*number), is_last, records.records))
}
