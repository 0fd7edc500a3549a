//! Records that are produced all the time, through `highwater produce`, and the account of them at the end.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::support::{BINARY, text};

/// From one record to the next.
const PACE: Duration = Duration::from_millis(3);
/// Records of one key keep their order.
const KEYS: u64 = 40;

/// See the module.
pub(crate) struct Load {
    topic: String,
    servers: String,
    producer: Producer,
    feeder: JoinHandle<u64>,
    enough: Sender<()>,
}

/// It dies with its test.
struct Producer(Child);

impl Drop for Producer {
    fn drop(&mut self) {
        // It has ended when all went well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Load {
    /// Produces to a topic until it is settled.
    pub(crate) fn start(topic: &str, servers: &str) -> Self {
        let mut producer = Command::new(BINARY)
            .args(["produce", topic, "--format", "json"])
            .env("HIGHWATER_SERVER", servers)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut stdin = producer.stdin.take().expect("stdin is piped");
        let (enough, is_enough) = mpsc::channel();
        let feeder = std::thread::spawn(move || {
            let mut count = 0;
            while is_enough.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                let line = format!("{{\"key\":\"{}\",\"value\":\"{count}\"}}\n", count % KEYS);
                // A producer that gave up is found out at the end.
                if stdin.write_all(line.as_bytes()).and_then(|()| stdin.flush()).is_err() {
                    break;
                }
                count += 1;
            }
            count
        });
        Self {
            topic: topic.to_owned(),
            servers: servers.to_owned(),
            producer: Producer(producer),
            feeder,
            enough,
        }
    }

    /// Stops, and checks that every record is there once, in order.
    pub(crate) fn settle(self) {
        let Self { mut producer, topic, servers, feeder, enough } = self;
        drop(enough);
        let sent = feeder.join().expect("the feeder ends");
        let mut said = String::new();
        let errors = producer.0.stderr.as_mut().expect("stderr is piped");
        errors.read_to_string(&mut said).expect("text");
        assert!(producer.0.wait().expect("the producer ends").success(), "{said}");
        let read = Command::new(BINARY)
            .args(["consume", &topic, "--from", "earliest", "--until-end"])
            .env("HIGHWATER_SERVER", servers)
            .output()
            .expect("the binary runs");
        assert!(read.status.success(), "{}", text(&read.stderr));
        let mut last_of_key = BTreeMap::new();
        let mut found = 0;
        for line in text(&read.stdout).lines() {
            let number: u64 = line.parse().expect("a number");
            let before = last_of_key.insert(number % KEYS, number);
            assert!(before < Some(number), "{number} after {before:?}");
            found += 1;
        }
        // None twice, by their order, and so many: none is missing.
        assert!(sent > 0 && found == sent, "{found} of {sent} records are there");
    }
}
