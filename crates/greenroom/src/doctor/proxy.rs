//! `doctor`'s check of the proxy between this process and the addresses of the deployment. It names the variable:
//! otherwise a proxy that is not meant for an address looks like a server that does not answer.

use std::time::Duration;

use tokio::{net::TcpStream, time::timeout};

use super::{Failure, Target};
use crate::proxy::{Proxy, between};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Checks that each proxy can be reached.
pub async fn examine(target: &Target) -> Result<String, Failure> {
    let api_url = target.api_url.as_deref().map(|url| ("API_URL", url));
    let addresses = [("LIVEKIT_URL", target.livekit.url.as_str())].into_iter().chain(api_url);
    let mut through = Vec::new();
    for (setting, url) in addresses {
        let Some(proxy) = between(url) else { continue };
        let Proxy { variable, host, port } = &proxy;
        reach(host, *port).await.map_err(|why| {
            Failure::new(
                format!(
                    "requests to {setting} go through {host}:{port}, the proxy of {variable}, which cannot be reached: {why}"
                ),
                format!("correct {variable}, or add the host of {setting} to NO_PROXY"),
            )
        })?;
        through.push(format!("{setting} is reached through {host}:{port}, the proxy of {variable}"));
    }
    Ok(match through.as_slice() {
        [] => "No proxy is between this process and the deployment".to_owned(),
        lines => format!("{}; NO_PROXY can exclude its host", lines.join(", ")),
    })
}

async fn reach(host: &str, port: u16) -> Result<(), String> {
    let address = (host.trim_matches(['[', ']']), port);
    match timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", CONNECT_TIMEOUT.as_secs())),
    }
}
