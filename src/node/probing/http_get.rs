//! `httpGet`, of probes and of hooks.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use http::header::{ACCEPT, CONNECTION, HOST, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use k8s_openapi::api::core::v1::HTTPGetAction;
use network::{CallError, Connection, body};

use super::{Asked, port, refused};
use crate::machine::Outcome;

const REDIRECTS_MAX: usize = 10;

/// What came of a request.
pub(crate) enum Got {
    Status(StatusCode),
    /// It leads elsewhere, and nobody goes there.
    Elsewhere,
}

pub(super) async fn probe(asked: &Asked<'_>, action: &HTTPGetAction, timeout: Duration) -> Outcome {
    match get(asked, action, timeout, "kube-probe/1.36").await {
        Ok(Got::Elsewhere) => Outcome::Warning("Probe terminated redirects".to_owned()),
        Ok(Got::Status(status)) if (200..400).contains(&status.as_u16()) => Outcome::Success,
        Ok(Got::Status(status)) => Outcome::Failure(format!("HTTP probe failed with statuscode: {}", status.as_u16())),
        Err(why) => Outcome::Failure(why),
    }
}

/// Sends the request, and follows redirects that stay with the same host.
///
/// # Errors
/// Why there is no response, in the words of Kubernetes' client.
pub(crate) async fn get(
    asked: &Asked<'_>,
    action: &HTTPGetAction,
    timeout: Duration,
    agent: &'static str,
) -> Result<Got, String> {
    let port = port(&action.port, asked.container)?;
    let host = action.host.as_deref().filter(|host| !host.is_empty());
    let host = host.map_or(Ok(asked.pod), |host| host.parse().map_err(|_| format!("lookup {host}: no such host")))?;
    let address = SocketAddr::new(host, port);
    let path = action.path.as_deref().unwrap_or("/");
    let slash = if path.starts_with('/') { "" } else { "/" };
    if action.scheme.as_deref() == Some("HTTPS") {
        let why = "HTTPS is not spoken inside of the pod network; use scheme HTTP";
        return Err(format!("Get \"https://{address}{slash}{path}\": {why}"));
    }
    let headers = headers(action, address, agent).map_err(|why| format!("Get \"http://{address}{path}\": {why}"))?;
    let until = Instant::now() + timeout;
    let mut url = format!("http://{address}{slash}{path}");
    let mut address = address;
    for _ in 0..REDIRECTS_MAX {
        let response = once(asked, address, &url, headers.clone(), until).await?;
        let Some(next) = redirected(&response, &url) else { return Ok(Got::Status(response.status())) };
        let there: Option<SocketAddr> = next.authority().and_then(|authority| {
            let port = authority.port_u16().unwrap_or(80);
            Some(SocketAddr::new(authority.host().trim_matches(['[', ']']).parse().ok()?, port))
        });
        match there.filter(|there| there.ip() == address.ip()) {
            Some(there) => (address, url) = (there, next.to_string()),
            None => return Ok(Got::Elsewhere),
        }
    }
    Err(format!("Get \"{url}\": stopped after {REDIRECTS_MAX} redirects"))
}

fn headers(action: &HTTPGetAction, address: SocketAddr, agent: &'static str) -> Result<HeaderMap, http::Error> {
    let mut headers = HeaderMap::new();
    for header in action.http_headers.iter().flatten() {
        headers.append(HeaderName::try_from(&header.name)?, HeaderValue::try_from(&header.value)?);
    }
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::try_from(address.to_string())?);
    }
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(agent));
    headers.entry(ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    // A header with nothing in it asks for the header not to be sent.
    for name in [USER_AGENT, ACCEPT] {
        if headers.get(&name).is_some_and(HeaderValue::is_empty) {
            headers.remove(name);
        }
    }
    Ok(headers)
}

async fn once(
    asked: &Asked<'_>,
    address: SocketAddr,
    url: &str,
    headers: HeaderMap,
    until: Instant,
) -> Result<network::HttpResponse, String> {
    let failed = |why: String| format!("Get \"{url}\": {why}");
    let mut request = Request::builder().method(Method::GET).uri(url).body(body::empty());
    if let Ok(request) = &mut request {
        *request.headers_mut() = headers;
    }
    let request = request.map_err(|error| failed(error.to_string()))?;
    let connection = Connection { source: asked.pod, ..Connection::default() }.by(until);
    match tokio::time::timeout_at(until.into(), asked.network.call(address, request, connection)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(CallError::Refused { .. })) => Err(failed(refused(address))),
        // What the component itself failed of is an answer, as it is at the ingress.
        Ok(Err(error @ CallError::Guest(_))) => {
            let mut response = http::Response::new(body::empty());
            *response.status_mut() = error.status();
            Ok(response)
        }
        Ok(Err(CallError::Deadline)) | Err(_) => {
            let why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";
            Err(failed(why.to_owned()))
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
    }
}

/// Where a response leads, as a whole address.
fn redirected(response: &network::HttpResponse, from: &str) -> Option<Uri> {
    let leads = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = response.headers().get(LOCATION).filter(|_| leads)?.to_str().ok()?;
    let to: Uri = location.parse().ok()?;
    if to.authority().is_some() {
        return Some(to);
    }
    let base: Uri = from.parse().ok()?;
    let path = if location.starts_with('/') { location.to_owned() } else { format!("/{location}") };
    format!("http://{}{path}", base.authority()?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_to_whole_addresses() {
        let response = |status: u16, location: &str| {
            let response = http::Response::builder().status(status).header(LOCATION, location);
            response.body(body::empty()).unwrap()
        };
        for (status, location, wanted) in [
            (302, "/next?a=b", Some("http://10.0.0.1:80/next?a=b")),
            (301, "http://10.0.0.9/x", Some("http://10.0.0.9/x")),
            (200, "/next", None),
        ] {
            let found = redirected(&response(status, location), "http://10.0.0.1:80/first");
            assert_eq!(found.map(|uri| uri.to_string()).as_deref(), wanted, "{status} {location}");
        }
    }

    #[test]
    fn a_spec_may_replace_what_a_probe_says_of_itself() {
        let action = |headers: serde_json::Value| -> HTTPGetAction {
            serde_json::from_value(serde_json::json!({ "port": 80, "httpHeaders": headers })).unwrap()
        };
        let address = "10.0.0.1:80".parse().unwrap();
        let plain = headers(&action(serde_json::json!([])), address, "kube-probe/1.36").unwrap();
        assert_eq!(
            (&plain[HOST], &plain[USER_AGENT]),
            (&"10.0.0.1:80".parse().unwrap(), &"kube-probe/1.36".parse().unwrap())
        );
        let own =
            action(serde_json::json!([{ "name": "Host", "value": "a.example" }, { "name": "Accept", "value": "" }]));
        let own = headers(&own, address, "kube-probe/1.36").unwrap();
        assert_eq!((&own[HOST], own.get(ACCEPT)), (&"a.example".parse::<HeaderValue>().unwrap(), None));
        let bad = action(serde_json::json!([{ "name": "a b", "value": "" }]));
        assert!(headers(&bad, address, "kube-probe/1.36").is_err());
    }
}
