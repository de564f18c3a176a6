//! `/healthz`, `/livez`, `/readyz`, whole and check by check.

use crate::config::HealthCheck;
use crate::query::Query;
use crate::reply::Reply;

/// The three endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Health,
    Live,
    Ready,
}

impl Endpoint {
    /// The endpoint of a path, and the one check that it names.
    pub fn of(path: &str) -> Option<(Self, Option<&str>)> {
        let path = path.strip_prefix('/')?;
        let (head, check) = path.split_once('/').map_or((path, ""), |(head, check)| (head, check));
        let endpoint = match head {
            "healthz" => Self::Health,
            "livez" => Self::Live,
            "readyz" => Self::Ready,
            _ => return None,
        };
        Some((endpoint, (!check.is_empty()).then_some(check)))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Health => "healthz",
            Self::Live => "livez",
            Self::Ready => "readyz",
        }
    }
}

/// Runs the checks of an endpoint and answers as Kubernetes does.
pub(crate) fn answer(
    endpoint: Endpoint,
    one: Option<&str>,
    query: &Query,
    checks: &[HealthCheck],
    stopping: bool,
) -> Reply {
    let mut results: Vec<(&str, Result<(), String>)> = vec![("ping", Ok(()))];
    for check in checks.iter().filter(|check| endpoint != Endpoint::Live || check.live) {
        results.push((&check.name, (check.check)()));
    }
    if endpoint == Endpoint::Ready {
        let open = if stopping { Err("the server is stopping".to_owned()) } else { Ok(()) };
        results.push(("shutdown", open));
    }
    if let Some(one) = one {
        return match results.into_iter().find(|(name, _)| *name == one) {
            Some((_, Ok(()))) => Reply::text(200, "ok"),
            Some((name, Err(why))) => {
                tracing::info!(check = name, why, "{} check failed", endpoint.name());
                Reply::text(500, "internal server error: reason withheld\n")
            }
            None => Reply::text(404, "404 page not found\n"),
        };
    }
    let excluded: Vec<&str> = query.all("exclude").collect();
    let mut lines = String::new();
    let mut failed = Vec::new();
    for (name, result) in results {
        match result {
            _ if excluded.contains(&name) => lines.push_str(&format!("[+]{name} excluded: ok\n")),
            Ok(()) => lines.push_str(&format!("[+]{name} ok\n")),
            Err(why) => {
                lines.push_str(&format!("[-]{name} failed: reason withheld\n"));
                failed.push(format!("{name}: {why}"));
            }
        }
    }
    if failed.is_empty() {
        let verbose = query.flag("verbose");
        return Reply::text(
            200,
            if verbose { format!("{lines}{} check passed\n", endpoint.name()) } else { "ok".into() },
        );
    }
    tracing::debug!(failed = failed.join(", "), "{} check failed", endpoint.name());
    Reply::text(500, format!("{lines}{} check failed\n", endpoint.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::Payload;

    fn ask(path: &str, checks: &[HealthCheck]) -> (u16, String) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let (endpoint, one) = Endpoint::of(path).unwrap();
        let reply = answer(endpoint, one, &Query::parse(Some(query)), checks, false);
        let Payload::Whole(bytes) = reply.payload else { panic!("health is no stream") };
        (reply.code, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[test]
    fn checks_are_told_one_by_one() {
        let checks =
            [HealthCheck::ready("etcd", || Ok(())), HealthCheck::ready("scheduler", || Err("not yet".to_owned()))];
        for (path, code, body) in [
            ("/livez", 200, "ok"),
            ("/livez?verbose", 200, "[+]ping ok\nlivez check passed\n"),
            ("/readyz/etcd", 200, "ok"),
            ("/readyz/scheduler", 500, "internal server error: reason withheld\n"),
            ("/readyz/nothing", 404, "404 page not found\n"),
            (
                "/readyz",
                500,
                "[+]ping ok\n[+]etcd ok\n[-]scheduler failed: reason withheld\n[+]shutdown ok\nreadyz check failed\n",
            ),
            ("/readyz?exclude=scheduler", 200, "ok"),
        ] {
            assert_eq!(ask(path, &checks), (code, body.to_owned()), "{path}");
        }
    }
}
