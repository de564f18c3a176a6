//! The real binary: `coracle up` in a process of its own, and verbs against it.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use cli::Connection;
use cli::args::ConnectionArgs;
use tempfile::TempDir;
use testkit::eventually;
use tokio::process::{Child, Command};

/// How long a process may take to end once it was told to. Longer than its own grace.
const END: Duration = Duration::from_secs(60);

/// A command line of the binary under test, with an environment that nothing of the user's leaks into.
pub fn coracle(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coracle"));
    let cache = Path::new(env!("CARGO_BIN_EXE_coracle")).with_file_name("test-cache");
    command.args(arguments).env_remove("KUBECONFIG").env_remove("CORACLE_DATA_DIR").env_remove("CORACLE_LOG");
    command.env("XDG_CACHE_HOME", cache).kill_on_drop(true);
    command
}

/// Runs a command line to its end.
pub async fn run(arguments: &[&str]) -> Output {
    coracle(arguments).stdin(Stdio::null()).output().await.unwrap()
}

/// Standard output of a command line that succeeds.
pub async fn told(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(output.status.success(), "coracle {}: {}", arguments.join(" "), text(&output.stderr));
    text(&output.stdout)
}

/// Exit code and standard error of a command line that fails.
pub async fn refused(arguments: &[&str]) -> (i32, String) {
    let output = run(arguments).await;
    assert!(!output.status.success(), "coracle {}: {}", arguments.join(" "), text(&output.stdout));
    (output.status.code().unwrap_or(-1), text(&output.stderr))
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Arguments for listening on free ports.
pub const FREE_PORTS: [&str; 4] = ["--api-listen", "127.0.0.1:0", "--ingress-listen", "127.0.0.1:0"];

/// A running `coracle up`.
pub struct Up {
    child: Child,
    folder: TempDir,
    kubeconfig: PathBuf,
}

impl Up {
    /// Starts it on free ports with its data in `data`, and waits for its table.
    pub async fn start(data: &Path, more: &[&str]) -> Self {
        let data = data.to_str().unwrap();
        let mut arguments = vec!["up", "--data-dir", data];
        arguments.extend(FREE_PORTS);
        arguments.extend(more);
        Self::started(&arguments)
            .await
            .unwrap_or_else(|(code, error)| panic!("coracle up ended with {code:?}: {error}"))
    }

    /// Starts it with these arguments and waits for its table, or for its end.
    pub async fn started(arguments: &[&str]) -> Result<Self, (Option<i32>, String)> {
        Self::of(coracle(arguments)).await
    }

    /// The same of a command that somebody else put together.
    pub async fn of(mut command: Command) -> Result<Self, (Option<i32>, String)> {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| std::fs::File::create(folder.path().join(name)).unwrap();
        let child = command.stdin(Stdio::null()).stdout(file("out")).stderr(file("err")).spawn().unwrap();
        let mut up = Self { child, folder, kubeconfig: PathBuf::new() };
        let ended = eventually("coracle up prints its table, or ends", async || {
            if let Some(status) = up.child.try_wait().unwrap() {
                return Some(Err((status.code(), up.errors())));
            }
            let table = up.table();
            (table.ends_with('\n') && table.lines().any(|line| line.starts_with("API "))).then_some(Ok(()))
        })
        .await;
        ended?;
        up.kubeconfig = up.row("Kubeconfig").map(PathBuf::from).unwrap_or_default();
        Ok(up)
    }

    /// Everything that it printed for its user.
    pub fn table(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("out")).unwrap()
    }

    /// Everything that it wrote to standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("err")).unwrap()
    }

    /// The second column of a row of the table.
    pub fn row(&self, name: &str) -> Option<String> {
        let table = self.table();
        let row = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(row.trim().to_owned())
    }

    /// Where the ingress listens.
    pub fn ingress(&self) -> std::net::SocketAddr {
        self.row("Ingress").unwrap().strip_prefix("http://").unwrap().parse().unwrap()
    }

    /// The kubeconfig that the table names.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The same as an argument.
    pub fn kubeconfig_argument(&self) -> String {
        format!("--kubeconfig={}", self.kubeconfig.display())
    }

    /// A connection over HTTPS with the kubeconfig's credentials.
    pub async fn connection(&self) -> Connection {
        let arguments = ConnectionArgs { kubeconfig: Some(self.kubeconfig.clone()), ..ConnectionArgs::default() };
        Connection::open(&arguments).await.unwrap()
    }

    /// Standard output of a verb that succeeds against it.
    pub async fn told(&self, line: &str) -> String {
        let kubeconfig = self.kubeconfig_argument();
        let mut arguments: Vec<&str> = line.split_whitespace().collect();
        arguments.push(&kubeconfig);
        told(&arguments).await
    }

    /// Exit code and standard error of a verb that fails against it.
    pub async fn refused(&self, line: &str) -> (i32, String) {
        let kubeconfig = self.kubeconfig_argument();
        let mut arguments: Vec<&str> = line.split_whitespace().collect();
        arguments.push(&kubeconfig);
        refused(&arguments).await
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// As `kill -9`: nothing in it can see this coming.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// As Ctrl-C.
    #[cfg(unix)]
    pub async fn signal(&self) {
        let pid = self.pid().to_string();
        let sent = Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
        assert!(sent.success());
    }

    /// As Ctrl-C, and waits until it has ended: its exit code and standard error.
    #[cfg(unix)]
    pub async fn interrupt(mut self) -> (Option<i32>, String) {
        self.signal().await;
        let status = tokio::time::timeout(END, self.child.wait()).await.expect("it ends after Ctrl-C").unwrap();
        (status.code(), self.errors())
    }

    /// As somebody who presses Ctrl-C until it has ended.
    #[cfg(unix)]
    pub async fn interrupt_again_and_again(mut self) -> Option<i32> {
        let status = eventually("it ends", async || {
            self.signal().await;
            self.child.try_wait().unwrap()
        })
        .await;
        status.code()
    }

    /// Ends it in whatever way this system has.
    pub async fn end(self) {
        #[cfg(unix)]
        {
            let (code, errors) = self.interrupt().await;
            assert_eq!(code, Some(0), "{errors}");
        }
        #[cfg(not(unix))]
        {
            let _ = END;
            self.kill().await;
        }
    }
}
