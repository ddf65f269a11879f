//! A database of three or five members, which MySQL's Group Replication keeps together: it elects the primary and
//! fences a minority, and what it does not do is done here: form the group once, let members join, re-form it after a
//! full outage, and move the primary before it is restarted.
//!
//! Every round gathers what each member says ([`Group`]), and [`classify`] makes one [`Verdict`] of it: how the group
//! stands, where clients are led, and the one thing to do next. It is pure, and remembers nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::names;

mod classify;
pub mod gtid;

pub use classify::{ATTEMPTS, candidates, classify};
use gtid::GtidSet;

/// A member's number, which is its Pod's: `NAME-mysql-0` and so on.
pub type Ordinal = u32;

/// What there is of a group, in one round.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// How many members there should be: the ordinals below.
    pub wanted: u32,
    /// Every member that there should be or is.
    pub members: BTreeMap<Ordinal, Member>,
    /// The members that were in the group when it was last seen to work, with all that the group had.
    pub known: BTreeSet<Ordinal>,
    /// The members beyond the wanted ones whose volumes are there: they may have been in the group, where nothing is
    /// known of it.
    pub kept: BTreeSet<Ordinal>,
    /// Who was being let in then: it may have been in it, with all or a part of that.
    pub joining: Option<Ordinal>,
    /// The members whose Pods are to be replaced: they were made for other settings or another image. A node that is
    /// emptied makes nobody one of them: there, a Pod goes by an eviction, and hands over as it ends.
    pub outdated: BTreeSet<Ordinal>,
    /// To whom writes are led.
    pub led: Option<Ordinal>,
    /// The UUID of the group that worked last.
    pub uuid: Option<String>,
    /// The members that were in another group of the same UUID, and have not been filled anew since: what they have may
    /// differ from what this group has under the same numbers.
    pub apart: BTreeSet<Ordinal>,
    /// What a person has decided.
    pub word: Option<Word>,
    /// How often each member was let in or filled since it was last seen in the group.
    pub attempts: BTreeMap<Ordinal, u32>,
    /// The members whose data could not be kept aside a moment ago.
    pub paused: BTreeSet<Ordinal>,
    /// Whether members with transactions of their own may be filled anew without a person's word.
    pub reclone_errant: bool,
}

/// One member.
#[derive(Clone, Debug, Default)]
pub struct Member {
    /// How its Pod stands.
    pub pod: Pod,
    /// What its server says; `None` where it does not answer.
    pub view: Option<View>,
    /// Whether its volume is nearly full: then another one rather becomes the primary.
    pub full: bool,
}

/// How a member's Pod stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pod {
    /// There is none.
    #[default]
    Missing,
    /// It is there, and its server has been started.
    Present,
    /// It is there, and its server has not been started yet: whom the group sees under its name is the one before it,
    /// which is about to go.
    Pending,
    /// It is being deleted: what its server says will not hold for long.
    Terminating,
}

/// What a server says of itself and of the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Its own state.
    pub state: State,
    /// The UUID of the group that it is in, was in last, or would form.
    pub group: String,
    /// Whom it sees in its group, itself included; nobody where it is in none.
    pub sees: Vec<Seen>,
    /// The transactions that it has, received ones included.
    pub gtids: GtidSet,
    /// Whether it has ever been in the group, and has all that it had there. What one holds that never was, came with
    /// its image; of one that was being filled when it failed, something may be missing.
    pub joined: bool,
    /// Whether it has transactions of a group of another name: its volume was another stack's, or was restored from
    /// one's.
    pub foreign: bool,
    /// Whether it is too far behind the primary to be read from.
    pub lags: bool,
}

impl View {
    /// Whether it has a transaction under its group's UUID.
    pub fn has_any_of_its_group(&self) -> bool {
        self.gtids.has_any_from(|uuid| uuid == self.group)
    }

    /// Whether it reaches the majority of those whom it sees in its group.
    pub fn has_quorum(&self) -> bool {
        self.state == State::Online && self.sees.iter().filter(|seen| seen.state.votes()).count() * 2 > self.sees.len()
    }

    /// Whether it is in the group of that primary.
    pub fn is_with(&self, primary: Ordinal) -> bool {
        self.state == State::Online && self.sees.iter().any(|seen| seen.member == Some(primary))
    }
}

/// A member as another one sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which; `None` where its address is not one of this stack's.
    pub member: Option<Ordinal>,
    /// Its state.
    pub state: State,
    /// Whether it is the primary.
    pub primary: bool,
}

/// A member's state, in Group Replication's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// In the group, with all that the group has.
    Online,
    /// In the group, and fetching what it lacks.
    Recovering,
    /// Seen by others alone: it does not answer them.
    Unreachable,
    /// It left the group because of an error.
    Error,
    /// In no group.
    Offline,
}

impl State {
    /// Whether it has a vote in the group.
    pub fn votes(self) -> bool {
        matches!(self, Self::Online | Self::Recovering)
    }
}

/// What a person decides, since nobody else may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Word {
    /// That member becomes the primary of the group that there is.
    Primary(Ordinal),
    /// That member's transactions count: the group is formed anew from it, and what only others have is given up.
    Survivor(Ordinal),
    /// That member is filled anew, and what only it has is given up.
    Reclone(Ordinal),
}

impl Word {
    /// The annotation of the stack by which a person says so.
    pub fn annotation(self) -> &'static str {
        match self {
            Self::Primary(_) => names::PREFERRED,
            Self::Survivor(_) => names::SURVIVOR,
            Self::Reclone(_) => names::RECLONE,
        }
    }

    /// As a person writes it, of that Pod.
    pub fn written(self, pod: &str) -> String {
        format!("{}={pod}", self.annotation())
    }

    /// Whom it names.
    pub fn member(self) -> Ordinal {
        match self {
            Self::Primary(member) | Self::Survivor(member) | Self::Reclone(member) => member,
        }
    }
}

/// How a group stands, what follows for clients, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// How it stands.
    pub condition: Condition,
    /// Where writes go.
    pub route: Route,
    /// Where reads go: healthy members, the primary only where there is no other.
    pub readers: BTreeSet<Ordinal>,
    /// The one thing to do; `None` is to wait.
    pub action: Option<Action>,
    /// Members that are kept out, with the transactions that only they have: none of those that can be told from the
    /// group's, where a member was in another group.
    pub errant: BTreeMap<Ordinal, GtidSet>,
    /// What to remember as [`Group::known`] from now on.
    pub known: BTreeSet<Ordinal>,
    /// What to remember as [`Group::joining`] from now on.
    pub joining: Option<Ordinal>,
    /// What to remember as [`Group::apart`] from now on.
    pub apart: BTreeSet<Ordinal>,
}

/// How a group stands. `docs/high-availability.md` has a row for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Condition {
    /// It has never been formed.
    New,
    /// Every wanted member is in it.
    Healthy,
    /// It serves, and these members are missing or joining.
    Degraded(BTreeSet<Ordinal>),
    /// Its members do not agree on a primary at this moment, or too few of them answer to know.
    Unclear,
    /// Members are in a group whose majority they cannot reach: it takes no writes until they can.
    NoQuorum,
    /// Nobody is in a group, and these members have to answer before it is formed anew.
    Outage(BTreeSet<Ordinal>),
    /// Nobody is in a group, and no member has all transactions: for each, those that it lacks of the others'. A person
    /// has to decide.
    Diverged(BTreeMap<Ordinal, GtidSet>),
    /// No group is known to work, and these members have lost their data, so many that the others may lack
    /// transactions. A person has to decide.
    Lost(BTreeSet<Ordinal>),
    /// There are several groups, with these primaries. A person has to decide.
    Split(BTreeSet<Ordinal>),
    /// The one group that works, with this primary, is not the one that counts: it was given up when a person had
    /// another one formed, or made by hand beside it. A person has to decide.
    GivenUp(Ordinal),
}

/// Where writes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Where they went before: what has become of the primary is not known.
    Keep,
    /// To nobody: no member may take them.
    Nobody,
    /// To that member.
    To(Ordinal),
}

/// What is done with one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// It forms the group.
    Bootstrap(Ordinal),
    /// It forms the group anew on a person's word, whatever the others have: under another UUID, by which what they
    /// have beyond that moment stays known as theirs.
    Reform(Ordinal),
    /// It joins the group that there is.
    Join(Ordinal),
    /// It leaves the group.
    Leave(Ordinal),
    /// It becomes the primary.
    MakePrimary(Ordinal),
    /// Its Pod is replaced.
    Restart(Ordinal),
    /// Its Pod goes: it is the last one, and there are more than wanted.
    Remove(Ordinal),
    /// Its data is put aside, and it is filled from the group.
    Reclone(Ordinal),
}

impl Action {
    /// With whom.
    pub fn member(self) -> Ordinal {
        match self {
            Self::Bootstrap(member)
            | Self::Reform(member)
            | Self::Join(member)
            | Self::Leave(member)
            | Self::MakePrimary(member)
            | Self::Restart(member)
            | Self::Remove(member)
            | Self::Reclone(member) => member,
        }
    }
}
