//! `GET /dev/inbox`: the e-mails that `up` sent, newest first, and `/dev/inbox.json` for programs. It exists only where
//! the development sign-in exists, and answers only this machine ([`super::dev`]).

use std::fmt::Write;

use axum::{
    Json, Router,
    extract::State,
    http::header,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use domain::text::escape_html;
use mail_dev::{Mail, MailDev};

/// The browser fetches nothing and runs no script, whatever the e-mail contains. Its HTML part is shown in a frame
/// without rights.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; frame-src 'self'; img-src 'none'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Inbox</title><style>\
    body{font-family:sans-serif;max-width:50em;margin:2em auto;padding:0 1em}\
    article{border:1px solid #ccc;border-radius:.5em;padding:1em;margin:1em 0}\
    h2{font-size:1em;margin:0}pre{white-space:pre-wrap}iframe{width:100%;height:16em;border:1px solid #eee}\
    </style></head><body><h1>Inbox</h1>";

pub fn router(mail: MailDev) -> Router {
    Router::new().route("/dev/inbox", get(page)).route("/dev/inbox.json", get(json)).with_state(mail)
}

async fn page(State(mail): State<MailDev>) -> Response {
    let mails = mail.mails();
    let mut html = String::from(HEAD);
    if mails.is_empty() {
        html.push_str("<p>No mail yet. Reload the page after something happened.</p>");
    }
    for mail in &mails {
        write(&mut html, mail);
    }
    html.push_str("</body></html>");
    let headers = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, Html(html)).into_response()
}

fn write(html: &mut String, mail: &Mail) {
    // Everything from a mail is escaped: any user may have written it.
    let (to, subject, date) =
        (escape_html(&mail.to.join(", ")), escape_html(&mail.subject), escape_html(&mail.date));
    let (text, part) = (escape_html(&mail.text), escape_html(&mail.html));
    let _ = write!(
        html,
        // `sandbox` without values: no scripts, no forms, no same origin.
        "<article id=\"{}\"><h2>{subject}</h2><p>to {to} \u{b7} {date}</p><pre>{text}</pre>\
         <details><summary>HTML</summary><iframe sandbox=\"\" srcdoc=\"{part}\"></iframe></details></article>",
        mail.id
    ); // writing to a String cannot fail
}

async fn json(State(mail): State<MailDev>) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(mail.mails())).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inbox_page_escapes_the_content_of_mails() {
        let mut html = String::new();
        let mail = Mail {
            id: 1,
            to: vec!["<a@b>".into()],
            from: String::new(),
            subject: "<script>alert(1)</script>".into(),
            message_id: String::new(),
            date: String::new(),
            text: "</pre><img src=x>".into(),
            html: "<p>\"quoted\"</p><script>1</script>".into(),
            raw: Vec::new(),
            headers: Vec::new(),
        };
        write(&mut html, &mail);
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<a@b>"), "{html}");
        assert!(html.contains("srcdoc=\"&lt;p&gt;&quot;quoted&quot;"), "{html}");
    }
}
