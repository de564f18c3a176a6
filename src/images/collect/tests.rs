//! What goes and what stays.

use std::sync::Arc;

use bytes::Bytes;

use super::*;

struct Pods(Option<Vec<Use>>);

impl Users for Pods {
    fn uses(&self) -> Option<Vec<Use>> {
        self.0.clone()
    }
}

fn component(number: usize) -> Bytes {
    wat::parse_str(format!("(component {})", "(component) ".repeat(number))).unwrap().into()
}

/// A store with pulled images `r.example/0` (used longest ago) to `r.example/2`, and one that was pushed.
async fn store(dir: &Path, uses: Option<&[&str]>) -> ImageStore {
    let store = ImageStore::open(dir).unwrap();
    let uses = uses.map(|all| all.iter().map(|one| Use { image: (*one).into(), pod: "ns/pod".into() }).collect());
    store.set_users(Arc::new(Pods(uses)));
    store.push("own", "v1", component(9)).await.unwrap();
    for number in 0..3 {
        let digest = store.push("seed", "v1", component(number)).await.unwrap();
        store
            .change(|index| {
                index.repositories.remove("seed");
                index.since.insert(digest.clone(), 1000 + number as u64);
                index.pulled.insert(format!("r.example/{number}:v1"), digest);
            })
            .unwrap();
    }
    store
}

#[tokio::test]
async fn unused_images_go_when_the_disk_is_short_the_oldest_first() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), Some(&["r.example/0:v1"])).await;
    let limits = Limits::default();
    assert_eq!(store.collect(limits, 84, 1000).await.unwrap(), Collected::default());
    // Five percent of this disk are less than the smallest image.
    let collected = store.collect(limits, 85, 100).await.unwrap();
    assert_eq!(collected.images, ["r.example/1:v1"]);
    assert!(collected.bytes > 0);
    let left: Vec<String> = store.inventory().await.into_iter().flat_map(|stored| stored.names).collect();
    assert_eq!(left, ["coracle.local/own:v1", "r.example/0:v1", "r.example/2:v1"]);
    store.note_use(&store.index().pulled["r.example/2:v1"].clone());
    assert_eq!(store.collect(limits, 100, 1 << 40).await.unwrap().images, Vec::<String>::new());
    let old = Limits { age_max: Some(Duration::ZERO), ..limits };
    assert_eq!(store.collect(old, 0, 1).await.unwrap().images, ["r.example/2:v1"]);
    let stored = store.inventory().await;
    assert_eq!((stored.len(), stored[1].pods.as_slice()), (2, &["ns/pod".to_owned()][..]));
}

#[test]
fn limits_are_read() {
    let limits: Limits = "high=90, low=70,min-age=5m,max-age=7d".parse().unwrap();
    let seconds = |seconds| Duration::from_secs(seconds);
    assert_eq!(
        limits,
        Limits { high_percent: 90, low_percent: 70, age_min: seconds(300), age_max: Some(seconds(604_800)) }
    );
    assert_eq!("".parse(), Ok(Limits::default()));
    assert_eq!("max-age=0".parse(), Ok(Limits::default()));
    for text in ["high", "high=101", "high=50", "min-age=5", "x=1"] {
        assert!(text.parse::<Limits>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn nothing_goes_while_the_users_are_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path(), None).await;
    assert_eq!(store.prune().await.unwrap(), Collected::default());
    assert_eq!(store.inventory().await.len(), 4);
}

#[tokio::test]
async fn blobs_that_nothing_names_go_after_a_while() {
    let dir = tempfile::tempdir().unwrap();
    let store = ImageStore::open(dir.path()).unwrap();
    let digest = store.push("own", "v1", component(1)).await.unwrap();
    let stray = store.put(b"half of a push").unwrap();
    assert_eq!(store.sweep(BLOB_GRACE).unwrap(), 0);
    assert_eq!(store.sweep(Duration::ZERO).unwrap(), 14);
    assert!(!store.has(&stray) && store.has(&digest));
    let own: Reference = "coracle.local/own:v1".parse().unwrap();
    assert!(store.remove(&own).await.unwrap());
    assert!(!store.remove(&own).await.unwrap());
    assert!(store.sweep(Duration::ZERO).unwrap() > 0);
    assert_eq!(entries(&store.blobs_dir()), []);
}
