//! The fake node's LogService: produce with faults, subscribe with credit and cuts, offsets.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_proto::v1::log_service_server::LogService;
use highwater_proto::v1::*;
use highwater_types::ErrorCode;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{FakeNode, Fault, State};

type Answer<T> = Result<Response<T>, Status>;
type Outgoing<T> = ReceiverStream<Result<T, Status>>;

#[tonic::async_trait]
impl LogService for FakeNode {
    type ProduceStreamStream = Outgoing<ProduceStreamResponse>;
    type SubscribeStream = Outgoing<SubscribeResponse>;

    async fn produce(&self, _: Request<ProduceRequest>) -> Answer<ProduceResponse> {
        Err(Status::unimplemented("the fake node has no such call"))
    }

    async fn produce_stream(
        &self,
        request: Request<Streaming<ProduceStreamRequest>>,
    ) -> Answer<Self::ProduceStreamStream> {
        let (answers, outgoing) = mpsc::channel(16);
        let (node, mut incoming) = (self.clone(), request.into_inner());
        node.state().produce_streams += 1;
        tokio::spawn(async move {
            while let Ok(Some(request)) = incoming.message().await {
                let answer = produce(&mut node.state(), node.id, request);
                node.changed.notify_waiters();
                let Some(answer) = answer.transpose() else { continue };
                let is_last = answer.is_err();
                if answers.send(answer).await.is_err() || is_last {
                    return;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn fetch(&self, _: Request<FetchRequest>) -> Answer<FetchResponse> {
        Err(Status::unimplemented("the fake node has no such call"))
    }

    async fn subscribe(&self, request: Request<Streaming<SubscribeRequest>>) -> Answer<Self::SubscribeStream> {
        let (pushes, outgoing) = mpsc::channel(4);
        let (node, incoming) = (self.clone(), request.into_inner());
        tokio::spawn(async move { subscribe(node, incoming, pushes).await });
        Ok(Response::new(ReceiverStream::new(outgoing)))
    }

    async fn list_offsets(&self, request: Request<ListOffsetsRequest>) -> Answer<ListOffsetsResponse> {
        let state = self.state();
        let find = |query: OffsetQuery| {
            let partition = query.partition;
            if !state.leads(self.id, partition) {
                let error = offset_result::Result::Error(state.not_leader(partition));
                return OffsetResult { partition, result: Some(error) };
            }
            let end = state.partitions[usize::try_from(partition).expect("a small number")].end;
            let found = FoundOffset { offset: Some(end), timestamp_ms: None };
            OffsetResult { partition, result: Some(offset_result::Result::Found(found)) }
        };
        let results = request.into_inner().queries.into_iter().map(find).collect();
        Ok(Response::new(ListOffsetsResponse { topic_id: state.topic_id.clone(), results }))
    }

    async fn init_producer(&self, _: Request<InitProducerRequest>) -> Answer<InitProducerResponse> {
        let mut state = self.state();
        state.producers += 1;
        Ok(Response::new(InitProducerResponse { producer_id: state.producers, producer_epoch: 0 }))
    }
}

/// Appends a request, or does what its fault says. `None` is no answer.
fn produce(
    state: &mut State,
    id: u64,
    request: ProduceStreamRequest,
) -> Result<Option<ProduceStreamResponse>, Status> {
    if state.frozen.contains(&id) {
        return Ok(None);
    }
    let number = state.produce_requests;
    state.produce_requests += 1;
    let produce = request.request.expect("a request in the message");
    let refused = |code| produce_stream_response::Result::Error(ErrorDetail::new(code, "told to"));
    let broken = || Err(Status::unavailable("the fake node breaks the stream"));
    let fault = state.produce_faults.remove(&number);
    let result = if fault == Some(Fault::LoseRequest) {
        return broken();
    } else if fault == Some(Fault::NoAnswer) {
        return Ok(None);
    } else if let Some(Fault::Refuse(code)) = fault {
        refused(code)
    } else if !state.leads(id, produce.partition) && state.forwarded.is_none() {
        produce_stream_response::Result::Error(state.not_leader(produce.partition))
    } else if produce.topic_id != state.topic_id {
        refused(ErrorCode::UnknownTopicId)
    } else {
        let Some(produce_request::Data::Batch(bytes)) = produce.data else { panic!("a batch") };
        let leader = state.not_leader(produce.partition).leader.filter(|leader| leader.node_id != id);
        if let (Some(forwarded), Some(_)) = (&mut state.forwarded, &leader) {
            *forwarded += 1;
        }
        let partition = usize::try_from(produce.partition).expect("a small number");
        match state.partitions[partition].append(bytes) {
            Ok(base_offset) => produce_stream_response::Result::Ack(ProduceResponse {
                base_offset,
                leader,
                ..ProduceResponse::default()
            }),
            Err(code) => refused(code),
        }
    };
    match fault {
        Some(Fault::LoseAck) => broken(),
        Some(Fault::AppendAndTimeOut) => {
            let result = Some(refused(ErrorCode::Timeout));
            Ok(Some(ProduceStreamResponse { correlation_id: request.correlation_id, result }))
        }
        _ => Ok(Some(ProduceStreamResponse { correlation_id: request.correlation_id, result: Some(result) })),
    }
}

/// What is to be sent next, if anything.
struct Feed {
    next: BTreeMap<u32, i64>,
    credit: i64,
    pushes_left: Option<u64>,
}

async fn subscribe(
    node: FakeNode,
    mut incoming: Streaming<SubscribeRequest>,
    pushes: mpsc::Sender<Result<SubscribeResponse, Status>>,
) {
    let Ok(Some(SubscribeRequest { message: Some(subscribe_request::Message::Start(start)) })) =
        incoming.message().await
    else {
        panic!("the first message is the start")
    };
    let (mut feed, first) = start_feed(&node, start);
    for push in first {
        if pushes.send(Ok(push)).await.is_err() {
            return;
        }
    }
    loop {
        let changed = node.changed.notified();
        if let Some(push) = next_push(&node, &mut feed) {
            if pushes.send(push).await.is_err() {
                return;
            }
            continue;
        }
        if feed.pushes_left == Some(0) || feed.next.is_empty() {
            return;
        }
        tokio::select! {
            () = changed => {}
            message = incoming.message() => match message {
                Ok(Some(SubscribeRequest { message: Some(subscribe_request::Message::Credit(credit)) })) => {
                    feed.credit += i64::try_from(credit.bytes).expect("a small credit");
                }
                _ => return,
            }
        }
    }
}

fn start_feed(node: &FakeNode, start: SubscribeStart) -> (Feed, Vec<SubscribeResponse>) {
    let mut state = node.state();
    state.subscriptions += 1;
    let mut feed = Feed {
        next: BTreeMap::new(),
        credit: i64::try_from(start.credit_bytes).expect("a small credit"),
        pushes_left: if state.subscribe_cuts.is_empty() { None } else { Some(state.subscribe_cuts.remove(0)) },
    };
    let mut first = Vec::new();
    for wanted in start.partitions {
        if !state.leads(node.id, wanted.partition) {
            let error = subscribe_response::Message::Error(state.not_leader(wanted.partition));
            first.push(SubscribeResponse { message: Some(error) });
            continue;
        }
        let end = state.partitions[usize::try_from(wanted.partition).expect("a small number")].end;
        let position = wanted.position.and_then(|position| position.position);
        let next = match position {
            Some(start_position::Position::Offset(offset)) => offset,
            Some(start_position::Position::Named(named)) if named == i32::from(NamedPosition::Latest) => end,
            _ => 0,
        };
        if next > end {
            let detail = ErrorDetail::new(ErrorCode::OffsetOutOfRange, "beyond the end");
            let message = subscribe_response::Message::Error(detail.with_partition(wanted.partition));
            first.push(SubscribeResponse { message: Some(message) });
            continue;
        }
        feed.next.insert(wanted.partition, next);
        first.push(push(wanted.partition, Vec::new(), next, end));
    }
    (feed, first)
}

fn next_push(node: &FakeNode, feed: &mut Feed) -> Option<Result<SubscribeResponse, Status>> {
    let mut state = node.state();
    if state.frozen.contains(&node.id) {
        return None;
    }
    let lost = feed.next.keys().copied().find(|partition| !state.leads(node.id, *partition));
    if let Some(partition) = lost {
        feed.next.remove(&partition);
        let error = subscribe_response::Message::Error(state.not_leader(partition));
        return Some(Ok(SubscribeResponse { message: Some(error) }));
    }
    let next = feed.next.iter_mut().find_map(|(partition, next)| {
        let log = &state.partitions[usize::try_from(*partition).expect("a small number")];
        log.batch_at(*next).map(|batch| (*partition, next, batch.clone(), log.end))
    });
    let (partition, next, batch, end) = next?;
    if feed.pushes_left == Some(0) {
        feed.next.clear();
        return Some(Err(Status::unavailable("the fake node breaks the stream")));
    }
    if feed.credit <= 0 {
        return None;
    }
    let bytes = batch.bytes().clone();
    let charged = i64::try_from(bytes.len()).expect("a small batch");
    feed.credit -= charged;
    feed.pushes_left = feed.pushes_left.map(|left| left - 1);
    *next = batch.next_offset().0;
    state.pushed_bytes += charged.cast_unsigned();
    Some(Ok(push(partition, vec![bytes], *next, end)))
}

fn push(partition: u32, batches: Vec<Bytes>, next_offset: i64, high_watermark: i64) -> SubscribeResponse {
    let charged_bytes = batches.iter().map(|bytes| bytes.len() as u64).sum();
    let data = RecordData { batches, next_offset, high_watermark, ..RecordData::default() };
    let push = SubscribePush { partition, topic_id: String::new(), data: Some(data), charged_bytes };
    SubscribeResponse { message: Some(subscribe_response::Message::Push(push)) }
}
