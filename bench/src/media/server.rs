//! The servers under load: livekit-dev, and a real one if its executable is given.

use std::{env, net::SocketAddr, path::Path};

use anyhow::{Result, ensure};
use http::StatusCode;
use jsonwebtoken::{EncodingKey, Header};
use rtc_client::Options;
use serde_json::{Value, json};

use crate::{
    baseline::LISTEN,
    fixture::Fixture,
    load::{self, Prepared},
    process::{Process, Usage},
    stack, users,
};

const KEY: &str = "benchkey";

pub struct Server {
    pub name: &'static str,
    pub access: Access,
    process: Process,
}

/// The address of a server, and its secret.
#[derive(Clone)]
pub struct Access {
    address: SocketAddr,
    secret: String,
}

impl Server {
    /// Starts livekit-dev, and the real server if its executable is given.
    pub async fn all(fixture: &Fixture) -> Result<Vec<Self>> {
        let mut servers = vec![Self::dev().await?];
        if let Some(executable) = &fixture.livekit_server {
            servers.push(Self::real(executable).await?);
        }
        Ok(servers)
    }

    async fn dev() -> Result<Self> {
        let access = Access::new()?;
        let env = [
            (LISTEN.to_owned(), access.address.to_string()),
            ("LIVEKIT_API_KEY".to_owned(), KEY.to_owned()),
            ("LIVEKIT_API_SECRET".to_owned(), access.secret.clone()),
        ];
        let process = Process::start("livekit-dev", &env::current_exe()?, &["child", "livekit"], &env)?;
        Self::ready("livekit-dev", access, process).await
    }

    async fn real(executable: &Path) -> Result<Self> {
        let access = Access::new()?;
        let (tcp, udp) = (stack::free_port()?.port(), stack::free_port()?.port());
        let config = json!({
            "port": access.address.port(),
            "bind_addresses": [access.address.ip()],
            "keys": { KEY: access.secret },
            "rtc": { "node_ip": access.address.ip(), "use_external_ip": false, "tcp_port": tcp, "udp_port": udp },
            "room": { "auto_create": false },
            "logging": { "level": "error" },
        });
        // YAML contains JSON.
        let arguments = ["--config-body", &config.to_string()];
        let process = Process::start("livekit-server", executable, &arguments, &[])?;
        Self::ready("livekit-server", access, process).await
    }

    async fn ready(name: &'static str, access: Access, process: Process) -> Result<Self> {
        stack::wait_for(access.address, "/").await?;
        Ok(Self { name, access, process })
    }

    pub fn usage(&self) -> Usage {
        self.process.usage()
    }

    pub async fn stop(self) -> Result<()> {
        self.process.stop().await
    }
}

impl Access {
    fn new() -> Result<Self> {
        Ok(Self { address: stack::free_port()?, secret: users::secret() })
    }

    pub fn options(&self, room: &str, identity: &str) -> Result<Options> {
        let token = self.token(identity, &json!({ "roomJoin": true, "room": room }))?;
        Ok(Options::new(&format!("http://{}", self.address), &token))
    }

    pub async fn create_room(&self, name: &str) -> Result<()> {
        let token = self.token("", &json!({ "roomCreate": true }))?;
        let path = "/twirp/livekit.RoomService/CreateRoom".to_owned();
        let request = Prepared::post(path, Some(token), json!({ "name": name }).to_string());
        let (status, answer) = load::once(self.address, &request).await?;
        ensure!(status == StatusCode::OK, "{status}: {}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    fn token(&self, identity: &str, video: &Value) -> Result<String> {
        let claims = json!({ "iss": KEY, "sub": identity, "exp": 4_102_444_800_u64, "video": video });
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        Ok(jsonwebtoken::encode(&Header::default(), &claims, &key)?)
    }
}
