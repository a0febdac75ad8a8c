//! The routes under `/dev`, which exist only while no identity provider is configured. They answer only this machine: a
//! client that reaches them can read every e-mail and sign in as any user.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::Response,
};
use gateway::{config::Cors, local};
use mail_dev::MailDev;

use super::{inbox, sign_in::refuse};

/// Adds the sign-in and the inbox to `router`. Every path under `/dev`, also one without a route, answers only requests
/// of this machine.
pub fn add(router: Router, sign_in: Router, mail: Option<MailDev>, cors: &Cors) -> Router {
    let dev = sign_in.merge(mail.map(inbox::router).unwrap_or_default());
    // CORS inside of the check: a page from elsewhere gets 403 and no preflight answer.
    let dev = match cors.layer() {
        Some(cors) => dev.layer(cors),
        None => dev,
    };
    router.merge(dev).layer(from_fn(only_this_machine))
}

async fn only_this_machine(request: Request, next: Next) -> Response {
    let path = request.uri().path();
    // `/devices` is not below `/dev`.
    let is_dev = path.strip_prefix("/dev").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_dev && !local::is_request(request.uri(), request.headers()) {
        return refuse(
            StatusCode::FORBIDDEN,
            "Routes under /dev answer to this machine only, by its own name.",
        );
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::header, routing::get};
    use gateway::{AdminClaim, GroupsClaim};
    use tower::ServiceExt as _;

    use super::{
        super::sign_in::{ADMIN_CLAIM, GROUPS_CLAIM, Issuer, router},
        *,
    };

    async fn ask(method: &str, path: &str, host: &str, origin: Option<&str>) -> Response {
        let sign_in = router(Issuer {
            secret: "0123456789abcdef0123456789abcdef".to_owned().into(),
            admin: AdminClaim::parse(ADMIN_CLAIM).unwrap(),
            groups: GroupsClaim::parse(GROUPS_CLAIM).unwrap(),
        });
        let gateway =
            Router::new().route("/api", get(async || "api")).fallback(async || StatusCode::NOT_FOUND);
        let router = add(gateway, sign_in, Some(MailDev::new()), &Cors::Local);
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, host);
        if let Some(origin) = origin {
            request = request.header(header::ORIGIN, origin);
        }
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn dev_routes_refuse_foreign_hosts_and_origins() {
        let paths = [
            ("GET", "/dev/inbox"),
            ("GET", "/dev/inbox.json"),
            ("POST", "/dev/sign-in"),
            ("OPTIONS", "/dev/sign-in"),
            ("GET", "/dev"),
            ("GET", "/dev/"),
            ("GET", "/dev/no-such-route"),
        ];
        for (method, path) in paths {
            for (host, origin) in [
                ("127.attacker.example:8080", None),
                ("attacker.example", None),
                ("localhost:8080", Some("http://attacker.example")),
                ("localhost:8080", Some("http://127.attacker.example")),
                ("localhost:8080", Some("null")),
            ] {
                let answer = ask(method, path, host, origin).await;
                assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{method} {path} {host} {origin:?}");
                assert!(!answer.headers().contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN));
            }
        }
        let elsewhere = ask("GET", "/api", "api.example.org", Some("http://attacker.example")).await;
        assert_eq!(elsewhere.status(), StatusCode::OK, "the other routes answer other hosts too");
        assert_eq!(ask("GET", "/development", "api.example.org", None).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn dev_routes_answer_pages_of_this_machine() {
        for origin in
            [None, Some("http://localhost:5173"), Some("http://127.0.0.1:3000"), Some("http://[::1]")]
        {
            let answer = ask("GET", "/dev/inbox.json", "127.0.0.1:8080", origin).await;
            assert_eq!(answer.status(), StatusCode::OK, "{origin:?}");
            let allowed = answer.headers().get(header::ACCESS_CONTROL_ALLOW_ORIGIN);
            assert_eq!(allowed.map(|origin| origin.to_str().unwrap()), origin);
        }
        let answer = ask("GET", "/dev/no-such-route", "localhost", None).await;
        assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn sign_in_refusals_have_no_parser_words() {
        let answer = ask("POST", "/dev/sign-in", "localhost:8080", None).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let body = axum::body::to_bytes(answer.into_body(), 4096).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(text.contains("userId and name") && !text.contains("deserialize"), "{text}");
    }
}
