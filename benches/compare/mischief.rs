//! What a bad neighbour can do to a victim, and how it is made to do it.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::{Value, json};

use crate::closed::Target;
use crate::coracle::Coracle;
use crate::neighbour::Neighbour;
use crate::objects::App;
use crate::process::root;

const PODS: &str = "/api/v1/namespaces/default/pods";
/// How long the traces of a mischief may take to go.
const GONE_WAIT: Duration = Duration::from_secs(180);
const GLANCE: Duration = Duration::from_millis(20);
const NEW_IMAGES: u32 = 100;
const CRASHING_PODS: u32 = 1000;

/// A kind of mischief.
#[derive(Clone, Copy)]
pub enum Mischief {
    /// The chaos sample is asked for a path, by so many clients at once.
    Asked(&'static str, usize),
    /// A hundred images that nobody has seen before are to be compiled.
    NewImages,
    /// A thousand pods start, and crash.
    Crashes,
}

/// What is known, with the most that a bench of a few minutes can look at.
pub const KNOWN: [(&str, Mischief); 12] = [
    ("loops for ever", Mischief::Asked("/loop", 4)),
    ("overruns its stack", Mischief::Asked("/recurse", 4)),
    ("allocates until denied", Mischief::Asked("/grow", 4)),
    ("makes a million allocations a request", Mischief::Asked("/scatter", 4)),
    ("keeps 10,000 timers a request", Mischief::Asked("/timers", 4)),
    ("floods its log", Mischief::Asked("/flood", 4)),
    ("opens 10,000 sockets", Mischief::Asked("/sockets", 4)),
    ("sends the victim 500 endless requests", Mischief::Asked("/drip", 1)),
    ("answers with a gigabyte", Mischief::Asked("/huge", 1)),
    ("traps", Mischief::Asked("/trap", 4)),
    ("brings 100 new images at once", Mischief::NewImages),
    ("is 1,000 pods that crash at once", Mischief::Crashes),
];

/// Mischief under way.
pub enum Running<'a> {
    Asked(Neighbour),
    Pods(&'a Coracle),
    Crashes(&'a Coracle, App),
}

impl Mischief {
    /// How often the victim is looked at alone and beside it.
    pub fn pairs(self) -> usize {
        match self {
            Self::Asked(..) => 7,
            // Each round brings images that have to be new, or a thousand pods that have to go.
            Self::NewImages | Self::Crashes => 3,
        }
    }

    /// Gets ready what takes time and is no part of it.
    pub fn prepare(self, coracle: &Coracle) -> anyhow::Result<Vec<String>> {
        match self {
            Self::NewImages => push_new_images(&coracle.kubeconfig),
            Self::Asked(..) | Self::Crashes => Ok(Vec::new()),
        }
    }

    /// Begins.
    pub fn start<'a>(self, coracle: &'a Coracle, chaos: &Target, images: &[String]) -> anyhow::Result<Running<'a>> {
        match self {
            Self::Asked(path, in_flight) => {
                let target = Target { path: path.to_owned(), ..chaos.clone() };
                Ok(Running::Asked(Neighbour::start(&target, in_flight)))
            }
            Self::NewImages => {
                images.iter().try_for_each(|image| coracle.api.create(PODS, &pod_of(image)))?;
                Ok(Running::Pods(coracle))
            }
            Self::Crashes => {
                let args = vec!["fail"];
                let app = App { replicas: CRASHING_PODS, args, ..App::new("crashing", "batch") };
                coracle.create(&app)?;
                Ok(Running::Crashes(coracle, app))
            }
        }
    }
}

impl Running<'_> {
    /// How often it did what it was asked and lived.
    pub fn answers(&self) -> u64 {
        match self {
            Self::Asked(neighbour) => neighbour.answers(),
            Self::Pods(_) | Self::Crashes(..) => 0,
        }
    }

    /// Ends, and waits until nothing is left of it.
    pub fn stop(self) -> anyhow::Result<()> {
        match self {
            Self::Asked(neighbour) => {
                drop(neighbour);
                Ok(())
            }
            Self::Pods(coracle) => {
                let selector = "app=new-image";
                until(|| Ok(count(coracle, selector, |phase| phase == "Pending")? == 0))?;
                coracle.api.delete(&format!("{PODS}?labelSelector={selector}"))?;
                until(|| Ok(count(coracle, selector, |_| true)? == 0))
            }
            Self::Crashes(coracle, app) => {
                coracle.delete(&app)?;
                until(|| Ok(count(coracle, "app=crashing", |_| true)? == 0))
            }
        }
    }
}

fn until(mut over: impl FnMut() -> anyhow::Result<bool>) -> anyhow::Result<()> {
    let began = Instant::now();
    while !over()? {
        if began.elapsed() > GONE_WAIT {
            bail!("the mischief is not over after {GONE_WAIT:?}");
        }
        std::thread::sleep(GLANCE);
    }
    Ok(())
}

fn count(coracle: &Coracle, selector: &str, phase: impl Fn(&str) -> bool) -> anyhow::Result<usize> {
    let list = coracle.api.get(&format!("{PODS}?labelSelector={selector}"))?;
    let pods = list["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    Ok(pods.iter().filter(|pod| phase(pod["status"]["phase"].as_str().unwrap_or_default())).count())
}

fn pod_of(image: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": image, "labels": { "app": "new-image" } },
        "spec": { "containers": [{ "name": "main", "image": format!("coracle.local/{image}") }] },
    })
}

/// The same component with another custom section each time: another digest, so that it has to be compiled.
fn push_new_images(kubeconfig: &Path) -> anyhow::Result<Vec<String>> {
    static ROUND: AtomicU32 = AtomicU32::new(0);
    let round = ROUND.fetch_add(1, Ordering::Relaxed);
    let component = std::fs::read(root().join("workloads/prebuilt/chaos.wasm"))?;
    let folder = tempfile::tempdir()?;
    // What was compiled in an earlier run is in the cache.
    let salt = std::process::id();
    (0..NEW_IMAGES)
        .map(|number| {
            let name = format!("new-{round}-{number}");
            let mark = format!("{salt} {name}");
            let mut section = vec![4];
            section.extend(b"mark");
            section.extend(mark.bytes());
            let mut bytes = component.clone();
            bytes.extend([0, u8::try_from(section.len())?]);
            bytes.extend(section);
            let path = folder.path().join(format!("{name}.wasm"));
            std::fs::write(&path, bytes)?;
            let mut push = std::process::Command::new(env!("CARGO_BIN_EXE_coracle"));
            push.arg("push").arg(&path).arg(&name).env("KUBECONFIG", kubeconfig).stdout(std::process::Stdio::null());
            let pushed = push.status()?;
            anyhow::ensure!(pushed.success(), "coracle push {name}: {pushed}");
            Ok(name)
        })
        .collect()
}
