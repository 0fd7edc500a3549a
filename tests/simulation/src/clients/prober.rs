//! Asks for the ends of partitions: what is told must contain all that was acknowledged or told before the question.

use std::sync::Arc;
use std::time::Duration;

use highwater_client::v1::OffsetPlace;
use highwater_types::Offset;
use tokio::time::{sleep, timeout};

use super::{CALL_WITHIN, Shared};

/// Asks until the load is over.
pub(super) async fn run(shared: Arc<Shared>, number: u32) {
    let name = format!("prober {number}");
    let chance = shared.chance(&name);
    let client = shared.client(&name);
    let admin = client.admin();
    let places = shared.load.places();
    while shared.is_loading() {
        sleep(Duration::from_millis(chance.within(20..200))).await;
        let place = chance.pick(&places);
        let acked_end = shared.history.acked_end(place);
        let (high_watermark, log_start) = shared.seen(place);
        let partition = [place.partition];
        let ask = |end| timeout(CALL_WITHIN, admin.offsets(&place.topic, &partition, end));
        if let Ok(Ok(told)) = ask(OffsetPlace::Latest).await
            && let Some(Some(told)) = told.first().copied()
        {
            let least = acked_end.max(high_watermark);
            if told < least {
                let what = format!("watermark: {place} is told as {told} after {least} was known");
                shared.history.violation(what);
            }
            shared.saw(place, told, Offset::ZERO);
        }
        if let Ok(Ok(told)) = ask(OffsetPlace::Earliest).await
            && let Some(Some(told)) = told.first().copied()
        {
            if told < log_start {
                let what = format!("watermark: {place} starts at {told} after {log_start} was told");
                shared.history.violation(what);
            }
            shared.saw(place, Offset::ZERO, told);
        }
    }
}
