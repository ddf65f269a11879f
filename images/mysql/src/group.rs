//! What a member of a group does before it stops: the primary hands over, so that writes wait for no election.

use std::path::Path;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Row, raw_sql};

use crate::Error;
use crate::health;

/// How long transactions that run may take to end before the group ends them, in seconds.
const RUNNING: u8 = 5;

/// How long handing over may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The UUID of the member that has the least left to apply, if this server is the primary and there is another member.
const HEIR: &str = "SELECT other.MEMBER_ID FROM performance_schema.replication_group_members own \
    JOIN performance_schema.replication_group_members other \
        ON other.MEMBER_ID <> own.MEMBER_ID AND other.MEMBER_STATE = 'ONLINE' \
    LEFT JOIN performance_schema.replication_group_member_stats stats ON stats.MEMBER_ID = other.MEMBER_ID \
    WHERE own.MEMBER_ID = @@server_uuid AND own.MEMBER_STATE = 'ONLINE' AND own.MEMBER_ROLE = 'PRIMARY' \
    ORDER BY stats.COUNT_TRANSACTIONS_REMOTE_IN_APPLIER_QUEUE, other.MEMBER_HOST LIMIT 1";

/// Lets another member take over. Nothing is done, and `None` returned, where this server is not the primary of a
/// group, or the only member; else the UUID of the new primary.
///
/// # Errors
/// The server does not answer, or the group does not follow within 15 s.
pub async fn hand_over(password_file: &Path) -> Result<Option<String>, Error> {
    let work = async {
        let mut connection = health::log_in(password_file).await?;
        let heir = raw_sql(HEIR).fetch_optional(&mut connection).await.map_err(Error::sql("looking at the group"))?;
        let Some(heir) = heir else { return Ok(None) };
        let heir: String = heir.try_get_unchecked(0).map_err(Error::sql("looking at the group"))?;
        // A UUID, as the server has told it.
        let sql = format!("SELECT group_replication_set_as_primary('{heir}', {RUNNING})");
        raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.map_err(Error::sql("handing over"))?;
        Ok(Some(heir))
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap_or(Err(Error::Slow(PATIENCE)))
}
