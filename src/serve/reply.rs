//! A reply that comes line by line, and what ends when nobody reads it any more.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Interval, MissedTickBehavior};

use crate::serve::crew::{Crew, Line};
use crate::serve::limits::HEARTBEAT;

/// See the module's text.
pub(super) struct Reply {
    lines: UnboundedReceiver<Line>,
    /// So many documents have no answer yet.
    left: usize,
    heartbeat: Interval,
    crew: Arc<Crew>,
    ids: Vec<u64>,
    /// Given back at the end: documents in hand, memory.
    _room: Vec<OwnedSemaphorePermit>,
}

impl Reply {
    pub(super) fn new(
        lines: UnboundedReceiver<Line>,
        crew: Arc<Crew>,
        ids: Vec<u64>,
        room: Vec<OwnedSemaphorePermit>,
    ) -> Reply {
        let mut heartbeat = tokio::time::interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Reply { lines, left: ids.len(), heartbeat, crew, ids, _room: room }
    }
}

impl futures_core::Stream for Reply {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        match self.lines.poll_recv(context) {
            Poll::Ready(Some(line)) => {
                if line.is_last {
                    self.left = 0;
                } else if line.is_answer {
                    self.left -= 1;
                }
                drop(line.weight);
                Poll::Ready(Some(Ok(Bytes::from(line.bytes))))
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => match self.heartbeat.poll_tick(context) {
                Poll::Ready(_) => Poll::Ready(Some(Ok(Bytes::from_static(b"\n")))),
                Poll::Pending => Poll::Pending,
            },
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        if self.left > 0 {
            self.crew.cancel(&self.ids);
        }
    }
}
