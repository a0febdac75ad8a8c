//! Compiles `proto/` with protox (no protoc) and keeps the descriptors for gRPC reflection.
use std::{env, error::Error, fs, path::PathBuf};

use prost::Message;

const FILES: [&str; 13] = [
    "greenroom/types/v1/caller.proto",
    "greenroom/types/v1/states.proto",
    "greenroom/booking/v1/booking.proto",
    "greenroom/room/v1/room.proto",
    "greenroom/room/v1/live.proto",
    "greenroom/room/v1/seats.proto",
    "greenroom/room/v1/nest.proto",
    "greenroom/room/v1/moderation.proto",
    "greenroom/room/v1/admin.proto",
    "greenroom/room/v1/diagnosis.proto",
    "greenroom/room/v1/recording.proto",
    "greenroom/sync/v1/sync.proto",
    "greenroom/token/v1/token.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let descriptors = protox::compile(FILES, [&root])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("descriptors.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
