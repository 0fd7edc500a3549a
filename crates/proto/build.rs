//! Compiles `proto/` with protox, so that no protoc is needed: messages, clients and
//! servers, and the descriptor set (with comments) for reflection and the lint test.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message as _;

const FILES: [&str; 6] = [
    "highwater/internal/v1/cluster_service.proto",
    "highwater/v1/admin_service.proto",
    "highwater/v1/errors.proto",
    "highwater/v1/group_service.proto",
    "highwater/v1/log_service.proto",
    "highwater/v1/records.proto",
];

#[allow(clippy::print_stdout, reason = "how a build script talks to cargo")]
fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_source_info(true).include_imports(true);
    compiler.open_files(FILES)?;
    let descriptors = compiler.file_descriptor_set();

    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
