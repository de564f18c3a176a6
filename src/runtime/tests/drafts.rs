//! Code that takes the place of other code, and drafts, where this build can make them.

use super::{PLAIN, get_text, limited, program, runtime, serve};
use crate::ServeSpec;

#[tokio::test]
async fn code_gives_way_to_other_code_of_its_component() {
    let runtime = runtime();
    let server = serve(&runtime, "hello", limited(64));
    let before = get_text(&server, "/").await;
    assert!(server.replace(&program(&runtime, "hello", PLAIN)));
    assert_eq!(get_text(&server, "/").await, before);
    // Not where instances live on, and never by what does not serve.
    let lasting = serve(&runtime, "hello", ServeSpec { reuse: true, ..limited(64) });
    assert!(!lasting.replace(&program(&runtime, "hello", PLAIN)));
    assert!(!server.replace(&program(&runtime, "batch", PLAIN)));
    assert_eq!(runtime.draft_key().is_some(), cfg!(feature = "winch"));
}

#[cfg(feature = "winch")]
mod winch {
    use std::time::Duration;

    use network::CallError;

    use super::super::{eventually, get, get_text, limited, program, runtime, sample};
    use crate::{Program, Reason, Runtime, ServeSpec};

    fn draft(runtime: &Runtime, name: &str, folder: &tempfile::TempDir) -> Program {
        let path = folder.path().join(name);
        std::fs::write(&path, crate::draft_alone(&sample(name)).unwrap()).unwrap();
        runtime.load_draft(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[tokio::test]
    async fn a_draft_serves_until_there_is_better_code() {
        let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
        for name in ["hello", "hello3"] {
            let draft = draft(&runtime, name, &folder);
            assert!(draft.is_draft());
            let server = runtime.serve(&draft, limited(64)).unwrap();
            let first = get_text(&server, "/").await;
            assert!(server.replace(&program(&runtime, name, super::PLAIN)));
            assert_eq!(get_text(&server, "/").await, first, "{name}");
        }
    }

    #[tokio::test]
    async fn limits_hold_for_drafts_too() {
        let (runtime, folder) = (runtime(), tempfile::tempdir().unwrap());
        let draft = draft(&runtime, "chaos", &folder);
        let spec = ServeSpec { request_timeout: Duration::from_millis(50), ..ServeSpec::default() };
        let server = runtime.serve(&draft, spec).unwrap();
        assert!(matches!(get(&server, "/loop").await, Err(CallError::Deadline)));
        eventually("the guest is gone", || server.stats().in_flight == 0).await;
        let server = runtime.serve(&draft, limited(64)).unwrap();
        let trap = get(&server, "/recurse").await;
        assert!(matches!(trap, Err(CallError::Guest(_))), "{trap:?}");
        assert!(matches!(get(&server, "/allocate?mib=128").await, Err(CallError::Guest(_))));
        assert_eq!(server.exit().await.reason, Reason::OomKilled);
    }
}
