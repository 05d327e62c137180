//! Connections: where they come in, TLS, limits of time, and the graceful end.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::error::{Error, Result, io_text};
use crate::model::pipeline::Pipeline;
use crate::serve::limits::{CONNECTIONS, HANDSHAKE, HEAD, Limits};
use crate::serve::offer::Offer;
use crate::serve::routes::{App, router};
use crate::serve::tokens::Tokens;

/// How often workers are looked at that have nothing to do.
const LOOK: Duration = Duration::from_secs(10);

/// A certificate and its key: PEM files.
#[derive(Clone, Debug)]
pub struct Tls {
    /// With the certificates between it and the root, if there are any.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0: any that is free.
    pub listen: SocketAddr,
    /// Who may use it.
    pub tokens: Tokens,
    /// How it proves who it is.
    pub tls: Option<Tls>,
    /// What it takes on.
    pub limits: Limits,
}

/// Knows all connections; taken when the end begins.
type Graceful = Arc<Mutex<Option<GracefulShutdown>>>;

/// A server that listens.
pub struct Server {
    runtime: Runtime,
    app: Arc<App>,
    url: String,
    modules: Vec<String>,
    accepting: JoinHandle<()>,
    graceful: Graceful,
    folder: PathBuf,
}

impl Server {
    /// Begins to listen. `folder`: for what the server keeps and for scratch files.
    pub fn start(pipeline: &Pipeline, folder: &Path, settings: Settings) -> Result<Server> {
        let Settings { listen, tokens, tls, limits } = settings;
        if !listen.ip().is_loopback() && (tokens.is_empty() || tls.is_none()) {
            let message =
                format!("`{listen}` can be reached from other machines: that takes a token and TLS");
            return Err(Error::usage(message)
                .hint("pipe serve --listen ADDR --token-file FILE --tls-cert FILE --tls-key FILE")
                .hint("behind a proxy that does both: listen on 127.0.0.1, with a token"));
        }
        let acceptor = tls.as_ref().map(acceptor).transpose()?;
        crate::fs::create_dir(folder)?;
        for scratch in ["tmp", "logs"] {
            // Left by one that was killed; whoever serves the same project besides has its own folder.
            crate::fs::create_dir(&folder.join(scratch))?;
        }
        let offer = Offer::new(pipeline, folder)?;
        let modules = offer.modules.keys().cloned().collect();
        let refused = |error: std::io::Error| {
            let message = format!("cannot listen on `{listen}`: {}", io_text(&error));
            Error::unfinished(message).hint("pipe serve --listen 127.0.0.1:0    takes any free port")
        };
        let listener = TcpListener::bind(listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("serve")
            .enable_all()
            .build()
            .map_err(refused)?;
        let app = Arc::new(App::new(offer, limits, tokens));
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        let graceful: Graceful = Arc::new(Mutex::new(Some(GracefulShutdown::new())));
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(refused)?
        };
        let accepting = runtime.spawn(accept(listener, acceptor, Arc::clone(&app), Arc::clone(&graceful)));
        let idle = Arc::clone(&app);
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                idle.end_idle();
            }
        });
        Ok(Server { runtime, app, url, modules, accepting, graceful, folder: folder.to_owned() })
    }

    /// Where it is reached: `http://127.0.0.1:7070`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The names of what it offers.
    pub fn modules(&self) -> &[String] {
        &self.modules
    }

    /// Takes on nothing more, and waits until what is in hand is done, or until `hurry` says otherwise. Whether all was done.
    pub fn end(self, limit: Duration, mut hurry: impl FnMut() -> bool) -> bool {
        self.app.stopping.store(true, Ordering::Relaxed);
        self.accepting.abort();
        let graceful = self.graceful.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = self.runtime.spawn(async move {
            if let Some(graceful) = graceful {
                graceful.shutdown().await;
            }
        });
        let began = Instant::now();
        while !done.is_finished() && began.elapsed() < limit && !hurry() {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        let all = done.is_finished();
        self.app.end_all();
        self.runtime.shutdown_timeout(Duration::from_secs(1));
        drop(crate::fs::remove_dir(&self.folder.join("tmp")));
        all
    }
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor> {
    let unusable = |path: &Path, what: &str, error: &dyn std::fmt::Display| {
        Error::usage(format!("`{}` is no {what}: {error}", path.display()))
            .hint("both are PEM files: -----BEGIN CERTIFICATE-----, -----BEGIN PRIVATE KEY-----")
    };
    let text = crate::fs::read(&tls.certificate)?;
    let certificates: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text)
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| unusable(&tls.certificate, "certificate", &error))?;
    if certificates.is_empty() {
        return Err(unusable(&tls.certificate, "certificate", &"there is none in it"));
    }
    let text = crate::fs::read(&tls.key)?;
    let key =
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| unusable(&tls.key, "private key", &error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|config| config.with_no_client_auth().with_single_cert(certificates, key))
        .map_err(|error| unusable(&tls.key, "key for that certificate", &error))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn accept(
    listener: tokio::net::TcpListener,
    acceptor: Option<TlsAcceptor>,
    app: Arc<App>,
    graceful: Graceful,
) {
    let service = router(app);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let Ok((stream, _)) = listener.accept().await else {
            // Too many open files: some will be closed in a moment.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        // Without it, small answers wait for the confirmation of those before.
        drop(stream.set_nodelay(true));
        let watcher =
            graceful.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(GracefulShutdown::watcher);
        let Some(watcher) = watcher else { return };
        let (service, acceptor) = (service.clone(), acceptor.clone());
        tokio::spawn(async move {
            match acceptor {
                None => connection(stream, service, watcher, place).await,
                Some(acceptor) => {
                    if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE, acceptor.accept(stream)).await {
                        connection(stream, service, watcher, place).await;
                    }
                }
            }
        });
    }
}

async fn connection(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: axum::Router,
    watcher: Watcher,
    _place: OwnedSemaphorePermit,
) {
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_headers(64)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection ended early");
    }
}
