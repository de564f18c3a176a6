//! `sleep`, `date`, `seq`, `timeout`, `time`, `pause`.

use std::time::{Duration, Instant};

use jiff::fmt::strtime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::process::{Ended, Options, Process};

pub async fn nap(length: Duration) {
    wstd::task::sleep(length.into()).await;
}

fn moment(seconds: i64, zone: TimeZone) -> Result<Zoned, String> {
    let stamp = Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    Ok(stamp.to_zoned(zone))
}

/// A moment as `strftime` writes it.
pub fn format(seconds: i64, format: &str) -> Result<String, String> {
    strtime::format(format, &moment(seconds, TimeZone::UTC)?).map_err(|error| error.to_string())
}

/// As `ls -l` prints it.
pub fn stamp(seconds: i64) -> String {
    const HALF_A_YEAR: i64 = 180 * 86_400;
    let old = (Timestamp::now().as_second() - seconds).abs() > HALF_A_YEAR;
    format(seconds, if old { "%b %e  %Y" } else { "%b %e %H:%M" }).unwrap_or_default()
}

/// Seconds since 1970 out of what people write.
pub fn read(text: &str) -> Result<i64, String> {
    let text = text.trim();
    let relative = text.strip_suffix(" ago").map(|rest| (rest, -1)).or(text.strip_prefix('+').map(|rest| (rest, 1)));
    if let Some((span, sign)) = relative
        && let Some((count, unit)) = span.trim().split_once(' ')
    {
        let count: i64 = count.parse().map_err(|_| format!("invalid date '{text}'"))?;
        let unit = match unit.trim_end_matches('s') {
            "second" | "sec" => 1,
            "minute" | "min" => 60,
            "hour" => 3600,
            "day" => 86_400,
            "week" => 7 * 86_400,
            _ => return Err(format!("invalid date '{text}'")),
        };
        return Ok(Timestamp::now().as_second() + sign * count * unit);
    }
    if let Some(seconds) = text.strip_prefix('@') {
        return seconds.parse().map_err(|_| format!("invalid date '{text}'"));
    }
    if matches!(text, "now" | "") {
        return Ok(Timestamp::now().as_second());
    }
    if let Ok(stamp) = text.parse::<Timestamp>() {
        return Ok(stamp.as_second());
    }
    let forms = ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y%m%d%H%M.%S", "%Y%m%d%H%M"];
    for form in forms {
        if let Ok(found) = jiff::civil::DateTime::strptime(form, text) {
            return Ok(found.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?.timestamp().as_second());
        }
    }
    match jiff::civil::Date::strptime("%Y-%m-%d", text) {
        Ok(date) => Ok(date.to_zoned(TimeZone::UTC).map_err(|error| error.to_string())?.timestamp().as_second()),
        Err(_) => Err(format!("invalid date '{text}'")),
    }
}

pub async fn date(process: &Process) -> Ended {
    let options = Options::of(&process.args, "ud:r:I:RD:s:", &[("utc", 'u'), ("date", 'd'), ("reference", 'r'), ("rfc-email", 'R'), ("iso-8601", 'I')]);
    // `-I` may stand alone.
    let alone = process.args.iter().any(|arg| arg == "-I" || arg == "-Iseconds" || arg == "-Is" || arg == "--iso-8601");
    let seconds_too = process.args.iter().any(|arg| arg.starts_with("-Is"));
    let options = if alone {
        let args: Vec<String> = process.args.iter().filter(|arg| !arg.starts_with("-I") && *arg != "--iso-8601").cloned().collect();
        Options::of(&args, "ud:r:RD:s:", &[("utc", 'u'), ("date", 'd'), ("reference", 'r')])?
    } else {
        options?
    };
    if options.has('s') {
        return Err("can't set date: Operation not permitted".to_owned().into());
    }
    let now = match (options.value('d'), options.value('r')) {
        (Some(text), _) => Timestamp::from_second(read(text)?).map_err(|error| error.to_string())?,
        (None, Some(path)) => {
            let found = std::fs::metadata(process.path(path)).map_err(|error| format!("{path}: {}", crate::process::why(&error)))?;
            Timestamp::from_second(super::list::changed(&found)).map_err(|error| error.to_string())?
        }
        (None, None) => Timestamp::now(),
    };
    let form = match options.rest.first().and_then(|word| word.strip_prefix('+')) {
        Some(form) => form,
        None if alone && seconds_too => "%Y-%m-%dT%H:%M:%S%:z",
        None if alone => "%Y-%m-%d",
        None if options.has('R') => "%a, %d %b %Y %H:%M:%S %z",
        None => "%a %b %e %H:%M:%S UTC %Y",
    };
    // Not every letter is known to the crate under its GNU meaning.
    let form = form.replace("%N", &format!("{:09}", now.subsec_nanosecond()));
    let text = strtime::format(&form, &now.to_zoned(TimeZone::UTC)).map_err(|error| error.to_string())?;
    process.stdout.write(format!("{text}\n").as_bytes()).await?;
    Ok(0)
}

/// `5`, `0.5`, `1m`, `infinity`
fn span(text: &str) -> Result<Option<Duration>, String> {
    if matches!(text, "infinity" | "inf") {
        return Ok(None);
    }
    let (digits, unit) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1.0),
        Some((at, 'm')) => (&text[..at], 60.0),
        Some((at, 'h')) => (&text[..at], 3600.0),
        Some((at, 'd')) => (&text[..at], 86_400.0),
        _ => (text, 1.0),
    };
    let count: Option<f64> = digits.parse().ok();
    let span = count.and_then(|count| Duration::try_from_secs_f64(count * unit).ok());
    span.map(Some).ok_or_else(|| format!("invalid number '{text}'"))
}

pub async fn sleep(process: &Process) -> Ended {
    if process.args.len() < 2 {
        return Err("missing operand".to_owned().into());
    }
    let mut total = Duration::ZERO;
    for text in &process.args[1..] {
        match span(text)? {
            Some(span) => total = total.saturating_add(span),
            None => return pause(process).await,
        }
    }
    if process.name() == "usleep" {
        total /= 1_000_000;
    }
    nap(total).await;
    Ok(0)
}

/// Waits until somebody ends it.
pub async fn pause(_: &Process) -> Ended {
    loop {
        nap(Duration::from_secs(1 << 30)).await;
    }
}

pub async fn timeout(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+s:k:t:", &[("signal", 's'), ("kill-after", 'k')])?;
    let mut rest = options.rest.clone();
    let limit = match options.value('t') {
        Some(text) => span(text)?,
        None if rest.is_empty() => return Err("missing operand".to_owned().into()),
        None => span(&rest.remove(0))?,
    };
    if rest.is_empty() {
        return Err("missing operand".to_owned().into());
    }
    if super::find(&rest[0]).is_none() {
        process.complain(format!("can't execute '{}': No such file or directory", rest[0])).await;
        return Ok(127);
    }
    let work = super::run(Process { args: rest, ..process.clone() });
    match limit {
        None => Ok(work.await),
        Some(limit) => Ok(super::within(limit, work).await.unwrap_or(if options.value('s') == Some("KILL") { 137 } else { 143 })),
    }
}

pub async fn measure(process: &Process) -> Ended {
    let options = Options::of(&process.args, "+p", &[])?;
    let began = Instant::now();
    let code = if options.rest.is_empty() { 0 } else { super::run(Process { args: options.rest, ..process.clone() }).await };
    let took = began.elapsed().as_secs_f64();
    let text = format!("real\t{}m {:.2}s\nuser\t0m 0.00s\nsys\t0m 0.00s\n", (took / 60.0).floor(), took % 60.0);
    process.stderr.write(text.as_bytes()).await?;
    Ok(code)
}

pub async fn seq(process: &Process) -> Ended {
    let mut rest: Vec<&String> = process.args[1..].iter().collect();
    let (mut separator, mut wide) = ("\n".to_owned(), false);
    while let Some(option) = rest.first().filter(|arg| arg.starts_with("-s") || *arg == &"-w") {
        if *option == "-w" {
            wide = true;
            rest.remove(0);
        } else if option.len() > 2 {
            separator = option[2..].to_owned();
            rest.remove(0);
        } else {
            separator = rest.get(1).map_or_else(String::new, |text| (*text).clone());
            rest.drain(..rest.len().min(2));
        }
    }
    let number = |text: &&String| text.parse::<f64>().map_err(|_| format!("invalid number '{text}'"));
    let numbers = rest.iter().map(number).collect::<Result<Vec<_>, _>>()?;
    let (first, step, last) = match numbers[..] {
        [last] => (1.0, 1.0, last),
        [first, last] => (first, 1.0, last),
        [first, step, last] => (first, step, last),
        _ => return Err("usage: seq [-w] [-s SEP] [FIRST [INC]] LAST".to_owned().into()),
    };
    let decimals = rest.iter().map(|text| text.split_once('.').map_or(0, |(_, digits)| digits.len())).max().unwrap_or(0);
    let width = if wide { rest.iter().map(|text| text.len()).max().unwrap_or(0) } else { 0 };
    let mut out = process.out();
    let (mut count, mut any) = (0.0, false);
    loop {
        let value = first + count * step;
        if step == 0.0 || (step > 0.0 && value > last + 1e-9) || (step < 0.0 && value < last - 1e-9) {
            break;
        }
        if any {
            out.put(separator.as_bytes()).await?;
        }
        out.put(format!("{value:0width$.decimals$}").as_bytes()).await?;
        any = true;
        count += 1.0;
    }
    if any {
        out.put(b"\n").await?;
    }
    out.flush().await?;
    Ok(0)
}
