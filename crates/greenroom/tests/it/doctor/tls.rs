//! A LiveKit behind TLS, with a certificate that only some runs trust.

use std::sync::Arc;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::TlsAcceptor;

use super::examine;
use crate::world::World;

/// Serves TLS for `localhost` in front of this address. Returns its port, and the certificate as PEM.
async fn tls_proxy(behind: String) -> (u16, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, behind) = (acceptor.clone(), behind.clone());
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                let mut server = TcpStream::connect(behind).await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut server).await; // until one side closes
            });
        }
    });
    (port, cert.pem())
}

#[testkit::test]
async fn every_check_of_livekit_works_over_tls(connect: PgConnectOptions) {
    let folder = tempfile::tempdir().unwrap();
    let world = World::recording(&connect, folder.path()).await;
    if world.stand_in().is_none() {
        return;
    }
    let behind = world.services.room.livekit.url.trim_start_matches("http://").to_owned();
    let (port, certificate) = tls_proxy(behind).await;
    let file = folder.path().join("authority.pem");
    std::fs::write(&file, certificate).unwrap();
    let output = format!("file://{}/out", folder.path().display());
    let (url, ws_url) = (format!("https://localhost:{port}"), format!("wss://localhost:{port}"));
    let settings = [
        ("LIVEKIT_URL", url.as_str()),
        ("LIVEKIT_WS_URL", &ws_url),
        ("RECORDING_OUTPUT", &output),
        ("SSL_CERT_FILE", file.to_str().unwrap()),
        ("API_URL", ""),
    ];
    let found = examine(&world, &["--deep"], &settings).await;
    found.assert("ws_url", "passed", &ws_url);
    found.assert("recorder", "passed", "bytes");
    assert_eq!(found.code, 0, "{:#}", found.report);

    // Only browsers' address has a certificate that is not trusted.
    let plain = &world.services.room.livekit.url;
    let found =
        examine(&world, &[], &[("LIVEKIT_URL", plain), ("LIVEKIT_WS_URL", &ws_url), ("API_URL", "")]).await;
    found.assert("ws_url", "failed", "certificate");
}
