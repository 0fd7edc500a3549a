// Record batches by Kafka's own Java client, for the tests of this crate.
//
//   java -cp "$HIGHWATER_KAFKA_LIB/*" Golden.java write DIR        writes NAME.bin and NAME.txt for every case
//   java -cp "$HIGHWATER_KAFKA_LIB/*" Golden.java describe FILE…   prints what Kafka reads from each file
//
// A description has one line for a batch and one for each of its records. Bytes are null, hex,
// or, beyond 64 bytes, their length and CRC32C.

import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.Random;
import java.util.zip.CRC32C;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.CompressionType;
import org.apache.kafka.common.record.ControlRecordType;
import org.apache.kafka.common.record.EndTransactionMarker;
import org.apache.kafka.common.record.MemoryRecords;
import org.apache.kafka.common.record.MemoryRecordsBuilder;
import org.apache.kafka.common.record.MutableRecordBatch;
import org.apache.kafka.common.record.Record;
import org.apache.kafka.common.record.RecordBatch;
import org.apache.kafka.common.record.TimestampType;

public class Golden {
    static final long TIME = 1_700_000_000_000L;
    static final Header[] NO_HEADERS = {};

    public static void main(String[] args) throws Exception {
        if (args.length == 2 && args[0].equals("write")) {
            writeAll(Path.of(args[1]));
        } else if (args.length >= 2 && args[0].equals("describe")) {
            for (int i = 1; i < args.length; i++) {
                System.out.println("file " + Path.of(args[i]).getFileName());
                describe(ByteBuffer.wrap(Files.readAllBytes(Path.of(args[i]))), System.out);
            }
        } else {
            System.err.println("usage: Golden write DIR | Golden describe FILE...");
            System.exit(2);
        }
    }

    static void writeAll(Path dir) throws Exception {
        for (CompressionType codec : CompressionType.values()) {
            write(dir, codec.name + "-mixed", mixed(codec));
            write(dir, codec.name + "-many", many(codec));
            if (codec != CompressionType.NONE) {
                write(dir, codec.name + "-blocks", blocks(codec));
            }
        }
        write(dir, "none-idempotent", idempotent(CompressionType.NONE));
        write(dir, "zstd-transactional", transactional(CompressionType.ZSTD));
        write(dir, "none-log-append-time", logAppendTime(CompressionType.NONE));
        write(dir, "gzip-log-append-time", logAppendTime(CompressionType.GZIP));
        write(dir, "none-no-timestamp", noTimestamp());
        write(dir, "none-control", control());
        write(dir, "two-batches", concatenate(mixed(CompressionType.NONE), many(CompressionType.LZ4)));
    }

    /** Null and empty keys, values and header values; repeated header names; time that goes back. */
    static ByteBuffer mixed(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.CREATE_TIME, 42, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false, 7);
        b.append(TIME, utf8("key"), utf8("value"));
        b.append(TIME - 86_400_000, null, utf8("no key, a day earlier"));
        b.append(TIME + 5, utf8("no value"), null);
        b.append(TIME + 5, (byte[]) null, (byte[]) null);
        b.append(TIME + 1, new byte[0], new byte[0]);
        b.append(TIME + 2, utf8("héadérs"), utf8("v"), new Header[] {
            new RecordHeader("trace", utf8("abc")), new RecordHeader("trace", (byte[]) null), new RecordHeader("", new byte[0])});
        byte[] noise = new byte[1500];
        new Random(7).nextBytes(noise);
        b.append(TIME + 3, utf8("noise"), noise);
        return finish(b);
    }

    /** Enough records for offset deltas of two bytes. */
    static ByteBuffer many(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.CREATE_TIME, 1_000_000, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false, 1);
        for (int i = 0; i < 200; i++) {
            b.append(TIME + i, utf8("k" + i % 7), utf8("value " + i));
        }
        return finish(b);
    }

    /** Values that take several blocks of every codec. */
    static ByteBuffer blocks(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false, 0);
        for (int i = 0; i < 3; i++) {
            b.append(TIME, utf8("large" + i), utf8(("All work and no play " + i + ". ").repeat(5000)));
        }
        return finish(b);
    }

    static ByteBuffer idempotent(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.CREATE_TIME, 5, RecordBatch.NO_TIMESTAMP,
            4711, (short) 3, Integer.MAX_VALUE - 1, false, false, 2);
        for (int i = 0; i < 4; i++) {
            b.append(TIME + i, utf8("k"), utf8("sequence wraps " + i));
        }
        return finish(b);
    }

    static ByteBuffer transactional(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.CREATE_TIME, 5, RecordBatch.NO_TIMESTAMP,
            4711, (short) 0, 0, true, false, 2);
        b.append(TIME, utf8("k"), utf8("in a transaction"));
        return finish(b);
    }

    static ByteBuffer logAppendTime(CompressionType codec) {
        MemoryRecordsBuilder b = builder(codec, TimestampType.LOG_APPEND_TIME, 77, TIME + 12345,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false, 9);
        b.append(TIME, utf8("a"), utf8("1"));
        b.append(TIME + 9, utf8("b"), utf8("2"));
        return finish(b);
    }

    static ByteBuffer noTimestamp() {
        MemoryRecordsBuilder b = builder(CompressionType.NONE, TimestampType.CREATE_TIME, 0, RecordBatch.NO_TIMESTAMP,
            RecordBatch.NO_PRODUCER_ID, RecordBatch.NO_PRODUCER_EPOCH, RecordBatch.NO_SEQUENCE, false, false, -1);
        b.append(RecordBatch.NO_TIMESTAMP, utf8("timeless"), utf8("v"));
        return finish(b);
    }

    static ByteBuffer control() {
        MemoryRecordsBuilder b = builder(CompressionType.NONE, TimestampType.CREATE_TIME, 6, RecordBatch.NO_TIMESTAMP,
            4711, (short) 0, RecordBatch.NO_SEQUENCE, true, true, 2);
        b.appendEndTxnMarker(TIME, new EndTransactionMarker(ControlRecordType.COMMIT, 0));
        return finish(b);
    }

    static MemoryRecordsBuilder builder(CompressionType codec, TimestampType type, long baseOffset, long logAppendTime,
            long producerId, short producerEpoch, int baseSequence, boolean transactional, boolean control, int epoch) {
        return MemoryRecords.builder(ByteBuffer.allocate(1 << 20), RecordBatch.MAGIC_VALUE_V2, Compression.of(codec).build(),
            type, baseOffset, logAppendTime, producerId, producerEpoch, baseSequence, transactional, control, epoch);
    }

    static ByteBuffer finish(MemoryRecordsBuilder builder) {
        return builder.build().buffer().duplicate();
    }

    static ByteBuffer concatenate(ByteBuffer first, ByteBuffer second) {
        ByteBuffer both = ByteBuffer.allocate(first.remaining() + second.remaining());
        return both.put(first).put(second).flip();
    }

    static void write(Path dir, String name, ByteBuffer batches) throws Exception {
        byte[] bytes = new byte[batches.remaining()];
        batches.duplicate().get(bytes);
        Files.write(dir.resolve(name + ".bin"), bytes);
        try (PrintStream out = new PrintStream(Files.newOutputStream(dir.resolve(name + ".txt")))) {
            describe(batches, out);
        }
    }

    static void describe(ByteBuffer bytes, PrintStream out) {
        Iterator<MutableRecordBatch> batches = MemoryRecords.readableRecords(bytes).batchIterator();
        int read = 0;
        while (batches.hasNext()) {
            MutableRecordBatch batch = batches.next();
            batch.ensureValid();
            read += batch.sizeInBytes();
            out.println("batch base_offset=" + batch.baseOffset() + " last_offset=" + batch.lastOffset()
                + " leader_epoch=" + batch.partitionLeaderEpoch() + " codec=" + batch.compressionType().name
                + " timestamp_type=" + batch.timestampType() + " max_timestamp=" + batch.maxTimestamp()
                + " producer_id=" + batch.producerId() + " producer_epoch=" + batch.producerEpoch()
                + " base_sequence=" + batch.baseSequence() + " transactional=" + batch.isTransactional()
                + " control=" + batch.isControlBatch() + " count=" + batch.countOrNull());
            for (Record record : batch) {
                record.ensureValid();
                StringBuilder line = new StringBuilder("record offset=" + record.offset() + " timestamp=" + record.timestamp()
                    + " key=" + show(record.key()) + " value=" + show(record.value()));
                for (Header header : record.headers()) {
                    line.append(" header=").append(show(ByteBuffer.wrap(utf8(header.key())))).append(':')
                        .append(show(header.value() == null ? null : ByteBuffer.wrap(header.value())));
                }
                out.println(line);
            }
        }
        if (read != bytes.limit()) {
            throw new IllegalStateException("Kafka read " + read + " of " + bytes.limit() + " bytes");
        }
    }

    static String show(ByteBuffer bytes) {
        if (bytes == null) {
            return "null";
        }
        byte[] copy = new byte[bytes.remaining()];
        bytes.duplicate().get(copy);
        if (copy.length <= 64) {
            return "hex(" + HexFormat.of().formatHex(copy) + ")";
        }
        CRC32C crc = new CRC32C();
        crc.update(copy);
        return "crc32c(" + copy.length + "," + String.format("%08x", crc.getValue()) + ")";
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
