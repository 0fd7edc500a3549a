//! One open ProduceStream: a bounded queue in each direction. It orders nothing and retries
//! nothing; when either side ends, it is over.

use std::sync::Arc;

use highwater_proto::v1::{ProduceStreamRequest, ProduceStreamResponse};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use crate::connections::{Connections, Server, no_answer};
use crate::error::ClientError;

/// Most batches on their way over one stream; also the bound of both queues.
pub(crate) const STREAM_BATCHES_MAX: usize = 1024;

/// What comes out of a stream: an answer, or its end.
pub(crate) type Incoming = Result<ProduceStreamResponse, ClientError>;

/// See the module.
pub(crate) struct ProduceStream {
    pub(crate) server: Server,
    requests: mpsc::Sender<ProduceStreamRequest>,
    responses: mpsc::Receiver<Incoming>,
    reader: JoinHandle<()>,
}

impl ProduceStream {
    /// Opens a stream to the current server.
    pub(crate) async fn open(
        connections: Arc<Connections>,
        timeout: std::time::Duration,
    ) -> Result<Self, ClientError> {
        let server = connections.current();
        let (requests, outgoing) = mpsc::channel(STREAM_BATCHES_MAX);
        let mut client = server.log();
        let opened =
            match tokio::time::timeout(timeout, client.produce_stream(ReceiverStream::new(outgoing))).await {
                Ok(Ok(response)) => Ok(response.into_inner()),
                Ok(Err(status)) => Err(ClientError::from_status(&status, &server.address)),
                Err(_) => Err(no_answer(&server, timeout)),
            };
        let incoming = opened.inspect_err(|_| connections.move_on_from(&server))?;
        let (answers, responses) = mpsc::channel(STREAM_BATCHES_MAX);
        let reader = tokio::spawn(read(incoming, answers, server.address.clone()));
        Ok(Self { server, requests, responses, reader })
    }

    /// Sends a request. The caller keeps at most [`STREAM_BATCHES_MAX`] unanswered, so that there is always room.
    /// Returns whether the stream still takes requests.
    pub(crate) fn send(&self, request: ProduceStreamRequest) -> bool {
        self.requests.try_send(request).is_ok()
    }

    /// Waits for answers and appends those that are there to `out`. The last one of a stream is an error.
    /// Cancel-safe.
    pub(crate) async fn receive(&mut self, out: &mut Vec<Incoming>) {
        if self.responses.recv_many(out, STREAM_BATCHES_MAX).await == 0 {
            out.push(Err(ended(&self.server.address)));
        }
    }
}

impl Drop for ProduceStream {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn read(mut incoming: Streaming<ProduceStreamResponse>, answers: mpsc::Sender<Incoming>, server: String) {
    loop {
        let answer = match incoming.message().await {
            Ok(Some(response)) => Ok(response),
            Ok(None) => Err(ended(&server)),
            Err(status) => Err(ClientError::from_status(&status, &server)),
        };
        let is_last = answer.is_err();
        if answers.send(answer).await.is_err() || is_last {
            return;
        }
    }
}

fn ended(server: &str) -> ClientError {
    ClientError::Connection { server: server.to_owned(), reason: "the server ended the stream".to_owned() }
}
