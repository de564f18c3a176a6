//! Which names a definition gets, and the conditions that tell of it.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{storage_version, text, texts};

/// The finalizer that holds a definition until its resources are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// Whether a condition of the definition is true.
pub fn is_true(crd: &Value, kind: &str) -> bool {
    condition(crd, kind).is_some_and(|condition| text(condition, "/status") == "True")
}

fn condition<'a>(crd: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = crd.pointer("/status/conditions")?.as_array()?;
    conditions.iter().find(|condition| text(condition, "/type") == kind)
}

/// Puts a condition in place of the one of its type, or adds it. The time moves only with the status.
pub fn set_condition(crd: &mut Value, now: &str, kind: &str, (status, reason, message): (&str, &str, &str)) {
    let was = condition(crd, kind).cloned();
    let since = match &was {
        Some(was) if text(was, "/status") == status => {
            was.get("lastTransitionTime").cloned().unwrap_or_else(|| json!(now))
        }
        _ => json!(now),
    };
    let mut new = json!({
        "type": kind, "status": status, "lastTransitionTime": since, "reason": reason, "message": message,
    });
    if let Some(seen) = was.as_ref().and_then(|was| was.get("observedGeneration")) {
        new["observedGeneration"] = seen.clone();
    }
    let Some(status) = status_mut(crd) else { return };
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    if let Some(conditions) = status["conditions"].as_array_mut() {
        match conditions.iter_mut().find(|condition| condition.get("type").and_then(Value::as_str) == Some(kind)) {
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    }
}

fn status_mut(crd: &mut Value) -> Option<&mut Value> {
    let status = crd.as_object_mut()?.entry("status").or_insert_with(|| json!({}));
    if !status.is_object() {
        *status = json!({});
    }
    Some(status)
}

/// Names that other definitions of the group have, and those that are built in.
#[derive(Default)]
struct Taken {
    resources: BTreeSet<String>,
    kinds: BTreeSet<String>,
}

fn taken(group: &str, others: &[&Value]) -> Taken {
    let mut taken = Taken::default();
    for other in others.iter().filter(|other| text(other, "/spec/group") == group) {
        for name in ["plural", "singular"] {
            taken.resources.insert(text(other, &format!("/status/acceptedNames/{name}")).to_owned());
        }
        taken.resources.extend(texts(other, "/status/acceptedNames/shortNames"));
        for name in ["kind", "listKind"] {
            taken.kinds.insert(text(other, &format!("/status/acceptedNames/{name}")).to_owned());
        }
    }
    taken
}

/// The definition's status as it should be next to the other definitions; the same one when nothing is to be done.
pub fn settled(crd: &Value, others: &[&Value], now: &str) -> Value {
    let mut new = crd.clone();
    accept(&mut new, others, now);
    approve(&mut new, now);
    if let Some(storage) = storage_version(crd).map(str::to_owned) {
        let mut stored = texts(&new, "/status/storedVersions");
        if !stored.contains(&storage) {
            stored.push(storage);
            if let Some(status) = status_mut(&mut new) {
                status["storedVersions"] = json!(stored);
            }
        }
    }
    new
}

fn accept(crd: &mut Value, others: &[&Value], now: &str) {
    let wanted = crd.pointer("/spec/names").cloned().unwrap_or_default();
    let had = crd.pointer("/status/acceptedNames").filter(|names| names.is_object()).cloned();
    let had = had.unwrap_or_else(|| json!({}));
    let taken = taken(text(crd, "/spec/group"), others);
    let mut now_has = had.clone();
    let mut conflict: Option<(&str, String)> = None;
    let in_use = |name: &str| format!("{name:?} is already in use");
    let mut single = |field: &str, taken: &BTreeSet<String>, reason: &'static str| {
        let pointer = format!("/{field}");
        let (name, mine) = (text(&wanted, &pointer), text(&had, &pointer));
        if name != mine && taken.contains(name) {
            return Some((reason, in_use(name)));
        }
        now_has[field] = json!(name);
        None
    };
    conflict = single("plural", &taken.resources, "PluralConflict").or(conflict);
    conflict = single("singular", &taken.resources, "SingularConflict").or(conflict);
    let (short, mine) = (texts(&wanted, "/shortNames"), texts(&had, "/shortNames"));
    let is_taken = |name: &&String| !mine.contains(name) && taken.resources.contains(*name);
    let clash: Vec<String> = short.iter().filter(is_taken).map(|name| in_use(name)).collect();
    match clash.as_slice() {
        [] => {}
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    conflict = single("kind", &taken.kinds, "KindConflict").or(conflict);
    conflict = single("listKind", &taken.kinds, "ListKindConflict").or(conflict);
    if clash.is_empty() {
        set_list(&mut now_has, "shortNames", &short);
    }
    set_list(&mut now_has, "categories", &texts(&wanted, "/categories"));
    if let Some(status) = status_mut(crd) {
        status["acceptedNames"] = now_has;
    }
    match &conflict {
        Some((reason, message)) => set_condition(crd, now, "NamesAccepted", ("False", reason, message)),
        None => set_condition(crd, now, "NamesAccepted", ("True", "NoConflicts", "no conflicts found")),
    }
    if !is_true(crd, "Established") {
        let established = match conflict {
            None => ("True", "InitialNamesAccepted", "the initial names have been accepted"),
            Some(_) => ("False", "NotAccepted", "not all names are accepted"),
        };
        set_condition(crd, now, "Established", established);
    }
}

fn set_list(names: &mut Value, field: &str, list: &[String]) {
    if let Some(fields) = names.as_object_mut() {
        if list.is_empty() {
            fields.remove(field);
        } else {
            fields.insert(field.to_owned(), json!(list));
        }
    }
}

/// The annotation by which groups of the Kubernetes community say who agreed to them.
pub(crate) const APPROVED: &str = "api-approved.kubernetes.io";

/// Whether the group is one that must be approved.
pub(crate) fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"].iter().any(|domain| group == *domain || group.ends_with(&format!(".{domain}")))
}

/// What the annotation says: the state of the condition, or why the definition is refused.
pub(crate) fn approval(crd: &Value) -> Option<(&'static str, &'static str, String)> {
    if !is_protected(text(crd, "/spec/group")) {
        return None;
    }
    let said = crate::meta::annotation(crd, APPROVED).unwrap_or_default();
    let link = said.starts_with("https://") || said.starts_with("http://");
    Some(if said.is_empty() {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?}, see https://github.com/kubernetes/enhancements/pull/1111"
        );
        ("False", "MissingAnnotation", why)
    } else if said.starts_with("unapproved") {
        ("False", "UnapprovedAnnotation", format!("not approved: {said:?}"))
    } else if link {
        ("True", "ApprovedAnnotation", format!("approved in {said}"))
    } else {
        let why = format!(
            "protected groups must have approval annotation {APPROVED:?} with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111"
        );
        ("False", "InvalidAnnotation", why)
    })
}

fn approve(crd: &mut Value, now: &str) {
    if let Some((status, reason, message)) = approval(crd) {
        set_condition(crd, now, "KubernetesAPIApprovalPolicyConformant", (status, reason, &message));
    }
}
