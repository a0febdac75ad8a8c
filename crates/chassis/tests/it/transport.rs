//! The same tests over both transports: a channel to a socket, and the routes called in this process.

use std::{sync::Arc, time::Duration};

use chassis::{
    context,
    grpc::{GuardLayer, InternalTokens, Settings, TOKEN_HEADER, with_health},
    lifecycle::Lifecycle,
    service::Runtime,
    status::{Reason, Refusal},
    transport::Transport,
};
use proto::token::v1::{
    ExplainRequest, ExplainResponse, IssueForLiveRoomRequest, IssueForLiveRoomResponse, IssueForNestRequest,
    IssueForNestResponse, IssueForSessionRequest, IssueForSessionResponse,
    token_service_client::TokenServiceClient,
    token_service_server::{TokenService, TokenServiceServer},
};
use tonic::{Code, Request, Response, Status, service::Routes, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

/// Behaves as the session id says.
#[derive(Clone)]
struct Obedient;

#[tonic::async_trait]
impl TokenService for Obedient {
    async fn issue_for_session(
        &self,
        request: Request<IssueForSessionRequest>,
    ) -> Result<Response<IssueForSessionResponse>, Status> {
        match request.into_inner().session_id.as_str() {
            "panic" => panic!("on purpose"),
            "hang" => std::future::pending().await,
            "talk" => Ok(Response::new(IssueForSessionResponse {
                token: "x".repeat(2_000),
                ..IssueForSessionResponse::default()
            })),
            "refuse" => Err(Refusal::new(Reason::TooEarly, "Too early.").with("opens_at", "then").into()),
            _ => {
                let context = context::current().unwrap();
                let left = context.deadline.saturating_duration_since(std::time::Instant::now());
                Ok(Response::new(IssueForSessionResponse {
                    token: context.request_id.to_string(),
                    identity: left.as_millis().to_string(),
                    ..IssueForSessionResponse::default()
                }))
            }
        }
    }

    async fn issue_for_live_room(
        &self,
        _: Request<IssueForLiveRoomRequest>,
    ) -> Result<Response<IssueForLiveRoomResponse>, Status> {
        Err(Status::unimplemented("the suite asks for bookings only"))
    }

    async fn issue_for_nest(
        &self,
        _: Request<IssueForNestRequest>,
    ) -> Result<Response<IssueForNestResponse>, Status> {
        Err(Status::unimplemented("the suite asks for bookings only"))
    }

    async fn explain(&self, _: Request<ExplainRequest>) -> Result<Response<ExplainResponse>, Status> {
        Err(Status::unimplemented("the suite asks for bookings only"))
    }
}

fn routes() -> Routes {
    Routes::new(TokenServiceServer::new(Obedient).max_decoding_message_size(1024))
}

/// The service over each transport, with `tokens` on the caller's side.
async fn both(
    settings: &Settings,
    tokens: &InternalTokens,
    lifecycle: &Lifecycle,
) -> [(&'static str, Transport); 2] {
    let runtime = Runtime { lifecycle: lifecycle.clone(), ..Runtime::default() };
    let well = || std::future::ready(Ok::<_, &str>(()));
    runtime.readiness.watch(lifecycle, "database", true, well);
    let routes = with_health::<TokenServiceServer<Obedient>>(routes(), settings, &runtime, "database".into());
    let served = testkit::serve_routes(routes.clone(), settings, lifecycle).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address)).unwrap();
    let guarded = tower::Layer::layer(&GuardLayer::new(settings), routes);
    [("channel", Transport::to(endpoint, tokens)), ("in process", Transport::in_process(guarded, tokens))]
}

async fn call(transport: &Transport, session_id: &str) -> Result<IssueForSessionResponse, Status> {
    let request = IssueForSessionRequest { session_id: session_id.to_owned(), ..Default::default() };
    TokenServiceClient::new(transport.clone()).issue_for_session(request).await.map(Response::into_inner)
}

fn context(budget: Duration) -> context::Context {
    context::Context { deadline: std::time::Instant::now() + budget, request_id: Arc::from("req-7") }
}

#[tokio::test]
async fn deadline_and_request_id_arrive_with_the_call() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let answer =
            context::scope(context(Duration::from_secs(20)), call(&transport, "tell")).await.unwrap();
        assert_eq!(answer.token, "req-7", "{way}");
        let left: u64 = answer.identity.parse().unwrap();
        assert!((10_000..=20_000).contains(&left), "{way}: {left} ms were left");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

/// Our own transport never asks for more than 30 s, so this caller does not use it.
#[tokio::test]
async fn deadline_is_at_most_30_s_and_10_s_by_default() {
    let (settings, lifecycle, token) = (testkit::internal(), Lifecycle::new(), testkit::secret());
    let settings = Settings { tokens: InternalTokens::parse(&token).unwrap(), ..settings };
    let served = testkit::serve_routes(routes(), &settings, &lifecycle).await;
    let channel = Endpoint::from_shared(format!("http://{}", served.address)).unwrap().connect_lazy();
    let seconds = Duration::from_secs;
    for (asked, given) in
        [(Some(seconds(3_600)), seconds(30)), (None, seconds(10)), (Some(seconds(20)), seconds(20))]
    {
        let mut request =
            Request::new(IssueForSessionRequest { session_id: "tell".to_owned(), ..Default::default() });
        request.metadata_mut().insert(TOKEN_HEADER, token.parse().unwrap());
        if let Some(asked) = asked {
            request.set_timeout(asked);
        }
        let answer = TokenServiceClient::new(channel.clone()).issue_for_session(request).await.unwrap();
        let left = Duration::from_millis(answer.into_inner().identity.parse().unwrap());
        assert!(left <= given && left > given / 2, "{asked:?}: {left:?} were left of {given:?}");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn hanging_call_ends_with_the_callers_budget() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let hanging = context::scope(context(Duration::from_millis(200)), call(&transport, "hang"));
        let status = tokio::time::timeout(Duration::from_secs(5), hanging).await.expect(way).unwrap_err();
        assert_eq!(Refusal::from_status(&status).reason, Reason::ServiceUnavailable, "{way}: {status:?}");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn panic_is_internal_and_the_service_continues() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let status =
            context::scope(context(Duration::from_secs(5)), call(&transport, "panic")).await.unwrap_err();
        assert_eq!(Refusal::from_status(&status).reason, Reason::Internal, "{way}");
        assert!(!status.message().contains("on purpose"), "{way}");
        context::scope(context(Duration::from_secs(5)), call(&transport, "tell")).await.expect(way);
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn too_large_request_is_refused_before_it_is_read() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let status = call(&transport, &"x".repeat(2_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{way}: {status:?}");
        assert_eq!(Refusal::from_status(&status).reason, Reason::TooLarge, "{way}");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

/// The user cannot fix it.
#[tokio::test]
async fn too_large_answer_is_internal() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let mut client = TokenServiceClient::new(transport).max_decoding_message_size(1024);
        let request = IssueForSessionRequest { session_id: "talk".to_owned(), ..Default::default() };
        let status = client.issue_for_session(request).await.unwrap_err();
        assert_eq!(status.code(), Code::OutOfRange, "{way}: {status:?}");
        assert_eq!(Refusal::from_status(&status).reason, Reason::Internal, "{way}");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn without_the_internal_token_only_health_answers() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    let stranger = testkit::internal().tokens;
    for (way, transport) in both(&settings, &stranger, &lifecycle).await {
        let status = call(&transport, "tell").await.unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated, "{way}");
        // For the user it is a failure of ours: the user's own token is valid.
        assert_eq!(Refusal::from_status(&status).reason, Reason::Internal, "{way}");
        testkit::eventually(way, || async {
            let health = HealthClient::new(transport.clone()).check(HealthCheckRequest::default()).await;
            match health.map(|health| health.into_inner().status()) {
                Ok(ServingStatus::Serving) => Ok(()),
                other => Err(other),
            }
        })
        .await;
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn health_equals_readiness() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    let runtime = Runtime { lifecycle: lifecycle.clone(), ..Runtime::default() };
    let (sender, receiver) = tokio::sync::watch::channel(false);
    runtime.readiness.require("database");
    let routes =
        with_health::<TokenServiceServer<Obedient>>(routes(), &settings, &runtime, "database".into());
    let served = testkit::serve_routes(routes, &settings, &lifecycle).await;
    let health = HealthClient::new(served.transport);
    let agree = async |expected: bool| {
        testkit::eventually("health and readiness", async || {
            let answer = health.clone().check(HealthCheckRequest::default()).await.unwrap();
            let found = (
                answer.into_inner().status() == ServingStatus::Serving,
                runtime.readiness.report().is_ready(),
            );
            if found == (expected, expected) { Ok(()) } else { Err(found) }
        })
        .await;
    };
    agree(false).await; // the database was not probed yet
    runtime.readiness.watch(&lifecycle, "database", true, move || {
        let is_well = *receiver.borrow();
        async move { if is_well { Ok(()) } else { Err("away") } }
    });
    for is_well in [true, false, true] {
        sender.send(is_well).unwrap();
        agree(is_well).await;
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn old_token_is_accepted_during_a_rotation() {
    let (old, new) = (testkit::secret(), testkit::secret());
    let settings =
        Settings { tokens: InternalTokens::parse(&format!("{new},{old}")).unwrap(), ..testkit::internal() };
    let lifecycle = Lifecycle::new();
    let behind = InternalTokens::parse(&old).unwrap();
    for (way, transport) in both(&settings, &behind, &lifecycle).await {
        context::scope(context(Duration::from_secs(5)), call(&transport, "tell")).await.expect(way);
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn calls_beyond_the_limit_are_shed_at_once() {
    let settings = Settings { max_in_flight: 1, ..testkit::internal() };
    let lifecycle = Lifecycle::new();
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let hanging = context::scope(context(Duration::from_secs(5)), call(&transport, "hang"));
        let probing = testkit::eventually("the only permit is taken", || async {
            let refusal = Refusal::from_status(&call(&transport, "refuse").await.unwrap_err());
            (refusal.reason == Reason::ServiceUnavailable).then_some(refusal)
        });
        let shed = tokio::select! {
            biased;
            ended = hanging => panic!("{way}: {ended:?}"),
            shed = probing => shed,
        };
        assert_eq!(shed.facts.get("retry_after").map(String::as_str), Some("1"), "{way}");
    }
    lifecycle.stop(Duration::from_secs(1)).await;
}

#[tokio::test]
async fn refusal_arrives_with_its_facts() {
    let (settings, lifecycle) = (testkit::internal(), Lifecycle::new());
    for (way, transport) in both(&settings, &settings.tokens, &lifecycle).await {
        let refusal = Refusal::from_status(&call(&transport, "refuse").await.unwrap_err());
        assert_eq!((refusal.reason, refusal.facts["opens_at"].as_str()), (Reason::TooEarly, "then"), "{way}");
    }
    lifecycle.stop(Duration::from_secs(5)).await;
}
