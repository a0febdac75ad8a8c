//! gRPC reflection, v1 and v1alpha: lists the services of this port and no others.

use prost::Message;
use prost_types::FileDescriptorSet;
use tonic::service::Routes;
use tonic_reflection::{
    pb,
    server::{Builder, Error},
};

const V1: &str = "grpc.reflection.v1.ServerReflection";
const V1ALPHA: &str = "grpc.reflection.v1alpha.ServerReflection";
const HEALTH: &str = "grpc.health.v1.Health";

/// Adds reflection to routes that serve every service of the package of `service`, and health.
pub(super) fn with_reflection(routes: Routes, service: &str) -> Result<Routes, Error> {
    let names = names(service)?;
    let builder = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(proto::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(pb::v1alpha::FILE_DESCRIPTOR_SET)
            // `names` lists both versions already.
            .include_reflection_service(false);
        names.iter().fold(builder, Builder::with_service_name)
    };
    let (v1, v1alpha) = (builder().build_v1()?, builder().build_v1alpha()?);
    Ok(routes.add_service(v1).add_service(v1alpha))
}

/// The services of the package of `service`, which share one port (a package is a service of Greenroom), and the services
/// of every port.
fn names(service: &str) -> Result<Vec<String>, Error> {
    let package = service.rsplit_once('.').map_or("", |(package, _)| package);
    let descriptors = FileDescriptorSet::decode(proto::DESCRIPTORS)?;
    let ours = descriptors.file.iter().filter(|file| file.package() == package);
    let ours =
        ours.flat_map(|file| &file.service).map(|service| format!("{package}.{name}", name = service.name()));
    Ok([HEALTH, V1, V1ALPHA].map(str::to_owned).into_iter().chain(ours).collect())
}
