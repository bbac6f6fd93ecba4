//! The thread that serves the pages.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::extract::ConnectInfo;
use axum::handler::HandlerWithoutStateExt as _;
use axum::http::request::Parts;
use parrot_server::Handle;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::MissedTickBehavior;

use crate::door::{Door, OpenDoor};
use crate::guard::Guard;
use crate::routes::respond;
use crate::watch::{Program, Watch};

/// The time between two samples of the history.
const INTERVAL: Duration = Duration::from_secs(1);

/// The default of Rust. RUST_MIN_STACK could ask for more than the system has.
const STACK: usize = 2 * 1024 * 1024;

/// Pages about a server, for as long as this value lives.
#[derive(Debug)]
pub struct Admin {
    /// Dropping it ends the thread.
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Serves pages about a server on a thread of their own. Of the server's turns they show how long they take only if
    /// the server [times them](parrot_server::Server::time_turns).
    ///
    /// The listener is a [`TcpListener`](std::net::TcpListener) or a
    /// [`UnixListener`](std::os::unix::net::UnixListener). The thread inherits the signal mask. A program that handles
    /// signals in one place has to block them first.
    ///
    /// # Errors
    ///
    /// When the system has no descriptors for an event queue, or no thread.
    pub fn start(door: impl Into<Door>, server: Handle, program: Program) -> io::Result<Admin> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let door = {
            let _current = runtime.enter();
            door.into().open()?
        };
        let watch = Watch::new(server, program);
        let (stop, stopped) = oneshot::channel();
        let serve = move || serve(&runtime, door, watch, stopped);
        let thread = thread::Builder::new().name("parrot-admin".to_owned()).stack_size(STACK).spawn(serve)?;
        Ok(Admin { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Admin {
    /// Ends the thread and all of its connections. Nothing that it does takes long.
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(runtime: &Runtime, door: OpenDoor, watch: Arc<Watch>, stopped: oneshot::Receiver<()>) {
    yield_to_others();
    runtime.block_on(async {
        tokio::spawn(sample(Arc::clone(&watch)));
        let respond = move |ConnectInfo(guard), request: Parts| respond(Arc::clone(&watch), guard, request);
        let make_service = respond.into_make_service_with_connect_info::<Guard>();
        tokio::spawn(async move { axum::serve(door, make_service).await });
        // The sender is never used, so this is when it is dropped.
        let _ = stopped.await;
    });
}

/// Keeps the history.
async fn sample(watch: Arc<Watch>) {
    let mut interval = tokio::time::interval(INTERVAL);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        watch.sample();
    }
}

/// Takes a small share when the processor is busy, so that clients of the pages cannot slow the server down. On Linux
/// this concerns the thread alone, because threads have priorities of their own (setpriority(2), "BUGS"). Elsewhere it
/// would concern the server too.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(10) {
        tracing::debug!(target: "parrot_admin", %error, "the thread of the pages keeps its priority");
    }
}
