//! NATS' side: a bench that publishes to a file stream, with a bound on what is not acknowledged.

use highwater_benches::BenchError;

use crate::contender::Run;
use crate::program::Program;

/// See the module.
pub(crate) struct Nats {
    pub(crate) tools: Program,
    pub(crate) servers: String,
    pub(crate) replicas: u32,
    /// Messages in one run.
    pub(crate) records: usize,
    /// Messages that may be without an acknowledgement.
    pub(crate) open: usize,
    pub(crate) processes: Vec<u32>,
}

impl Nats {
    pub(crate) fn publish(&self, size: usize) -> Result<Run, BenchError> {
        let [replicas, bytes, records, open] =
            [self.replicas.to_string(), size.to_string(), self.records.to_string(), self.open.to_string()];
        let mut arguments = vec!["bench", "pub-async", "-server", &self.servers, "-replicas", &replicas];
        arguments.extend(["-size", &bytes, "-msgs", &records, "-pending", &open]);
        let output = self.tools.run(arguments)?;
        let records_per_second = self.tools.number_after(&output, "msg/s ")?;
        Ok(Run { records: self.records, records_per_second })
    }
}
