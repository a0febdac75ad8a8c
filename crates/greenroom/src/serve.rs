//! `greenroom serve <service>`: one service in its own process.

use std::{net::SocketAddr, process::ExitCode};

use anyhow::Context;
use chassis::{
    chain::chain,
    config::{Problems, Process, ProcessArgs, check},
    lifecycle, ops,
    service::{Runtime, StartError},
    telemetry::Telemetry,
};
use clap::{Args, Subcommand};
use tokio::net::TcpListener;

#[derive(Subcommand)]
pub enum Service {
    /// HTTP and JSON for web clients, LiveKit's webhook
    Gateway(Box<Settings<gateway::Args>>),
    /// Bookings: create, read, reschedule, cancel, end
    Booking(Box<Settings<booking::Args>>),
    /// Rooms: the only service that changes anything on LiveKit
    RoomLifecycle(Box<Settings<room_lifecycle::Args>>),
    /// Access tokens
    Token(Box<Settings<token::Args>>),
    /// The listing of live rooms
    Sync(Box<Settings<sync::Args>>),
}

/// The settings of a service and those of every process.
#[derive(Args)]
pub struct Settings<A: Args> {
    #[command(flatten)]
    service: A,
    #[command(flatten)]
    process: ProcessArgs,
}

impl<A: Args> Settings<A> {
    fn check<C>(
        self,
        service: impl FnOnce(A, &mut Problems) -> Option<C>,
    ) -> Result<(C, Process), chassis::config::Invalid> {
        check(|problems| {
            let process = self.process.check(problems);
            Some((service(self.service, problems)?, process))
        })
    }
}

pub async fn run(service: Service) -> anyhow::Result<ExitCode> {
    match service {
        Service::Gateway(settings) => {
            let (config, process) = settings.check(gateway::Args::check_with)?;
            let listen = config.listen;
            serve("gateway", process, listen, None, async |listener, runtime| {
                gateway::serve(config, listener, runtime).await
            })
            .await
        }
        Service::Booking(settings) => {
            let (config, process) = settings.check(booking::Args::check)?;
            let listen = config.listen;
            let required = Some(config.database.dependency());
            serve("booking", process, listen, required, async |listener, runtime| {
                booking::serve(config, listener, runtime).await
            })
            .await
        }
        Service::RoomLifecycle(settings) => {
            let (config, process) = settings.check(room_lifecycle::Args::check)?;
            let listen = config.listen;
            let required = Some(config.database.dependency());
            serve("room-lifecycle", process, listen, required, async |listener, runtime| {
                room_lifecycle::serve(config, listener, runtime).await
            })
            .await
        }
        Service::Token(settings) => {
            let (config, process) = settings.check(token::Args::check)?;
            let listen = config.listen;
            let required = Some(config.database.dependency());
            serve("token", process, listen, required, async |listener, runtime| {
                token::serve(config, listener, runtime).await
            })
            .await
        }
        Service::Sync(settings) => {
            let (config, process) = settings.check(sync::Args::check)?;
            let listen = config.listen;
            let required = Some(config.database.dependency());
            serve("sync", process, listen, required, async |listener, runtime| {
                sync::serve(config, listener, runtime).await
            })
            .await
        }
    }
}

/// Runs a service until a signal arrives or it fails. Traces are sent in both cases. The service is not ready before
/// the dependency that it requires is up.
async fn serve(
    name: &'static str,
    process: Process,
    listen: SocketAddr,
    required: Option<String>,
    service: impl AsyncFnOnce(TcpListener, &Runtime) -> Result<(), StartError>,
) -> anyhow::Result<ExitCode> {
    let telemetry = Telemetry::init(name, &process)?;
    let runtime = Runtime::default();
    if let Some(required) = required {
        // Before the port opens: otherwise `/readyz` would be ready without any dependency.
        runtime.readiness.require(required);
    }
    // A signal ends the select; the server goes on as a tracked task until `stop`.
    let outcome = tokio::select! {
        outcome = listen_and_serve(&process, listen, service, &runtime) => outcome,
        signal = lifecycle::signal() => signal.map_err(Into::into),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = chain(error.as_ref()), "service failed");
            ExitCode::FAILURE
        }
    };
    tracing::info!("shutdown started");
    // First the running work, then its traces.
    runtime.lifecycle.stop(process.grace).await;
    telemetry.flush();
    Ok(code)
}

async fn listen_and_serve(
    process: &Process,
    listen: SocketAddr,
    service: impl AsyncFnOnce(TcpListener, &Runtime) -> Result<(), StartError>,
    runtime: &Runtime,
) -> anyhow::Result<()> {
    // Both ports before anything starts, so that a taken port is an error at once.
    let operations = bind(process.ops_listen).await?;
    let listener = bind(listen).await?;
    let (address, ops) = (listener.local_addr()?, operations.local_addr()?);
    // Before the service, which may wait for its database: readiness must show that.
    ops::serve(&runtime.lifecycle, operations, runtime.readiness.clone());
    tracing::info!(%address, ops.address = %ops, "listening");
    Ok(Box::pin(service(listener, runtime)).await?)
}

pub async fn bind(address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))
}
