//! A stop finishes running calls.

use std::{sync::Arc, time::Duration};

use chassis::{grpc, lifecycle::Lifecycle, transport::Transport};
use proto::token::v1::{
    ExplainRequest, ExplainResponse, IssueForLiveRoomRequest, IssueForLiveRoomResponse, IssueForNestRequest,
    IssueForNestResponse, IssueForSessionRequest, IssueForSessionResponse,
    token_service_client::TokenServiceClient,
    token_service_server::{TokenService, TokenServiceServer},
};
use testkit::eventually;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Notify,
};
use tonic::{Request, Response, Status, service::Routes, transport::Endpoint};

/// Answers when `go_on` is notified.
#[derive(Clone, Default)]
struct Slow {
    begun: Arc<Notify>,
    go_on: Arc<Notify>,
}

#[tonic::async_trait]
impl TokenService for Slow {
    async fn issue_for_session(
        &self,
        _: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        self.begun.notify_one();
        self.go_on.notified().await;
        Ok(Response::new(IssueForSessionResponse { token: "late".to_owned(), ..Default::default() }))
    }

    async fn issue_for_live_room(
        &self,
        _: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        Err(Status::unimplemented("sessions only"))
    }

    async fn issue_for_nest(
        &self,
        _: Request<IssueForNestRequest>,
    ) -> Result<Response<IssueForNestResponse>, Status> {
        Err(Status::unimplemented("sessions only"))
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("sessions only"))
    }
}

/// As in `greenroom serve`: the signal drops the future that serves.
#[tokio::test]
async fn running_call_is_answered_and_new_ones_refused_on_stop() {
    let (slow, settings, lifecycle) = (Slow::default(), testkit::internal(), Lifecycle::new());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let mut client = TokenServiceClient::new(Transport::to(endpoint, &settings.tokens));
    let call = tokio::spawn(async move { client.issue_for_session(IssueForSessionRequest::default()).await });
    let routes = Routes::new(TokenServiceServer::new(slow.clone()));
    tokio::select! {
        outcome = grpc::serve(routes, listener, &settings, &lifecycle) => panic!("it ended: {outcome:?}"),
        () = slow.begun.notified() => {}
    }
    let own = lifecycle.clone();
    let stopping = tokio::spawn(async move { own.stop(Duration::from_secs(20)).await });
    eventually("new connections are refused", async || match TcpStream::connect(address).await {
        Ok(_) => Err("it still listens"),
        Err(_) => Ok(()),
    })
    .await;
    assert!(!stopping.is_finished() && !call.is_finished());
    slow.go_on.notify_one();
    assert_eq!(call.await.unwrap().unwrap().into_inner().token, "late");
    assert_eq!(stopping.await.unwrap(), 0);
}
