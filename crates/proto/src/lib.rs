//! The gRPC API, generated from `proto/highwater` at build time, and the one
//! place where an error becomes a gRPC status and a status an error again.
//!
//! It never decides anything: what a message means is said in the `.proto` files.

mod status;

/// Package `highwater.v1`: messages, clients and server traits.
#[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
pub mod v1 {
    tonic::include_proto!("highwater.v1");
}

/// Package `highwater.internal.v1`: what nodes say to each other over gRPC.
pub mod internal {
    #[allow(missing_docs, unreachable_pub, clippy::all, rustdoc::all)]
    pub mod v1 {
        tonic::include_proto!("highwater.internal.v1");
    }
}

pub use status::ERROR_DOMAIN;

/// The encoded `FileDescriptorSet` of the API, comments included, for reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
