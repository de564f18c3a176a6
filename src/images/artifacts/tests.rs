//! The cache through its door.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

struct Cache {
    artifacts: Artifacts,
    source: PathBuf,
    folder: tempfile::TempDir,
    count: Arc<AtomicUsize>,
}

impl Cache {
    fn new(bounds: Bounds) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("component");
        std::fs::write(&source, wat::parse_str("(component (core module (func)))").unwrap()).unwrap();
        let artifacts = Artifacts::open_with(&folder.path().join("cache"), bounds).unwrap();
        Self { artifacts, source, folder, count: Arc::default() }
    }

    fn again(&self) -> Artifacts {
        Artifacts::open(&self.folder.path().join("cache")).unwrap()
    }

    async fn ask(
        &self,
        artifacts: &Artifacts,
        form: &'static str,
        compile: impl FnOnce(&Work) -> Result<Vec<u8>, ArtifactError> + Send + 'static,
    ) -> Result<PathBuf, ArtifactError> {
        let component = Digest::of(b"component");
        let (source, engine_key, owner) = (self.source.as_path(), "engine", "default");
        let count = Arc::clone(&self.count);
        let order = Order { component: &component, source, form, engine_key, owner };
        artifacts
            .get_or_compile(order, move |work| {
                count.fetch_add(1, Ordering::SeqCst);
                compile(work)
            })
            .await
    }

    fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn many_who_ask_compile_once() {
    let cache = Cache::new(Bounds::default());
    let asks = (0..8).map(|_| cache.ask(&cache.artifacts, "plain", |work| Ok(work.bytes.clone())));
    let paths: Vec<_> = futures::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(cache.count(), 1);
    assert_eq!(std::fs::read(&paths[0]).unwrap(), std::fs::read(&cache.source).unwrap());
    let listed = cache.artifacts.list();
    assert_eq!(listed[&Digest::of(b"component")][0].form, "plain");
}

#[tokio::test]
async fn a_damaged_file_is_made_again() {
    let cache = Cache::new(Bounds::default());
    let path = cache.ask(&cache.artifacts, "plain", |_| Ok(b"code".to_vec())).await.unwrap();
    let after_restart = cache.again();
    cache.ask(&after_restart, "plain", |_| Ok(b"other".to_vec())).await.unwrap();
    assert_eq!(cache.count(), 1);
    for damage in [&b"cod"[..], b"c0de", b""] {
        std::fs::write(&path, damage).unwrap();
        let found = cache.ask(&cache.again(), "plain", |_| Ok(b"code".to_vec())).await.unwrap();
        assert_eq!(std::fs::read(found).unwrap(), b"code");
    }
    std::fs::remove_file(path.with_extension("sum")).unwrap();
    cache.ask(&cache.again(), "plain", |_| Ok(b"code".to_vec())).await.unwrap();
    assert_eq!(cache.count(), 5);
}

#[tokio::test]
async fn what_nobody_waits_for_is_given_up() {
    let cache = Cache::new(Bounds::default());
    let (started, told) = mpsc::channel();
    let (ended, waiting) = mpsc::channel();
    {
        let ask = cache.ask(&cache.artifacts, "plain", move |work| {
            started.send(()).unwrap();
            while !work.is_abandoned() {
                std::thread::yield_now();
            }
            ended.send(()).unwrap();
            Err(ArtifactError::Failed("nobody wants it".to_owned()))
        });
        tokio::pin!(ask);
        while told.try_recv().is_err() {
            assert!(futures::poll!(ask.as_mut()).is_pending());
            tokio::task::yield_now().await;
        }
    }
    waiting.recv().unwrap();
    // The next who asks is served.
    cache.ask(&cache.artifacts, "plain", |_| Ok(b"code".to_vec())).await.unwrap();
}

#[tokio::test]
async fn what_is_refused_is_refused_at_once_from_then_on() {
    let cache = Cache::new(Bounds::default());
    for _ in 0..3 {
        let failed = cache.ask(&cache.artifacts, "plain", |_| Err(ArtifactError::Compile("no".to_owned()))).await;
        assert!(matches!(failed, Err(ArtifactError::Compile(_))));
    }
    assert_eq!(cache.count(), 1);
    let small = Cache::new(Bounds { functions: 0, ..Bounds::default() });
    let error = small.ask(&small.artifacts, "plain", |_| Ok(Vec::new())).await.unwrap_err().to_string();
    assert!(error.contains("too complex") && error.contains("--compile-limits functions="), "{error}");
    assert_eq!(small.count(), 0);
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_first() {
    let cache = Cache::new(Bounds { cache_bytes: 15, ..Bounds::default() });
    let old = cache.ask(&cache.artifacts, "old", |_| Ok(vec![0; 10])).await.unwrap();
    std::fs::File::options().append(true).open(&old).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    let new = cache.ask(&cache.artifacts, "new", |_| Ok(vec![0; 10])).await.unwrap();
    assert!(!old.exists() && new.exists());
}
