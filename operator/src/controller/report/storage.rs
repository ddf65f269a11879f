//! What the user is told of the servers' volumes.

use super::group::pod;
use crate::controller::observe::Observed;
use crate::controller::storage;
use crate::quantity::quantity;

/// The condition that a volume is nearly full.
pub(super) const STORAGE_LOW: &str = "StorageLow";

/// `StorageLow`, as `(status, reason, message)`. Until there are figures, what the status says already.
pub(super) fn low(observed: &Observed) -> (&'static str, String, String) {
    let before = observed.stack.status.iter().flat_map(|status| &status.conditions);
    let before = before.clone().find(|condition| condition.type_ == STORAGE_LOW);
    let was_low = before.is_some_and(|before| before.status == "True");
    let used = observed.used();
    let mysql = observed.stack.spec.mysql.as_ref().filter(|_| !used.is_empty());
    let Some(mysql) = mysql else {
        let not_measured =
            || ("Unknown", "NotMeasured".to_owned(), "how full the volumes are is not known yet".to_owned());
        return before.map_or_else(not_measured, |before| {
            let status = match before.status.as_str() {
                "True" => "True",
                "False" => "False",
                _ => "Unknown",
            };
            (status, before.reason.clone(), before.message.clone())
        });
    };
    let low = used.iter().filter(|(_, used)| used.percent >= if was_low { storage::WELL } else { storage::LOW });
    let low: Vec<_> =
        low.map(|(&member, used)| format!("{} uses {} % of its volume", pod(observed, member), used.percent)).collect();
    if low.is_empty() {
        return ("False", "StorageSuffices".to_owned(), "every volume has room".to_owned());
    }
    let size = storage::size(observed, mysql);
    let (reason, what) = match &mysql.storage.auto_grow {
        None => ("VolumesFill", "raise spec.mysql.storage.size, or set autoGrow there".to_owned()),
        Some(grow) if used.values().all(|used| Some(used.capacity) >= quantity(&grow.limit)) => {
            ("LimitReached", "the volumes have grown to spec.mysql.storage.autoGrow.limit".to_owned())
        }
        Some(_) => ("VolumesGrow", format!("all volumes grow to {size}")),
    };
    ("True", reason.to_owned(), format!("{}; {what}", low.join(", ")))
}
