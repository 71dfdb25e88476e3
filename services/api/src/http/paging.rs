//! `?after=&limit=`: the next page of a list, by the last id of the one before.

use crier_service_kit::problem::Problem;
use crier_store::Page;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::app::list::MAX_LIMIT;

/// The two parameters; each is optional.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing<Id> {
    after: Option<Id>,
    #[schemars(range(min = 1, max = MAX_LIMIT))]
    limit: Option<u32>,
}

impl<Id> Listing<Id> {
    pub(super) fn page(self) -> Result<Page<Id>, Problem> {
        page(self.after, self.limit)
    }

    /// Without a limit all there is, for a list that something else bounds.
    pub(super) fn page_or_all(self) -> Result<Page<Id>, Problem> {
        match self.limit {
            Some(_) => self.page(),
            None => Ok(Page {
                after: self.after,
                ..Page::all()
            }),
        }
    }
}

/// The page that the two parameters ask for.
pub(super) fn page<Id>(after: Option<Id>, limit: Option<u32>) -> Result<Page<Id>, Problem> {
    let limit = limit.unwrap_or(MAX_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        let detail = format!("The query does not fit: limit must be from 1 to {MAX_LIMIT}.");
        return Err(Problem::invalid(detail));
    }
    Ok(Page { after, limit })
}
