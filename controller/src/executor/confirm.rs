//! Confirms guarded changes: a connection that was made after the change is what tells the host that we can still come.
//!
//! The host decides by itself when nobody comes; nothing here is waited for by the run.

use crate::fleet::Fleet;
use crate::link::{self, Limits};
use crate::transport::Target;
use holdfast_agent::program::{self, ConfirmRequest};
use holdfast_agent::reply::Decision;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

/// The pause between two tries: a service that restarts is back within a second or two.
const PAUSE: Duration = Duration::from_millis(500);

/// How long one confirmation may take once it is connected: it is one `mkdir` on the host, and there is time for others.
const ONCE: Limits = Limits {
    whole: Duration::from_secs(30),
    ..Limits::MOMENT
};

/// Confirms a job over connections of its own, until the host has decided or the time is over.
pub(super) async fn confirm(fleet: Fleet, target: Target, attempt: String) {
    info!(host = %target.name, "its guard waits for a new connection");
    let deadline = Instant::now() + target.confirm_timeout;
    while Instant::now() < deadline {
        match once(&fleet, &target, &attempt).await {
            Some(Decision::Confirmed) => {
                info!(host = %target.name, "confirmed over a new connection");
                return;
            }
            Some(Decision::Reverted | Decision::Gone) => return,
            Some(Decision::Early) | None => sleep(PAUSE).await,
        }
    }
}

/// One try; `None` if the host could not be reached or did not answer.
async fn once(fleet: &Fleet, target: &Target, attempt: &str) -> Option<Decision> {
    let mut session = match fleet.open(target).await {
        Ok(session) => session,
        Err(error) => {
            debug!(host = %target.name, %error, "no new connection yet");
            return None;
        }
    };
    let nonce = link::nonce();
    let request = ConfirmRequest {
        state_dir: target.state_dir.as_deref(),
        attempt,
    };
    let program = program::confirm(&nonce, &request);
    let exchange = link::exchange(session.as_mut(), &nonce, program, Vec::new(), ONCE, &mut |_, _| {}).await;
    fleet.close(session).await;
    exchange.reply.decided
}
