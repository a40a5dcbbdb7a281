//! Facts about the connector on real servers: s3s-fs checks every signature, moto has versions and Object Lock.

mod conforming;
mod facts;
mod lab;
#[cfg(feature = "parquet")]
mod tables;
mod troubling;
