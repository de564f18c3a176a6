//! What a write makes of the managers, and an apply of the object.

use serde_json::Value;

use super::compare::{Comparison, compare};
use super::fields::FieldSet;
use super::managers::{BEFORE, Entry, Managers};
use super::{Reach, Versions, Writer, check, extract, last_applied, merge};
use crate::meta;
use crate::schema::Definition;
use crate::status::{Cause, Status};

const FIELD: &str = "managedFields";

/// Records in `new` what a write other than an apply changed: what it changed is its manager's from now on, and nobody
/// else's. `old` is `Null` for a create.
pub fn updated(versions: &dyn Versions, old: &Value, new: &mut Value, writer: &Writer<'_>, reach: Reach<'_>) {
    let Some(definition) = versions.definition(writer.api_version) else { return };
    let held = meta::metadata(old).get(FIELD);
    let sent = meta::metadata(new).get(FIELD);
    let own = writer.subresource.is_empty() && sent.is_some() && sent != held;
    if own && is_reset(sent) {
        meta::unset(new, FIELD);
        if !old.is_null() {
            return;
        }
    }
    let difference = compare(definition, old, new, reach);
    // A client may write the entries themselves; what it writes must be readable, or it counts for nothing.
    let sent = own.then(|| Managers::from_json(meta::metadata(new).get(FIELD)).ok());
    let sent = sent.flatten().filter(|managers| !managers.is_empty());
    if difference.is_empty() && sent.is_none() {
        if meta::metadata(new).get(FIELD) != held {
            put(new, held.cloned());
        }
        return;
    }
    let mut managers = sent.unwrap_or_else(|| Managers::from_stored(held).unwrap_or_default());
    // Of an object that nobody owned so far nothing is recorded, until somebody applies.
    if !managers.is_empty() || old.is_null() {
        record(versions, &mut managers, (old, new), difference, writer, reach);
        managers.cap();
    }
    put(new, managers.to_json());
}

fn record(
    versions: &dyn Versions,
    managers: &mut Managers,
    (old, new): (&Value, &Value),
    difference: Comparison,
    writer: &Writer<'_>,
    reach: Reach<'_>,
) {
    let others = Others::new(versions, (old, new), &difference, writer.api_version, reach);
    others.take_from(managers, None);
    let Comparison { added: mut changed, modified, removed } = difference;
    changed.add(&modified);
    changed.subtract(&removed);
    managers.tidy();
    if changed.is_empty() {
        return;
    }
    let mut mine = Entry::of(writer, false, changed);
    mine.time = Some(writer.now.to_owned());
    match managers.find(&mine) {
        Some(held) => {
            mine.set.add(&held.set);
            *held = mine;
        }
        None => managers.0.push(mine),
    }
}

/// The list that takes all managers away: nobody in it, or one who is nothing.
fn is_reset(sent: Option<&Value>) -> bool {
    match sent.and_then(Value::as_array).map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(|map| map.values().all(Value::is_null)),
        _ => false,
    }
}

fn put(object: &mut Value, managers: Option<Value>) {
    match managers {
        Some(managers) => meta::set(object, FIELD, managers),
        None => meta::unset(object, FIELD),
    }
}

/// What a write means for managers, each in the version that its fields are named in.
struct Others<'a> {
    versions: &'a dyn Versions,
    states: (&'a Value, &'a Value),
    own: &'a Comparison,
    own_version: &'a str,
    reach: Reach<'a>,
}

impl<'a> Others<'a> {
    fn new(
        versions: &'a dyn Versions,
        states: (&'a Value, &'a Value),
        own: &'a Comparison,
        own_version: &'a str,
        reach: Reach<'a>,
    ) -> Self {
        Self { versions, states, own, own_version, reach }
    }

    /// Calls `each` with every manager but `except` and the difference in its version. Managers of a version that is
    /// served no more are forgotten.
    fn each(&self, managers: &mut Managers, except: Option<&Entry>, mut each: impl FnMut(&mut Entry, &Comparison)) {
        let mut converted: Vec<(String, Option<Comparison>)> = Vec::new();
        managers.0.retain_mut(|entry| {
            if except.is_some_and(|except| entry.is_same(except)) {
                return true;
            }
            if entry.api_version == self.own_version {
                each(entry, self.own);
                return true;
            }
            if !converted.iter().any(|(version, _)| *version == entry.api_version) {
                converted.push((entry.api_version.clone(), self.converted(&entry.api_version)));
            }
            let found = converted.iter().find(|(version, _)| *version == entry.api_version);
            if let Some((_, Some(comparison))) = found {
                each(entry, comparison);
            }
            self.versions.definition(&entry.api_version).is_some()
        });
    }

    fn converted(&self, version: &str) -> Option<Comparison> {
        let definition = self.versions.definition(version)?;
        let (old, new) = self.states;
        let old = if old.is_null() { Value::Null } else { self.versions.convert(old, version)? };
        let new = self.versions.convert(new, version)?;
        Some(compare(definition, &old, &new, self.reach))
    }

    /// Takes what changed or went from everybody.
    fn take_from(&self, managers: &mut Managers, except: Option<&Entry>) {
        self.each(managers, except, |entry, comparison| {
            for gone in [&comparison.added, &comparison.modified, &comparison.removed] {
                entry.subtract(gone);
            }
        });
    }
}

/// What an apply made of an object.
#[derive(Debug)]
pub struct Applied {
    /// The object with the wish in it and what was given up taken out, and with its managers. No defaults.
    pub object: Value,
}

/// Why an apply did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused(pub Status);

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        refused.0
    }
}

/// Applies a wish to `live`, which is `Null` when there is no object yet.
///
/// # Errors
/// When the wish does not fit the schema, or fields are somebody else's and `force` was not said.
pub fn applied(
    versions: &dyn Versions,
    live: &Value,
    wish: &Value,
    writer: &Writer<'_>,
    reach: Reach<'_>,
    force: bool,
) -> Result<Applied, Refused> {
    let definition = checked(versions, wish, writer)?;
    let held = Managers::from_stored(meta::metadata(live).get(FIELD))
        .map_err(|why| unhandled(format!("failed to decode managed fields: {why}")))?;
    let mut managers = held;
    if managers.is_empty() && !live.is_null() {
        let all = compare(definition, &Value::Null, live, reach).changed();
        if !all.is_empty() {
            let mut before = Entry::of(&Writer { manager: BEFORE, ..*writer }, false, all);
            before.time = Some(writer.now.to_owned());
            managers.0.push(before);
        }
    }
    let mut mine = Entry::of(writer, true, extract::wished(definition, wish, reach));
    let last = managers.find(&mine).cloned();
    mine.time = last.as_ref().and_then(|last| last.time.clone());
    match managers.find(&mine) {
        Some(held) => *held = mine.clone(),
        None => managers.0.push(mine.clone()),
    }
    let mut bare = live.clone();
    meta::unset(&mut bare, FIELD);
    let merged = if live.is_null() { wish.clone() } else { merge::merge(definition, &bare, wish) };
    let mut object = match last.filter(|last| !last.set.is_empty()) {
        Some(last) => pruned(versions, merged, &managers, &last, writer.api_version),
        None => merged,
    };
    let difference = compare(definition, &bare, &object, reach);
    let others = Others::new(versions, (&bare, &object), &difference, writer.api_version, reach);
    if !force {
        let mut conflicts = Vec::new();
        others.each(&mut managers, Some(&mine), |entry, comparison| {
            let both = entry.set.common(&comparison.changed());
            if !both.is_empty() {
                conflicts.push((entry.clone(), both));
            }
        });
        let conflicts = excused(definition, live, writer, conflicts);
        if !conflicts.is_empty() {
            return Err(Refused(conflict(conflicts)));
        }
    }
    others.take_from(&mut managers, Some(&mine));
    managers.tidy();
    // What the object is already is no change, and then nothing in it says when it was wished for again.
    if object == bare {
        object = bare;
    } else if let Some(mine) = managers.find(&mine) {
        mine.time = Some(writer.now.to_owned());
    }
    if writer.manager == last_applied::KUBECTL {
        last_applied::refresh(&mut object, wish);
    }
    put(&mut object, managers.to_json());
    Ok(Applied { object })
}

/// What is said before anything else is looked at. The definition that the wish is read by.
fn checked<'v>(
    versions: &'v dyn Versions,
    wish: &Value,
    writer: &Writer<'_>,
) -> Result<Option<&'v Definition>, Refused> {
    let said = |name: &str| wish.get(name).and_then(Value::as_str).unwrap_or_default();
    if said("apiVersion") != writer.api_version {
        return Err(Refused(Status::bad_request(format!(
            "Incorrect version specified in apply patch. Specified patch version: {}, expected: {}",
            said("apiVersion"),
            writer.api_version
        ))));
    }
    if meta::metadata(wish).get(FIELD).is_some_and(|managers| !managers.is_null()) {
        return Err(Refused(Status::bad_request("metadata.managedFields must be nil")));
    }
    let definition = versions.definition(writer.api_version).flatten();
    let faults = check::faults(definition, wish);
    if faults.is_empty() {
        return Ok(definition);
    }
    let version = if writer.api_version.contains('/') {
        writer.api_version.to_owned()
    } else {
        format!("/{}", writer.api_version)
    };
    Err(unhandled(format!(
        "failed to create typed patch object ({}/{}; {version}, Kind={}): {}",
        meta::namespace(wish),
        meta::name(wish),
        said("kind"),
        check::sentence(&faults)
    )))
}

/// Kubernetes answers these without a reason.
fn unhandled(message: String) -> Refused {
    Refused(Status::new(500, "", message))
}

/// Takes out what the manager wished for `last` time, and neither it nor anybody else wishes for now.
fn pruned(versions: &dyn Versions, merged: Value, managers: &Managers, last: &Entry, own_version: &str) -> Value {
    let version = last.api_version.as_str();
    let Some(definition) = versions.definition(version) else { return merged };
    let at = |value: &Value, from: &str, to: &str| {
        if from == to { Some(value.clone()) } else { versions.convert(value, to) }
    };
    let Some(whole) = at(&merged, own_version, version) else { return merged };
    let last_set = extract::with_ways(definition, &last.set);
    let mut left = extract::without(definition, &whole, &last_set);
    // What anybody wishes for comes back, version by version; that of the last time first.
    let mut order: Vec<&str> = vec![version];
    for entry in &managers.0 {
        if !order.contains(&entry.api_version.as_str()) {
            order.push(&entry.api_version);
        }
    }
    let mut here = version;
    let mut all = whole.clone();
    for next in order {
        let mut owned = FieldSet::default();
        for entry in managers.0.iter().filter(|entry| entry.api_version == next) {
            owned.add(&entry.set);
        }
        if owned.is_empty() {
            continue;
        }
        let Some(definition) = versions.definition(next) else { continue };
        let (Some(everything), Some(rest)) = (at(&all, here, next), at(&left, here, next)) else { continue };
        let mut gone = extract::with_ways(definition, &extract::fields(definition, &everything));
        let mut kept = extract::with_ways(definition, &extract::fields(definition, &rest));
        kept.add(&extract::with_ways(definition, &owned));
        gone.subtract(&kept);
        left = extract::without(definition, &everything, &gone);
        (all, here) = (everything, next);
    }
    let Some(left) = at(&left, here, version) else { return merged };
    // Only what was wished for last time may go at all.
    let mut gone = extract::with_ways(definition, &extract::fields(definition, &whole));
    gone.subtract(&extract::with_ways(definition, &extract::fields(definition, &left)));
    let outcome = extract::without(definition, &whole, &gone.common(&last_set));
    at(&outcome, version, own_version).unwrap_or(merged)
}

/// Without the conflicts that kubectl has with its own client-side apply, if those are all.
fn excused(
    definition: Option<&Definition>,
    live: &Value,
    writer: &Writer<'_>,
    conflicts: Vec<(Entry, FieldSet)>,
) -> Vec<(Entry, FieldSet)> {
    if conflicts.is_empty() || writer.manager != last_applied::KUBECTL {
        return conflicts;
    }
    let Some(allowed) = last_applied::allowed(definition, live, writer.api_version) else { return conflicts };
    let rest = conflicts.into_iter().map(|(entry, mut set)| {
        set.subtract(&allowed);
        (entry, set)
    });
    rest.filter(|(_, set)| !set.is_empty()).collect()
}

fn conflict(mut conflicts: Vec<(Entry, FieldSet)>) -> Status {
    conflicts.sort_by_key(|(entry, _)| entry.shown());
    let mut causes = Vec::new();
    let mut lines = Vec::new();
    for (entry, set) in &conflicts {
        let who = entry.shown();
        lines.push(format!("conflicts with {who}:"));
        for path in set.paths() {
            lines.push(format!("- {path}"));
            causes.push(Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {who}"),
                field: path,
            });
        }
    }
    let message = match causes.as_slice() {
        [one] => format!("Apply failed with 1 conflict: {}: {}", one.message, one.field),
        many => format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n")),
    };
    let mut status = Status::new(409, "Conflict", message);
    status.causes = causes;
    status
}

/// Whether two states of an object are the same but for the times in `managedFields`.
pub fn same_but_times(old: &Value, new: &Value) -> bool {
    let entries =
        |object| meta::metadata(object).get(FIELD).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (had, has) = (entries(old), entries(new));
    let same_entry = |(one, other): (&Value, &Value)| match (one.as_object(), other.as_object()) {
        (Some(one), Some(other)) => {
            let rest = |map: &serde_json::Map<String, Value>| map.iter().filter(|(name, _)| *name != "time").count();
            rest(one) == rest(other) && one.iter().all(|(name, value)| name == "time" || other.get(name) == Some(value))
        }
        _ => one == other,
    };
    if had.len() != has.len() {
        return false;
    }
    // Entries stand in the order of their times.
    let paired = had.iter().all(|one| has.iter().any(|other| same_entry((one, other))));
    paired && same_without(old, new, "metadata") && same_without(meta::metadata(old), meta::metadata(new), FIELD)
}

fn same_without(old: &Value, new: &Value, field: &str) -> bool {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return old == new };
    let count = |map: &serde_json::Map<String, Value>| map.keys().filter(|name| *name != field).count();
    count(old) == count(new) && old.iter().all(|(name, value)| name == field || new.get(name) == Some(value))
}
