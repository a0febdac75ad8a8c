//! `doctor`'s check of the four services behind the gateway.
//!
//! A service whose address is set is called: its health, and a method that does not exist. Without the right internal
//! token that call is refused before its method is looked up. Of a service without an address, the gateway says whether
//! it can use it.

use std::time::Duration;

use axum::http::{Method, Request, header};
use chassis::{grpc::InternalTokens, transport::Transport};
use serde_json::Value;
use tonic::{Code, Status, body::Body, transport::Endpoint};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};
use tower::ServiceExt as _;

use super::{
    Failure, Outcome, Report, Target,
    addresses::{client, readiness},
};

const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// The gRPC name of each service, in the order of [`gateway::SERVICES`].
const NAMES: [&str; 4] = [
    "greenroom.booking.v1.BookingService",
    "greenroom.room.v1.RoomService",
    "greenroom.token.v1.TokenService",
    "greenroom.sync.v1.SyncService",
];

/// What is wrong with a service.
enum Trouble {
    Unreachable(String),
    Token,
    AnotherService,
    NotReady,
}

pub async fn examine(target: &Target, report: &mut Report) -> anyhow::Result<()> {
    let http = client()?;
    let (api, database) =
        (report.first_failed(&["api_url"]), report.first_failed(&["database", "migrations"]));
    report.check("services", services(&http, target, api, database)).await;
    Ok(())
}

/// `api` and `database`: the checks of these that failed.
async fn services(
    http: &reqwest::Client,
    target: &Target,
    api: Option<&'static str>,
    database: Option<&'static str>,
) -> Outcome {
    let mut found = Found::default();
    let mut others = Vec::new();
    for ((service, name), address) in gateway::SERVICES.into_iter().zip(NAMES).zip(&target.services.addresses)
    {
        match (address, &target.services.tokens) {
            (Some(address), Some(tokens)) => {
                let trouble = call(address, tokens, name).await.err();
                found.add(service, &address.uri().to_string(), trouble);
            }
            _ => others.push(service),
        }
    }
    if !others.is_empty() {
        let Some(api_url) = &target.api_url else {
            if found.good.is_empty() && found.is_clean() {
                return Outcome::Skipped(
                    "neither the addresses of the services with INTERNAL_TOKEN nor API_URL is set".to_owned(),
                );
            }
            return found.outcome(database);
        };
        match readiness(http, api_url).await {
            Ok(report) => found.add_states(&others, &report),
            // The address of the gateway is the finding of another check.
            Err(_) if found.is_clean() => {
                let why = format!("the gateway cannot be asked about {}", others.join(", "));
                return match api {
                    Some(cause) => Outcome::Follows(cause, why),
                    None => Outcome::Skipped(why),
                };
            }
            Err(_) => {}
        }
    }
    found.outcome(database)
}

#[derive(Default)]
struct Found {
    good: Vec<&'static str>,
    bad: Vec<String>,
    not_ready: Vec<String>,
    has_wrong_token: bool,
}

impl Found {
    fn is_clean(&self) -> bool {
        self.bad.is_empty() && self.not_ready.is_empty()
    }

    fn add(&mut self, service: &'static str, address: &str, trouble: Option<Trouble>) {
        let address = address.trim_end_matches('/');
        match trouble {
            None => self.good.push(service),
            Some(Trouble::Unreachable(why)) => {
                self.bad.push(format!("{service} at {address} cannot be reached ({why})"));
            }
            Some(Trouble::Token) => {
                self.has_wrong_token = true;
                self.bad.push(format!("{service} at {address} refuses this INTERNAL_TOKEN"));
            }
            Some(Trouble::AnotherService) => self.bad.push(format!("at {address} is not {service}")),
            Some(Trouble::NotReady) => self.not_ready.push(format!("{service} at {address} is not ready")),
        }
    }

    /// Adds what the gateway says about these services.
    fn add_states(&mut self, services: &[&'static str], report: &Value) {
        for service in services {
            let state = report["dependencies"][service]["state"].as_str().unwrap_or("unknown");
            if state == "up" {
                self.good.push(service);
            } else {
                self.not_ready.push(format!("{service} is {state} for the gateway"));
            }
        }
    }

    /// `database`: the check of the database that failed, which explains services that are not ready.
    fn outcome(self, database: Option<&'static str>) -> Outcome {
        let text = self.bad.iter().chain(&self.not_ready).cloned().collect::<Vec<_>>().join("; ");
        if text.is_empty() {
            return Outcome::Passed(format!("The services are ready: {}", self.good.join(", ")));
        }
        let fix = if self.has_wrong_token {
            "give all services, the gateway and `doctor` the same INTERNAL_TOKEN; during a rotation `new,old`"
        } else if self.bad.is_empty() {
            "see `/readyz` at the operations port of the service, and its log"
        } else {
            "check that each service runs, and BOOKING_URL, ROOM_URL, TOKEN_URL and SYNC_URL"
        };
        let cause = database.filter(|_| self.bad.is_empty());
        Outcome::Failed(Failure::new(text, fix)).because_of(cause)
    }
}

async fn call(address: &Endpoint, tokens: &InternalTokens, name: &str) -> Result<(), Trouble> {
    let transport = Transport::to(address.clone(), tokens);
    let mut client = HealthClient::new(transport.clone());
    let health = client.check(HealthCheckRequest { service: name.to_owned() });
    let is_serving = match within(health).await? {
        Ok(answer) => answer.into_inner().status() == ServingStatus::Serving,
        Err(status) if matches!(status.code(), Code::NotFound | Code::Unimplemented) => {
            return Err(Trouble::AnotherService);
        }
        Err(status) => return Err(Trouble::Unreachable(status.message().to_owned())),
    };
    // Health needs no token, so another call shows whether it is right.
    if within(ask_for_nothing(transport, name)).await? == Some(Code::Unauthenticated) {
        return Err(Trouble::Token);
    }
    if is_serving { Ok(()) } else { Err(Trouble::NotReady) }
}

async fn within<T>(call: impl Future<Output = T>) -> Result<T, Trouble> {
    tokio::time::timeout(CALL_TIMEOUT, call)
        .await
        .map_err(|_| Trouble::Unreachable(format!("no answer within {} s", CALL_TIMEOUT.as_secs())))
}

/// Calls a method that does not exist. Returns the code of the answer.
async fn ask_for_nothing(transport: Transport, name: &str) -> Option<Code> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/{name}/Doctor"))
        .header(header::CONTENT_TYPE, "application/grpc")
        .header(header::TE, "trailers")
        .body(Body::empty())
        .ok()?;
    let answer = transport.oneshot(request).await.ok()?;
    Status::from_header_map(answer.headers()).map(|status| status.code())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn service_that_is_not_ready_follows_from_its_database() {
        let found = |more: Option<Trouble>| {
            let mut found = Found::default();
            found.add("token", "http://token:50053/", Some(Trouble::NotReady));
            found.add("sync", "http://sync:50054/", more);
            found
        };
        assert!(matches!(found(None).outcome(Some("database")), Outcome::Follows("database", _)));
        let Outcome::Failed(failure) = found(None).outcome(None) else { panic!("a failure") };
        assert_eq!(failure.cause, "token at http://token:50053 is not ready");
        // A wrong token does not come from the database.
        assert!(matches!(found(Some(Trouble::Token)).outcome(Some("database")), Outcome::Failed(_)));
    }

    #[test]
    fn gateways_report_names_services_that_are_down() {
        let report = json!({"dependencies": {"booking": {"state": "up"}, "sync": {"state": "down"}}});
        let mut found = Found::default();
        found.add_states(&["booking", "sync", "token"], &report);
        let Outcome::Failed(failure) = found.outcome(None) else { panic!("a failure") };
        assert_eq!(failure.cause, "sync is down for the gateway; token is unknown for the gateway");
    }
}
