//! What takes members longer to say, or changes all the time: how full their volumes are, and how far they are behind.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future;
use tokio::time::Instant;
use tracing::Instrument;

use super::Rounds;
use super::ask::Met;
use crate::controller::keeper::{Behind, Wanted};
use crate::controller::storage::Usage;
use crate::group::{Ordinal, Route, Verdict};
use crate::mysql::{Order, Passwords, Statement};

/// Between two questions to members how much of their volumes they use.
const MEASURE: Duration = Duration::from_secs(30);

/// Between two comparisons of the members with the primary. What they tell moves with every transaction, and each time
/// the status is written.
const COMPARE: Duration = Duration::from_secs(10);

impl Rounds {
    /// Has members asked how much of their volumes they use, now and then, and beside the rounds: it may take them a
    /// while.
    pub(super) async fn measure(&mut self, wanted: &Wanted, met: &BTreeMap<Ordinal, Met>, passwords: &Passwords) {
        if let Some(task) = self.measuring.take_if(|task| task.is_finished()) {
            self.used.extend(task.await.unwrap_or_default());
        }
        self.used.retain(|member, _| wanted.capacities.contains_key(member));
        let answering = |member: &Ordinal| matches!(met.get(member), Some(Met::Answered(_)));
        let members = self.servers.iter().filter(|(member, _)| answering(member));
        let order = |address: &str| Order {
            address: address.to_owned(),
            names: wanted.names.clone(),
            passwords: passwords.clone(),
            alone: false,
        };
        let members: Vec<_> = members.map(|(&member, server)| (member, order(server.address()))).collect();
        if self.measuring.is_some() || self.measure_at > Instant::now() || members.is_empty() {
            return;
        }
        self.measure_at = Instant::now() + MEASURE;
        let measure = async move {
            let asked = members.iter().map(async |(member, order)| match order.used().await {
                Ok(used) => Some((*member, used)),
                Err(error) => {
                    tracing::debug!(member, %error, "a member did not say how much of its volume it uses");
                    None
                }
            });
            future::join_all(asked).await.into_iter().flatten().collect()
        };
        self.measuring = Some(tokio::spawn(measure.in_current_span()));
    }

    pub(super) fn usage(&self, wanted: &Wanted, member: Ordinal) -> Option<Usage> {
        Usage::of(*self.used.get(&member)?, *wanted.capacities.get(&member)?)
    }

    /// Compares the members with the primary, now and then.
    pub(super) fn compare(&mut self, verdict: &Verdict, met: &BTreeMap<Ordinal, Met>) {
        let primary = match verdict.route {
            Route::To(member) => met.get(&member).and_then(Met::statement).map(|said| (member, said)),
            Route::Keep | Route::Nobody => None,
        };
        let Some((primary, of_primary)) = primary else { return self.behind.clear() };
        self.behind.retain(|member, _| *member != primary && met.contains_key(member));
        if self.compare_at > Instant::now() {
            return;
        }
        self.compare_at = Instant::now() + COMPARE;
        let others = met.iter().filter(|(member, _)| **member != primary);
        let others = others.filter_map(|(&member, met)| Some((member, met.statement()?)));
        let behind = |said: &Statement| Behind {
            seconds: said.lag,
            transactions: of_primary.applied.minus(&said.applied).count(),
        };
        self.behind = others.map(|(member, said)| (member, behind(said))).collect();
    }
}
