//! The commands, by name.

mod archive;
mod compress;
mod copy;
mod expression;
mod find;
mod grep;
mod lines;
mod list;
mod net;
mod paths;
pub mod print;
mod sed;
mod select;
mod sort;
mod sums;
mod system;
mod text;
mod time;
mod translate;

use std::time::Duration;

use crate::process::{Ended, Process};
use crate::shell::{self, Later};

type Run = fn(Process) -> Later<'static, i32>;

/// A row of the table, out of an asynchronous function.
macro_rules! applet {
    ($run:path) => {
        |process| {
            Box::pin(async move {
                let ended: Ended = $run(&process).await;
                process.conclude(ended).await
            })
        }
    };
}

/// Sorted by name.
const TABLE: &[(&str, Run)] = &[
    ("[", applet!(expression::test)),
    ("[[", applet!(expression::test)),
    ("ash", shell::main),
    ("base64", applet!(sums::base64)),
    ("basename", applet!(paths::basename)),
    ("bash", shell::main),
    ("busybox", multi_call),
    ("cat", applet!(text::cat)),
    ("chmod", applet!(paths::accepted)),
    ("chown", applet!(paths::accepted)),
    ("clear", applet!(system::clear)),
    ("cmp", applet!(text::cmp)),
    ("cp", applet!(copy::cp)),
    ("cut", applet!(select::cut)),
    ("date", applet!(time::date)),
    ("dd", applet!(copy::dd)),
    ("df", applet!(list::df)),
    ("diff", applet!(text::diff)),
    ("dirname", applet!(paths::dirname)),
    ("du", applet!(list::du)),
    ("echo", applet!(print::echo)),
    ("egrep", applet!(grep::grep)),
    ("env", applet!(system::env)),
    ("expr", applet!(expression::expr)),
    ("false", applet!(system::no)),
    ("fgrep", applet!(grep::grep)),
    ("find", applet!(find::find)),
    ("fold", applet!(select::fold)),
    ("grep", applet!(grep::grep)),
    ("gunzip", applet!(compress::gzip)),
    ("gzip", applet!(compress::gzip)),
    ("head", applet!(text::head)),
    ("hostname", applet!(system::hostname)),
    ("id", applet!(system::id)),
    ("ln", applet!(paths::ln)),
    ("ls", applet!(list::ls)),
    ("md5sum", applet!(sums::sum)),
    ("mkdir", applet!(paths::mkdir)),
    ("mktemp", applet!(paths::mktemp)),
    ("mv", applet!(copy::mv)),
    ("nc", applet!(net::nc)),
    ("nl", applet!(select::nl)),
    ("nproc", applet!(system::nproc)),
    ("nslookup", applet!(net::nslookup)),
    ("od", applet!(sums::od)),
    ("paste", applet!(select::paste)),
    ("pause", applet!(time::pause)),
    ("printenv", applet!(system::printenv)),
    ("printf", applet!(print::printf)),
    ("ps", applet!(system::ps)),
    ("pwd", applet!(system::pwd)),
    ("readlink", applet!(paths::readlink)),
    ("realpath", applet!(paths::realpath)),
    ("rev", applet!(select::rev)),
    ("rm", applet!(paths::rm)),
    ("rmdir", applet!(paths::rmdir)),
    ("sed", applet!(sed::sed)),
    ("seq", applet!(time::seq)),
    ("sh", shell::main),
    ("sha1sum", applet!(sums::sum)),
    ("sha256sum", applet!(sums::sum)),
    ("sha512sum", applet!(sums::sum)),
    ("sleep", applet!(time::sleep)),
    ("sort", applet!(sort::sort)),
    ("stat", applet!(list::stat)),
    ("stty", applet!(system::stty)),
    ("sync", applet!(system::yes_quietly)),
    ("tac", applet!(select::tac)),
    ("tail", applet!(text::tail)),
    ("tar", applet!(archive::tar)),
    ("tee", applet!(text::tee)),
    ("test", applet!(expression::test)),
    ("time", applet!(time::measure)),
    ("timeout", applet!(time::timeout)),
    ("toolbox", multi_call),
    ("touch", applet!(paths::touch)),
    ("tr", applet!(translate::tr)),
    ("true", applet!(system::yes_quietly)),
    ("truncate", applet!(paths::truncate)),
    ("tty", applet!(system::tty)),
    ("uname", applet!(system::uname)),
    ("uniq", applet!(sort::uniq)),
    ("uptime", applet!(system::uptime)),
    ("usleep", applet!(time::sleep)),
    ("wc", applet!(text::wc)),
    ("wget", applet!(net::wget)),
    ("which", applet!(system::which)),
    ("whoami", applet!(system::whoami)),
    ("xargs", applet!(find::xargs)),
    ("yes", applet!(print::yes)),
    ("zcat", applet!(compress::gzip)),
];

/// Folders in which people expect commands.
const FOLDERS: [&str; 6] = ["/bin", "/usr/bin", "/sbin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

fn row(name: &str) -> Option<&'static (&'static str, Run)> {
    let name = match name.rsplit_once('/') {
        Some((folder, name)) if FOLDERS.contains(&folder) => name,
        Some(_) => return None,
        None => name,
    };
    TABLE.binary_search_by(|(known, _)| (*known).cmp(name)).ok().map(|at| &TABLE[at])
}

/// The name of the applet that a command means, by itself or by its usual path.
pub fn find(name: &str) -> Option<&'static str> {
    row(name).map(|(name, _)| *name)
}

/// Runs the applet that the first argument names.
pub fn run(process: Process) -> Later<'static, i32> {
    match process.args.first().and_then(|name| row(name)) {
        Some((_, run)) => run(process),
        None => Box::pin(async move {
            let words = format!("{}: not found\n", process.args.first().map_or("", String::as_str));
            let _ = process.stderr.write(words.as_bytes()).await;
            127
        }),
    }
}

/// Nothing when the time is over before.
pub async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut over) = (std::pin::pin!(work), std::pin::pin!(time::nap(limit)));
    std::future::poll_fn(|context| {
        use std::task::Poll;
        if let Poll::Ready(done) = work.as_mut().poll(context) {
            return Poll::Ready(Some(done));
        }
        over.as_mut().poll(context).map(|()| None)
    })
    .await
}

/// `toolbox NAME …`
fn multi_call(process: Process) -> Later<'static, i32> {
    Box::pin(async move {
        let mut process = process;
        if process.args.len() < 2 || process.args[1] == "--list" {
            let names: String = TABLE.iter().map(|(name, _)| format!("{name}\n")).collect();
            return i32::from(process.stdout.write(names.as_bytes()).await.is_err());
        }
        process.args.remove(0);
        run(process).await
    })
}
