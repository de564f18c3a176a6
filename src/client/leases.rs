//! Leader election: of several processes with the same task, the one that holds a Lease does it.
//!
//! The Lease, its fields and its times are those of Kubernetes' own components, so that they can stand in for ours and the
//! other way round: who holds it writes `renewTime` again and again; who wants it waits until nothing was written for
//! `leaseDurationSeconds` by its own clock (clocks of others are not trusted), and then takes it with a write that fails
//! when somebody else was quicker.
//!
//! ```text
//! candidate ── the lease is free, stale, or mine ──▶ leader: start(tasks) ── not renewed in time ──▶ tasks end ──▶ candidate
//! ```

use std::time::Duration;

use base::Tasks;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::time::Instant;

use crate::events::Recorder;

/// How long things take in an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A lease that was not renewed for so long is anybody's.
    pub lease: Duration,
    /// A leader that could not renew for so long stops to be one. Shorter than `lease`.
    pub renew: Duration,
    /// How long to wait between tries.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2) }
    }
}

/// A candidate that waits asks at least so often, however seldom it renews once it leads.
const TRY_EVERY: Duration = Duration::from_secs(2);

/// One election, from the side of one candidate.
#[derive(Clone, Debug)]
pub struct Election {
    /// The Lease's namespace.
    pub namespace: String,
    /// The Lease's name.
    pub name: String,
    /// Who the candidate is. No two that run may share it; one that keeps it over a restart leads again at once.
    pub identity: String,
    /// Its times.
    pub timing: Timing,
    /// Whether the lease is given back at shutdown, so that the next need not wait.
    pub release: bool,
}

/// Takes part in an election until `tasks` are told to stop. Each time this candidate leads, `start` is called with tasks that
/// end when it leads no more.
pub fn campaign(
    client: Client,
    election: Election,
    events: Option<Recorder>,
    tasks: &Tasks,
    start: impl Fn(&Tasks) + Send + Sync + 'static,
) {
    let (parent, shutdown) = (tasks.clone(), tasks.shutdown());
    tasks.service(format!("election for {}", election.name), async move {
        let mut candidate = Candidate::new(client, election, events);
        loop {
            tokio::select! {
                () = candidate.win() => {}
                () = shutdown.cancelled() => return,
            }
            let term = parent.child();
            start(&term);
            tokio::select! {
                () = candidate.hold() => {}
                () = shutdown.cancelled() => {
                    term.stop(candidate.election.timing.renew).await;
                    return candidate.release().await;
                }
            }
            tracing::warn!(lease = candidate.election.name, "no longer the leader");
            candidate.tell("stopped leading");
            term.stop(candidate.election.timing.renew).await;
        }
    });
}

struct Candidate {
    leases: Api<Lease>,
    election: Election,
    events: Option<Recorder>,
    /// The lease as it was seen last, and since when it has been so.
    seen: Option<(Lease, Instant)>,
}

/// How a try ended.
enum Outcome {
    Held,
    /// Somebody else holds it.
    Taken,
    Failed(kube::Error),
}

impl Candidate {
    fn new(client: Client, election: Election, events: Option<Recorder>) -> Self {
        let leases = Api::namespaced(client, &election.namespace);
        Self { leases, election, events, seen: None }
    }

    /// Tries until this candidate holds the lease.
    async fn win(&mut self) {
        let mut complained = false;
        loop {
            // A server that does not answer is asked again.
            match tokio::time::timeout(self.election.timing.renew, self.attempt(false)).await {
                Ok(Outcome::Held) => break,
                Ok(Outcome::Taken) => {
                    if !std::mem::replace(&mut complained, true) {
                        tracing::info!(lease = self.election.name, holder = self.holder(), "another one leads");
                    }
                }
                Ok(Outcome::Failed(error)) => {
                    tracing::debug!(lease = self.election.name, error = crate::explain(&error), "cannot ask");
                }
                Err(_) => tracing::debug!(lease = self.election.name, "no answer"),
            }
            // Spread, so that candidates do not go on colliding.
            tokio::time::sleep(self.election.timing.retry.min(TRY_EVERY).mul_f64(rand::random_range(1.0..2.2))).await;
        }
        tracing::info!(lease = self.election.name, identity = self.election.identity, "leading");
        self.tell("became leader");
    }

    fn tell(&self, what: &str) {
        if let (Some(events), Some((lease, _))) = (&self.events, &self.seen) {
            events.normal(lease, "LeaderElection", format!("{} {what}", self.election.identity));
        }
    }

    /// Renews until that fails for too long.
    async fn hold(&mut self) {
        let mut renewed = Instant::now();
        loop {
            tokio::time::sleep(self.election.timing.retry).await;
            let left = self.election.timing.renew.saturating_sub(renewed.elapsed());
            match tokio::time::timeout(left, self.attempt(true)).await {
                Ok(Outcome::Held) => renewed = Instant::now(),
                Ok(Outcome::Taken) => return,
                Ok(Outcome::Failed(error)) => {
                    tracing::debug!(lease = self.election.name, error = crate::explain(&error), "cannot renew");
                }
                Err(_) => return,
            }
            if renewed.elapsed() >= self.election.timing.renew {
                return;
            }
        }
    }

    fn holder(&self) -> &str {
        let spec = self.seen.as_ref().and_then(|(lease, _)| lease.spec.as_ref());
        spec.and_then(|spec| spec.holder_identity.as_deref()).unwrap_or_default()
    }

    /// Takes or renews the lease, if it may.
    async fn attempt(&mut self, leads: bool) -> Outcome {
        match self.try_once(leads).await {
            Ok(true) => Outcome::Held,
            Ok(false) => Outcome::Taken,
            // Somebody wrote in between: whoever it was is seen at the next look.
            Err(error) if crate::is_conflict(&error) => {
                self.seen = None;
                Outcome::Failed(error)
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn try_once(&mut self, leads: bool) -> Result<bool, kube::Error> {
        let present = match (&self.seen, leads) {
            // Who leads knows how the lease looks.
            (Some((lease, _)), true) => Some(lease.clone()),
            _ => self.leases.get_opt(&self.election.name).await?,
        };
        let Some(present) = present else {
            let made = self.leases.create(&PostParams::default(), &self.fresh()).await?;
            self.seen = Some((made, Instant::now()));
            return Ok(true);
        };
        let spec = present.spec.clone().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        let is_news = self.seen.as_ref().is_none_or(|(seen, _)| seen.spec != present.spec);
        if is_news {
            self.seen = Some((present.clone(), Instant::now()));
        }
        let since = self.seen.as_ref().map_or_else(Instant::now, |(_, since)| *since);
        let lasts = Duration::from_secs(u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0));
        let is_mine = holder == self.election.identity;
        if !holder.is_empty() && !is_mine && since.elapsed() < lasts {
            return Ok(false);
        }
        let mut wanted = present;
        let now = Timestamp::now();
        wanted.spec = Some(LeaseSpec {
            holder_identity: Some(self.election.identity.clone()),
            lease_duration_seconds: Some(self.seconds()),
            acquire_time: spec.acquire_time.clone().filter(|_| is_mine).or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(spec.lease_transitions.unwrap_or(0) + i32::from(!is_mine)),
            ..spec
        });
        let written = self.leases.replace(&self.election.name, &PostParams::default(), &wanted).await?;
        self.seen = Some((written, Instant::now()));
        Ok(true)
    }

    fn seconds(&self) -> i32 {
        i32::try_from(self.election.timing.lease.as_secs()).unwrap_or(i32::MAX).max(1)
    }

    fn fresh(&self) -> Lease {
        let now = Timestamp::now();
        Lease {
            metadata: ObjectMeta {
                name: Some(self.election.name.clone()),
                namespace: Some(self.election.namespace.clone()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.election.identity.clone()),
                lease_duration_seconds: Some(self.seconds()),
                acquire_time: Some(MicroTime(now)),
                renew_time: Some(MicroTime(now)),
                lease_transitions: Some(0),
                ..LeaseSpec::default()
            }),
        }
    }

    /// Gives the lease back: the next one may take it at once.
    async fn release(&mut self) {
        let Some((mut lease, _)) = self.seen.take().filter(|_| self.election.release) else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
        }
        let params = PostParams::default();
        let written = self.leases.replace(&self.election.name, &params, &lease);
        let _ = tokio::time::timeout(Duration::from_secs(1), written).await;
    }
}
