//! How full the servers' volumes are, and how large they should be. What a server uses, it says itself
//! ([`crate::mysql::used`]): the file systems of many clusters' volumes are the nodes', and say nothing of one volume.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::ResourceExt;

use crate::controller::observe::Observed;
use crate::crd::Mysql;
use crate::group::Ordinal;
use crate::names;
use crate::quantity::quantity;

/// From so many percent on, a volume is nearly full.
pub const LOW: i32 = 80;

/// One that was nearly full is so until it has fallen below this.
pub const WELL: i32 = 75;

const GI: u128 = 1000 << 30;

/// How much of a volume is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// In whole percent of the capacity.
    pub percent: i32,
    /// The volume's capacity, in thousandths of bytes.
    pub capacity: u128,
}

impl Usage {
    /// So many bytes of a capacity in thousandths of bytes.
    pub fn of(used: u64, capacity: u128) -> Option<Self> {
        let percent = (u128::from(used) * 100_000).checked_div(capacity)?;
        Some(Self { percent: i32::try_from(percent).ok()?, capacity })
    }

    /// Whether the volume is nearly full.
    pub fn is_low(self) -> bool {
        self.percent >= LOW
    }
}

/// The members whose volumes are there, whether they run or not, with their claims.
pub fn claims(observed: &Observed) -> BTreeMap<Ordinal, &PersistentVolumeClaim> {
    let names = names::group(&observed.stack, "");
    let member = |claim: &PersistentVolumeClaim| names.member(claim.name_any().strip_prefix("data-")?);
    // One that is about to be deleted keeps nothing.
    let kept = observed.live.claims.iter().filter(|claim| claim.metadata.deletion_timestamp.is_none());
    kept.filter_map(|claim| Some((member(claim)?, claim))).collect()
}

/// What the volumes of the members can hold, in thousandths of bytes.
pub fn capacities(observed: &Observed) -> BTreeMap<Ordinal, u128> {
    let capacity =
        |claim: &PersistentVolumeClaim| quantity(&claim.status.as_ref()?.capacity.as_ref()?.get("storage")?.0);
    claims(observed).into_iter().filter_map(|(member, claim)| Some((member, capacity(claim)?))).collect()
}

/// How large all claims should be at least: as the spec says, or as large as they have grown by themselves. A volume
/// that is nearly full grows by a half, to whole Gi, and the others with it; never beyond the limit.
pub fn size(observed: &Observed, mysql: &Mysql) -> String {
    let spec = &mysql.storage.size;
    let limit = mysql.storage.auto_grow.as_ref();
    let Some((limit, most)) = limit.and_then(|grow| Some((&grow.limit, quantity(&grow.limit)?))) else {
        return spec.clone();
    };
    let grown = observed.used().into_values().filter(|used| used.is_low()).map(|used| {
        let size = format!("{}Gi", (used.capacity + used.capacity / 2).div_ceil(GI));
        if quantity(&size) < Some(most) { size } else { limit.clone() }
    });
    let claimed = observed.live.claims.iter().filter_map(claimed).filter(|size| quantity(size) <= Some(most));
    let all = grown.chain(claimed).chain([spec.clone()]);
    all.max_by_key(|size| quantity(size)).unwrap_or_else(|| spec.clone())
}

/// What a claim asks for.
pub fn claimed(claim: &PersistentVolumeClaim) -> Option<String> {
    Some(claim.spec.as_ref()?.resources.as_ref()?.requests.as_ref()?.get("storage")?.0.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case(0, "10Gi", Some((0, false)))]
    #[case(8_589_934_591, "10Gi", Some((79, false)))]
    #[case(8_589_934_592, "10Gi", Some((80, true)))]
    #[case(3 << 30, "2Gi", Some((150, true)))]
    #[case(1, "0", None)]
    fn a_volume_is_nearly_full_from_four_fifths_on(
        #[case] used: u64,
        #[case] capacity: &str,
        #[case] expected: Option<(i32, bool)>,
    ) {
        let usage = quantity(capacity).and_then(|capacity| Usage::of(used, capacity));
        assert_eq!(usage.map(|usage| (usage.percent, usage.is_low())), expected);
    }
}
