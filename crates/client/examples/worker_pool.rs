//! A pool of workers over a topic of jobs: many at a time, those of one customer one after the other, each tried again when it fails.
//! Start it in several terminals, and they share the work. Ctrl-C finishes what was begun and leaves.
//!
//! ```sh
//! highwater dev --nodes 3       # in another terminal; it says where its nodes are
//! cargo run -p highwater-client --example worker_pool -- 127.0.0.1:7400
//! ```
#![allow(clippy::print_stdout, reason = "it is for people to look at")]

use std::time::Duration;

use highwater_client::v1::CreateTopicRequest;
use highwater_client::{
    AfterFailure, Client, ClientError, GroupHandlerConfig, GroupRecord, ProducerConfig, ProducerRecord,
    RecordHandler,
};
use highwater_types::ErrorCode;

const TOPIC: &str = "jobs";
const PARTITIONS: u32 = 8;
const JOBS: u32 = 200;

/// Does jobs. Every seventh fails, whatever one does.
struct Worker;

impl RecordHandler for Worker {
    type Error = String;

    async fn handle(&self, record: GroupRecord) -> Result<(), String> {
        // What would be a call to somewhere.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let job = text(record.record.value.as_deref());
        if job.ends_with('7') {
            return Err("the number has a 7 at its end".to_owned());
        }
        println!("{} did job {job} of {}", record.partition, text(record.record.key.as_deref()));
        Ok(())
    }

    async fn on_failure(&self, record: &GroupRecord, error: String) -> AfterFailure {
        println!("job {} is left out: {error}", text(record.record.value.as_deref()));
        AfterFailure::Skip
    }
}

fn text(bytes: Option<&[u8]>) -> String {
    String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
}

#[tokio::main]
async fn main() -> Result<(), ClientError> {
    let server = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".to_owned());
    let client = Client::connect([server])?;
    write_jobs(&client).await?;
    let config = GroupHandlerConfig { attempts_max: 3, ..GroupHandlerConfig::new("workers", [TOPIC]) };
    let mut workers = client.group_handler(config, Worker)?;
    tokio::select! {
        outcome = workers.wait() => outcome,
        _ = tokio::signal::ctrl_c() => workers.stop().await,
    }
}

/// Makes the topic, unless it is there, and writes jobs for some customers to it.
async fn write_jobs(client: &Client) -> Result<(), ClientError> {
    let request =
        CreateTopicRequest { name: TOPIC.to_owned(), partitions: PARTITIONS, ..CreateTopicRequest::default() };
    match client.admin().create_topic(request).await {
        Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => return Err(error),
        _ => {}
    }
    let producer = client.producer(ProducerConfig::default())?;
    for job in 0..JOBS {
        let record = ProducerRecord::key_value(format!("customer-{}", job % 20), job.to_string());
        drop(producer.send(TOPIC, record).await?);
    }
    producer.close().await
}
