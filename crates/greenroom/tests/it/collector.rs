//! A collector of traces: an OTLP endpoint that keeps the spans that it receives, for tests.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::{KeyValue, any_value::Value},
    trace::v1::Span,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig, server::TcpIncoming},
};

/// A received span with the service that sent it.
#[derive(Clone, Debug)]
pub struct Sent {
    pub service: String,
    pub version: String,
    pub span: Span,
    attributes: HashMap<String, String>,
}

impl Sent {
    /// An attribute as text, or an empty text without it.
    pub fn get(&self, attribute: &str) -> &str {
        self.attributes.get(attribute).map_or("", String::as_str)
    }

    pub fn is(&self, service: &str, kind: i32, name: &str) -> bool {
        self.service == service && self.span.kind == kind && self.span.name == name
    }
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<Vec<Sent>>>);

/// A running collector. It stops when it is dropped.
pub struct Collector {
    pub endpoint: String,
    /// Its certificate as PEM, or an empty text without TLS.
    pub certificate: String,
    spans: Spans,
    _running: DropGuard,
}

impl Collector {
    pub async fn start() -> Self {
        Self::serve(Server::builder(), "http", String::new()).await
    }

    /// Starts it with a new self-signed certificate.
    pub async fn start_with_tls() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let identity = Identity::from_pem(cert.pem(), signing_key.serialize_pem());
        let server = Server::builder().tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        Self::serve(server, "https", cert.pem()).await
    }

    async fn serve(mut server: Server, scheme: &str, certificate: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        // A name and not an address, because the certificate is for `localhost`.
        let endpoint = format!("{scheme}://localhost:{}", listener.local_addr().unwrap().port());
        let (spans, running) = (Spans::default(), CancellationToken::new());
        let serving = server
            .add_service(TraceServiceServer::new(spans.clone()))
            .serve_with_incoming_shutdown(TcpIncoming::from(listener), running.clone().cancelled_owned());
        tokio::spawn(serving);
        Self { endpoint, certificate, spans, _running: running.drop_guard() }
    }

    /// All spans that were received so far.
    pub fn spans(&self) -> Vec<Sent> {
        self.spans.0.lock().unwrap().clone()
    }

    /// The spans of this trace.
    pub fn trace(&self, id: &[u8]) -> Vec<Sent> {
        self.spans().into_iter().filter(|sent| sent.span.trace_id == id).collect()
    }
}

#[tonic::async_trait]
impl TraceService for Spans {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        for sent in request.into_inner().resource_spans {
            let resource = texts(&sent.resource.unwrap_or_default().attributes);
            let of = |name: &str| resource.get(name).cloned().unwrap_or_default();
            let spans = sent.scope_spans.into_iter().flat_map(|scope| scope.spans);
            self.0.lock().unwrap().extend(spans.map(|span| Sent {
                service: of("service.name"),
                version: of("service.version"),
                attributes: texts(&span.attributes),
                span,
            }));
        }
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

fn texts(attributes: &[KeyValue]) -> HashMap<String, String> {
    let text = |attribute: &KeyValue| match attribute.value.clone().and_then(|value| value.value) {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| (attribute.key.clone(), text(attribute))).collect()
}
