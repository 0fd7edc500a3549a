//! A log under test with the naive model beside it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use highwater_records::{BatchBuilder, Compression, StampedBatch};
use highwater_storage::disk::{Disk, RealDisk, SimDisk};
use highwater_storage::segment::{
    LogSlices, MapBudget, SegmentError, SegmentManifest, SegmentOptions, SegmentedLog,
};
use highwater_types::{LeaderEpoch, Offset, RaftIndex, Term, TimestampMs};

/// A small generator: the same seed gives the same scenario.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// One appended batch as the model remembers it.
#[derive(Clone)]
pub(crate) struct ModelBatch {
    pub(crate) batch: StampedBatch,
    pub(crate) index: RaftIndex,
    pub(crate) term: Term,
    pub(crate) timestamps: Vec<i64>,
}

impl ModelBatch {
    pub(crate) fn bytes(&self) -> Bytes {
        self.batch.to_bytes()
    }
}

/// The naive log: a list of batches.
#[derive(Clone)]
pub(crate) struct Model {
    pub(crate) batches: Vec<ModelBatch>,
    pub(crate) next_offset: Offset,
    pub(crate) next_index: RaftIndex,
    pub(crate) term: Term,
}

impl Model {
    pub(crate) fn new(start: Offset) -> Self {
        Self { batches: Vec::new(), next_offset: start, next_index: RaftIndex(1), term: Term(1) }
    }

    /// Makes the next batch, with one record for each timestamp.
    pub(crate) fn make(
        &mut self,
        timestamps: &[i64],
        value_bytes: usize,
        compression: Compression,
    ) -> ModelBatch {
        let mut builder = BatchBuilder::new().compression(compression);
        for (number, timestamp) in timestamps.iter().enumerate() {
            let value = vec![(self.next_offset.0 as u8).wrapping_add(number as u8); value_bytes];
            builder.append(None, Some(&value), &[], TimestampMs(*timestamp)).expect("a record");
        }
        let batch = builder.build().expect("a batch");
        let batch = batch.stamp(self.next_offset, LeaderEpoch::from(self.term));
        let made =
            ModelBatch { index: self.next_index, term: self.term, timestamps: timestamps.to_vec(), batch };
        self.next_offset = made.batch.next_offset();
        self.next_index = self.next_index.next();
        self.batches.push(made.clone());
        made
    }

    /// A batch of random shape; now and then after a term change or an index that is no batch.
    pub(crate) fn make_random(&mut self, rng: &mut Rng) -> ModelBatch {
        if rng.below(8) == 0 {
            self.term = Term(self.term.0 + 1 + rng.below(3));
            self.next_index = self.next_index.next();
        } else if rng.below(8) == 0 {
            self.next_index = RaftIndex(self.next_index.0 + 1 + rng.below(3));
        }
        let records = 1 + rng.below(4);
        let timestamps: Vec<i64> = (0..records).map(|_| rng.below(1000) as i64).collect();
        let compression = if rng.below(4) == 0 { Compression::Lz4 } else { Compression::None };
        let value_bytes = rng.below(60) as usize;
        self.make(&timestamps, value_bytes, compression)
    }

    pub(crate) fn start_offset(&self) -> Offset {
        self.batches.first().map_or(self.next_offset, |first| first.batch.base_offset())
    }

    /// What [`SegmentedLog::read`] must return.
    pub(crate) fn read(&self, from: Offset, below: Offset, bytes_max: usize) -> Vec<Bytes> {
        let mut out: Vec<Bytes> = Vec::new();
        let mut total = 0;
        for model in self.batches.iter().filter(|model| model.batch.next_offset() > from) {
            let size = model.batch.size_in_bytes();
            let fits = out.is_empty() || total + size <= bytes_max;
            if model.batch.next_offset() > below || !fits || from >= below {
                break;
            }
            total += size;
            out.push(model.bytes());
        }
        out
    }

    pub(crate) fn offset_for_time(
        &self,
        time: i64,
        from: Offset,
        below: Offset,
    ) -> Option<(Offset, TimestampMs)> {
        let records = self.batches.iter().flat_map(|model| {
            let base = model.batch.base_offset();
            let records = model.timestamps.iter().enumerate();
            records.map(move |(number, timestamp)| (base.plus(number as i64), TimestampMs(*timestamp)))
        });
        let mut records = records.filter(|(offset, _)| *offset >= from && *offset < below);
        records.find(|(_, timestamp)| timestamp.0 >= time)
    }
}

pub(crate) fn concat(slices: &[Bytes]) -> Bytes {
    let mut out = BytesMut::new();
    for slice in slices {
        out.extend_from_slice(slice);
    }
    out.freeze()
}

/// A place for a log.
pub(crate) struct Bed {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) sim: Option<SimDisk>,
    pub(crate) options: SegmentOptions,
    root: Option<tempfile::TempDir>,
}

pub(crate) const DIR: &str = "topic/0";

impl Bed {
    pub(crate) fn sim(seed: u64) -> Self {
        let sim = SimDisk::new(seed);
        Self { disk: Arc::new(sim.clone()), sim: Some(sim), options: small_segments(), root: None }
    }

    pub(crate) fn real() -> Self {
        let root = tempfile::tempdir().expect("a directory");
        Self {
            disk: Arc::new(RealDisk::new(root.path().to_path_buf())),
            sim: None,
            options: small_segments(),
            root: Some(root),
        }
    }

    pub(crate) fn create(&self, start: Offset) -> SegmentedLog {
        SegmentedLog::create(Arc::clone(&self.disk), DIR.into(), self.options, MapBudget::new(2), start)
    }

    pub(crate) fn open(&self, manifest: &SegmentManifest) -> Result<SegmentedLog, SegmentError> {
        SegmentedLog::open(Arc::clone(&self.disk), DIR.into(), self.options, MapBudget::new(2), manifest)
    }

    /// Where the machine has a file of the real disk.
    pub(crate) fn absolute(&self, file: &Path) -> String {
        let root = self.root.as_ref().expect("a real disk");
        root.path().join(file).to_string_lossy().into_owned()
    }

    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let names = self.disk.list(DIR.as_ref()).expect("a directory");
        names.into_iter().map(|name| PathBuf::from(DIR).join(name)).collect()
    }
}

/// Runs a scenario on the simulated disk and on the real one.
pub(crate) fn on_both_disks(scenario: impl Fn(Bed)) {
    scenario(Bed::sim(1));
    scenario(Bed::real());
}

pub(crate) fn small_segments() -> SegmentOptions {
    SegmentOptions { segment_bytes: 700, segment_ms: i64::MAX, index_interval_bytes: 150 }
}

pub(crate) fn append(log: &SegmentedLog, model: &ModelBatch) -> Result<(), SegmentError> {
    log.append(&model.batch, model.index, model.term, TimestampMs(0))
}

/// Makes `count` random batches and appends them.
pub(crate) fn fill(log: &SegmentedLog, model: &mut Model, rng: &mut Rng, count: usize) {
    for _ in 0..count {
        append(log, &model.make_random(rng)).expect("an append");
    }
}

/// Makes the log durable as it is.
pub(crate) fn checkpoint(log: &SegmentedLog) -> SegmentManifest {
    let work = log.checkpoint();
    work.sync().expect("a sync");
    work.manifest
}

pub(crate) fn assert_slices(slices: &LogSlices, expected: &[Bytes]) {
    assert_eq!(concat(&slices.slices), concat(expected));
    assert_eq!(slices.batches, expected.len());
    assert_eq!(slices.bytes, expected.iter().map(Bytes::len).sum::<usize>());
}

/// Every read and every lookup against the model.
pub(crate) fn assert_same(log: &SegmentedLog, model: &Model) {
    assert_eq!(log.next_offset(), model.next_offset);
    assert_eq!(log.start_offset(), model.start_offset());
    let total: usize = model.batches.iter().map(|batch| batch.batch.size_in_bytes()).sum();
    assert_eq!(log.size_bytes(), total as u64);
    let (start, next) = (model.start_offset(), model.next_offset);
    for from in start.0..=next.0 {
        for bytes_max in [0, 1, 200, 900, usize::MAX] {
            let read = log.read(Offset(from), next, bytes_max).expect("a read");
            assert_slices(&read, &model.read(Offset(from), next, bytes_max));
        }
    }
    for batch in &model.batches {
        let (found, term) = log.batch_at_index(batch.index).expect("a lookup").expect("a batch");
        assert_eq!((found.to_bytes(), term), (batch.bytes(), batch.term), "index {}", batch.index);
        assert_eq!(log.term_at(batch.batch.last_offset()), Some(batch.term));
    }
}

/// Everything once, in order, by offset and by index.
pub(crate) fn assert_same_in_order(log: &SegmentedLog, model: &Model) {
    assert_eq!(log.next_offset(), model.next_offset);
    assert_eq!(log.start_offset(), model.start_offset());
    let due = model.batches.iter().map(ModelBatch::bytes).collect::<Vec<_>>();
    let mut read = Vec::new();
    let mut at = log.start_offset();
    while at < model.next_offset {
        let part = log.read(at, model.next_offset, 900).expect("a read");
        assert_eq!(part.base_offset, at);
        at = part.next_offset;
        read.extend(part.slices);
    }
    assert!(concat(&read) == concat(&due));
    let by_index = log.batches_at_indexes(RaftIndex(0), RaftIndex(u64::MAX), usize::MAX);
    let by_index = by_index.expect("a lookup");
    assert_eq!(by_index.len(), due.len());
    for (found, due) in by_index.iter().zip(&model.batches) {
        assert_eq!((found.index, found.term), (due.index, due.term));
        assert!(found.batch == due.batch);
    }
}
