//! gRPC reflection lists the services of its own port.

use chassis::{grpc::with_health, lifecycle::Lifecycle, service::Runtime, transport::Transport};
use proto::sync::v1::sync_service_server::SyncServiceServer;
use tonic::service::Routes;
use tonic_reflection::pb::{v1, v1alpha};

const LISTED: [&str; 4] = [
    "greenroom.sync.v1.SyncService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// Lists the services of a port, by one version of the protocol: both have the same messages in different modules.
macro_rules! listed {
    ($version:ident, $transport:expr) => {{
        use $version::{
            ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
            server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
        };
        let request = ServerReflectionRequest {
            message_request: Some(MessageRequest::ListServices(String::new())),
            ..ServerReflectionRequest::default()
        };
        let mut client = ServerReflectionClient::new($transport);
        let answers = client.server_reflection_info(futures::stream::iter([request])).await.unwrap();
        let answer = answers.into_inner().message().await.unwrap().unwrap();
        let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
            panic!("not a list of services: {answer:?}")
        };
        let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
        names.sort();
        names
    }};
}

async fn served(lifecycle: &Lifecycle) -> Transport {
    let settings = testkit::internal();
    let runtime = Runtime { lifecycle: lifecycle.clone(), ..Runtime::default() };
    let routes =
        with_health::<SyncServiceServer<()>>(Routes::default(), &settings, &runtime, "database".into());
    testkit::serve_routes(routes, &settings, lifecycle).await.transport
}

#[tokio::test]
async fn reflection_lists_only_the_services_of_its_port() {
    let lifecycle = Lifecycle::new();
    let transport = served(&lifecycle).await;
    assert_eq!(listed!(v1, transport.clone()), LISTED, "reflection v1");
    assert_eq!(listed!(v1alpha, transport), LISTED, "reflection v1alpha");
}
